"""The rules, proven on a simulated queue: a sound one raises no alarm, and each bug is found."""

import pytest

from chaos.history import Fault, History, Permits
from chaos.rules import check
from chaos.rules.finding import story
from chaos.rules.redelivery import redeliveries
from chaos.simulated.bugs import BUGS
from chaos.simulated.play import simulate
from chaos.simulated.prove import caught_by, sound
from chaos.simulated.world import Scene
from chaos.timeline import Timeline

# A bug that hits rarely needs more than one history: it is looked for in so many.
HISTORIES = 6


def no_alarm(seed: int) -> None:
    """Fail with the stories of all findings in a sound run."""
    timeline = sound(seed)
    findings = check(timeline)
    assert not findings, "\n\n".join("\n".join(story(timeline, finding)) for finding in findings)
    unexplained = [found for found in redeliveries(timeline) if found.cause is None]
    assert not unexplained


@pytest.mark.parametrize("first", range(0, 20, 5))
def test_a_sound_queue_raises_no_alarm_and_each_redelivery_has_a_cause(first: int) -> None:
    """Requests and replies are lost, the server crashes and what it undoes is declared."""
    for seed in range(first, first + 5):
        no_alarm(seed)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 1200, 20))
def test_a_sound_queue_raises_no_alarm_in_200_more_runs(first: int) -> None:
    """The same with more seeds."""
    for seed in range(first, first + 20):
        no_alarm(seed)


@pytest.mark.parametrize("bug", BUGS)
def test_each_bug_is_found_by_its_rule(bug: str) -> None:
    """A queue that is wrong in one way is noticed by a rule that is about that."""
    assert any(caught_by(bug, seed) & set(BUGS[bug]) for seed in range(HISTORIES))


def test_what_a_crash_undoes_is_accepted_only_if_it_is_declared() -> None:
    """The same run is sound with the fault's window, and wrong without it."""
    for seed in range(3):
        declared = simulate(Scene(seed, load_s=12, crashes=2, undone_s=0.5))
        assert not check(Timeline(declared))
        for fault in declared.faults:
            fault.permits.undoes = None
        assert {finding.rule for finding in check(declared)} & {"lost", "runs after its end", "no cause"}


def test_a_result_is_missing_unless_a_node_that_becomes_a_replica_was_read():
    """The same run is wrong, and accepted if a fault all through it says that what is read may be old."""
    forgets = next(
        history
        for seed in range(HISTORIES)
        if "result missing" in found_in(history := simulate(Scene(seed, "result forgotten", crashes=0)))
    )
    run = forgets.run
    forgets.faults.append(Fault("FAILOVER", "0", run.began, run.ended, Permits(stale=True)))
    assert "result missing" not in found_in(forgets)


def found_in(history: History) -> set[str]:
    """The rules that speak of a history."""
    return {finding.rule for finding in check(history)}


def test_a_story_has_the_lines_of_its_task_and_the_faults_near_them() -> None:
    """A finding can be judged by reading its story."""
    timeline = Timeline(simulate(Scene(1, "lost push", crashes=0)))
    finding = next(finding for finding in check(timeline) if finding.rule == "lost")

    first, *lines = story(timeline, finding)

    assert first.startswith(f"lost: {finding.uids[0]} was pushed")
    assert f"'{finding.uids[0]}'" in lines[0] and "push" in lines[0]
