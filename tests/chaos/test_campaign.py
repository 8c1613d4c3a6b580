"""Which runs a campaign has, how they are added up, and what makes it fail."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
from harness.server import SERVERS

from chaos import older, short
from chaos.campaign import controls, hollow, judged, judged_run, missing, rounds, unpermitted
from chaos.document import table
from chaos.history import Fault, History
from chaos.injector import share
from chaos.profiles import PROFILES
from chaos.report import Row, added
from chaos.results import Result, read, write
from chaos.simulated.play import simulate
from chaos.simulated.world import Scene

# The servers that the product supports. One of them may not be installed here.
SUPPORTED = {"redis-6.2", "redis-7.0", "redis-8.2", "valkey-9.1"}


def test_rows_of_a_profile_and_server_are_added():
    """Counts are summed, and spans are the longest."""
    one = Row("p", "s", 1, [1], Counter(kill=2), acknowledged=5, pause_s=1.5, causes=Counter(a=1))
    two = Row("p", "s", 1, [2], Counter(kill=1), acknowledged=7, pause_s=0.5, causes=Counter(b=1))
    other = Row("p", "t", 1, [1])
    both, alone = added([one, two, other])
    assert (both.runs, both.seeds, both.faults["kill"], both.acknowledged) == (2, [1, 2], 3, 12)
    assert (both.pause_s, both.causes, alone.runs) == (1.5, Counter(a=1, b=1), 1)
    assert Row.read(both.plain()) == both


def test_a_control_is_told_if_no_rule_found_a_loss():
    """It is fine if a rule found one in any of its runs."""
    blind = Row("power-everysec", "s", 1, [1])
    assert controls([blind]) and not controls([blind, Row("power-everysec", "t", 1, [1], unpermitted=3)])


def test_what_a_fault_undid_is_found_as_lost_if_no_fault_permits_it():
    """So a control shows that the rules see a real loss. Without one they find nothing."""
    undone = simulate(Scene(1, load_s=12, crashes=2, undone_s=0.5))
    assert not judged(undone).told
    assert unpermitted(undone) > 0
    assert unpermitted(simulate(Scene(1, load_s=12, crashes=0))) == 0


def test_a_run_that_was_broken_off_is_not_judged():
    """Nobody knows what would have been left at its end: it has a problem, and no findings."""
    whole = simulate(Scene(1, "lost push", crashes=0))
    assert judged(whole).row.findings
    broken_off = judged(History(whole.calls, whole.faults), ["it can't start"])
    assert not broken_off.row.findings and broken_off.row.problems == 1
    assert broken_off.told == ["it can't start"]


def test_the_table_says_what_was_lost_and_which_rules_spoke():
    """Faults are named with how often they happened, and a window with its length. Marks are no faults."""
    bad = Row(
        "torn",
        "redis-6.2",
        2,
        [1, 2],
        Counter({"AOF torn": 4, "BGREWRITEAOF": 1, "replaced": 9, "compared": 2}),
        acknowledged=1500,
        lost=7,
        in_window=3,
        window_s=1.25,
        redelivered=5,
        causes=Counter(failed=5),
        findings=Counter(lost=7),
    )
    made = table([Result("redis-6.2", "Redis 6.2.5", "2026-11-28", "abc", [bad])])
    text = made.replace("\n", " ")
    assert (
        "In 2 runs there were 4 faults and 1 commands of an operator. 1,500 pushes were acknowledged." in text
    )
    assert "Lost: 7. Lost in a window: 3." in text
    assert "Rules that spoke: lost 7." in text
    row = "| Redis 6.2.5 | 2 | AOF torn 4, BGREWRITEAOF 1 | 1,500 | 7 | 3 (1.2 s) | 5: failed 5 |"
    assert f"| AOF torn at its end (`torn`) {row}" in text


def test_the_table_says_which_faults_of_a_profile_did_not_happen():
    """A profile without a run is not named, and a mark is not missing."""
    one = Row("promoted", "redis-6.2", 1, [1], Counter({"link cut, replica promoted": 1}))
    assert missing([one]) == {"promoted": ["REPLICAOF NO ONE"]}
    text = table([Result("redis-6.2", "Redis 6.2.5", "2026-11-28", "abc", [one])])
    assert "Not in these runs: `promoted`: REPLICAOF NO ONE." in text
    one.faults["REPLICAOF NO ONE"] = 1
    text = table([Result("redis-6.2", "Redis 6.2.5", "2026-11-28", "abc", [one])])
    assert not missing([one]) and "Not in these runs: none of the faults is missing." in text


def test_a_run_that_shows_nothing_is_a_problem():
    """It has no fault though its profile has some, or compares nothing, or nothing was pushed."""
    played = simulate(Scene(1, load_s=4, crashes=0))
    assert hollow(PROFILES["calm"], played) == ["no digests were compared"]
    kill = Fault("kill -9", "0", 1.0, 2.0)
    looked = Fault("compared", "0", 1.0, 2.0)
    assert "no fault happened" in hollow(
        PROFILES["always"], History(played.calls, [looked], runs=played.runs)
    )
    assert "no fault happened" not in hollow(
        PROFILES["always"], History(played.calls, [kill], runs=played.runs)
    )
    assert "no push was acknowledged" in hollow(PROFILES["always"], History([], [kill], runs=played.runs))
    # A run that was broken off has told its problem.
    assert not hollow(PROFILES["always"], History(played.calls))


def test_results_of_several_campaigns_are_added(tmp_path: Path):
    """There is a file for each server, with the sums of all runs of a profile."""
    server = next(iter(SERVERS))
    write(
        [Row("torn", server, 1, [1], acknowledged=2), Row("torn", server, 1, [2], acknowledged=3)], tmp_path
    )
    (result,) = read(tmp_path)
    assert result.server == server
    assert [(row.runs, row.seeds, row.acknowledged) for row in result.rows] == [(2, [1, 2], 5)]


def test_each_round_has_each_profile_on_another_server():
    """After as many rounds as servers, each profile was on each server."""
    names, servers = list(PROFILES)[:3], list(SERVERS)[:2]
    wanted = list(rounds(names, servers, 7, 2))
    assert {(profile, server) for profile, server, _ in wanted} == {(p, s) for p in names for s in servers}
    assert {seed for _, _, seed in wanted} == {7, 8}
    later = {(profile, server): seed for profile, server, seed in rounds(names, servers, 7, 4)}
    assert later != {(profile, server): seed + 2 for profile, server, seed in wanted}
    assert len(list(islice(rounds(names, servers, 7, 1_000), 30))) == 30


def test_the_list_of_ci_has_profiles_and_servers_that_exist_and_a_control():
    """Each server has at least two runs, no run is there twice, and one must find something."""
    assert {profile for profile, _, _ in short.RUNS} <= set(PROFILES)
    assert set(Counter(server for _, server, _ in short.RUNS)) == SUPPORTED
    assert min(Counter(server for _, server, _ in short.RUNS).values()) >= 2
    assert len(set(short.RUNS)) == len(short.RUNS)
    assert any(PROFILES[profile].must_lose for profile, _, _ in short.RUNS)


def test_the_list_of_ci_leaves_out_servers_that_nobody_asked_for():
    """One server's runs are a part of it."""
    some = short.chosen(["redis-8.2"])
    assert some and {server for _, server, _ in some} == {"redis-8.2"}


def test_the_list_of_ci_has_an_upgrade_where_the_older_build_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Elsewhere it says that this run is left out, and how to get it."""
    monkeypatch.setattr(older, "FOLDER", tmp_path)
    assert short.UPGRADE not in short.chosen(SUPPORTED)
    assert "upgrade: skipped. Its older build is not there; make older builds it" in capsys.readouterr().out
    older.SAME_FORMATS.file.parent.mkdir()
    older.SAME_FORMATS.file.touch()
    assert short.UPGRADE in short.chosen(SUPPORTED)
    assert "make older" not in capsys.readouterr().out
    profile = PROFILES[short.UPGRADE[0]]
    (due,) = share(profile.faults, next(iter(SERVERS.values())), short.UPGRADE[2], False)
    assert due.kinds == ("upgraded", "downgraded")


@pytest.mark.slow
def test_a_run_of_a_sound_build_has_no_finding(installed):
    """Ten seconds of kills and restarts under load."""
    found = judged_run("always", installed.name, 1, 10.0, False)
    assert not found.told, "\n".join(found.told)
    assert found.row.acknowledged > 100
