"""Tests of the test harness, for faults that would let other tests pass wrongly."""

import os
import random
import runpy
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import redis
from harness import shares
from harness.fixtures import chosen
from harness.server import (
    MODULE,
    ROOT,
    NotInTime,
    Server,
    ServerDied,
    digest,
    free_port,
    parse_commands,
    wait_synced,
    wait_until,
)


def server_ms(client) -> int:
    """The server's wall clock in ms."""
    seconds, micros = client.time()
    return seconds * 1000 + micros // 1000


@pytest.mark.parametrize("hours", [1, -1])
def test_stepping_the_clock_moves_the_time_of_the_server(start, hours):
    """TIME follows the clock ahead and back, by the step."""
    server = start(module=None, clock=True)
    r = server.client()
    step = hours * 3_600_000 + 250
    before = server_ms(r)

    def moved_by(ms: int) -> bool:
        # The test itself takes less than 5 s. Valkey's TIME can be a millisecond old.
        return ms <= server_ms(r) - before < ms + 5_000

    server.clock.step(step)
    wait_until(lambda: moved_by(step), f"the clock has moved by {step} ms")
    server.clock.step(-step)
    wait_until(lambda: moved_by(0), "the clock is back")


def test_a_server_is_checked_by_a_sanitizer_exactly_if_it_is_asked_for(start):
    """`make test-asan` would find nothing if the runtime were not there, or the module did not call it."""
    libraries = Path(f"/proc/{start().pid}/maps").read_text()
    asked = "TASKSLOT_ASAN" in os.environ
    assert ("libasan" in libraries) == asked
    assert (b"__asan_report_load8" in MODULE.read_bytes()) == asked


def test_a_killed_server_loads_its_aof_again(start):
    """With appendfsync always, kill9 loses nothing. restart uses the same files."""
    server = start(module=None, appendonly="yes", appendfsync="always")
    server.client().set("k", "v")
    server.kill9()
    assert not server.alive()
    assert server.restart().client().get("k") == b"v"


def test_a_stop_with_save_keeps_the_data(start):
    """stop(save=True) writes the RDB file that the next start loads."""
    server = start(module=None)
    server.client().set("k", "v")
    server.stop(save=True)
    assert server.restart().client().get("k") == b"v"


def test_a_replica_has_the_same_digest_as_its_primary(start):
    """replicate copies existing data. wait_synced waits for later changes."""
    primary, replica = start(module=None, port=True), start(module=None)
    p, c = primary.client(), replica.client()
    p.rpush("list", "a", "b")
    replica.replicate(primary)
    assert digest(c, "list") == digest(p, "list")
    p.rpush("list", *range(1000))
    wait_synced(primary, replica)
    assert digest(c, "list") == digest(p, "list")


def test_propagated_returns_each_command_once(start):
    """It reads new commands from the AOF as they were written, with binary arguments."""
    server = start(module=None, appendonly="yes")
    r = server.client()
    r.set("k", b"\r\n*1\r\n\x00")
    assert server.propagated() == [[b"SET", b"k", b"\r\n*1\r\n\x00"]]
    assert server.propagated() == []
    r.delete("missing")
    r.delete("k")
    assert server.propagated() == [[b"DEL", b"k"]]


def test_an_incomplete_command_is_left_for_the_next_read():
    """The reader stops before a command whose end is not yet in the file."""
    whole, half = b"*1\r\n$4\r\nPING\r\n", b"*2\r\n$3\r\nGET\r\n$5\r\nab"
    assert parse_commands(whole + half) == ([[b"PING"]], len(whole))
    assert parse_commands(whole + half + b"c\r\n\r\n")[0] == [[b"PING"], [b"GET", b"abc\r\n"]]


def test_a_crashed_server_is_a_failure_with_its_log(installed):
    """check() finds the crash even if the test did not notice it, and shows the crash report."""
    server = Server(installed, module=None)
    try:
        os.kill(server.pid, signal.SIGSEGV)
        wait_until(lambda: not server.alive(), "the server has crashed")
        with pytest.raises(ServerDied, match="BUG REPORT"):
            server.check()
    finally:
        server.discard()


def test_a_server_that_cannot_start_shows_the_reason(start):
    """The error has the server's own message about the bad setting."""
    with pytest.raises(ServerDied, match="no-such-setting"):
        start(module=None, no_such_setting="1")


def test_a_condition_that_is_never_met_is_named_in_the_error():
    """wait_until names the condition and the last result."""
    with pytest.raises(NotInTime, match="the moon is blue .last: None"):
        wait_until(lambda: None, "the moon is blue", timeout=0.01)


def test_share_gives_all_cases_to_two_servers_and_a_quarter_to_the_others(request, installed, share):
    """A quarter keeps the order of the cases, and is the same each time."""
    cases, got = list(range(1000)), share(range(1000))
    if installed in chosen(request.config)[:2]:
        assert got == cases
    else:
        assert len(got) == 250 and got == sorted(set(got)) and set(got) < set(cases)
        assert {case % 8 for case in got} == set(range(8)), "no position is left out"
    assert share(range(1000)) == got


def test_the_port_of_a_server_that_is_down_is_not_free(start, monkeypatch):
    """Otherwise another test's server could take it before a restart."""
    server = start(module=None, port=True)
    server.kill9()
    dice, draws = random.SystemRandom(), [server.port, server.port]
    drawn = SimpleNamespace(randrange=lambda *bounds: draws.pop() if draws else dice.randrange(*bounds))
    monkeypatch.setattr(random, "SystemRandom", lambda: drawn)
    port, hold = free_port()
    hold.close()
    assert port != server.port


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_client_sends_a_command_once(start, protocol):
    """A client whose connection was cut raises an error and does not send the command again."""
    server = start(module=None)
    r, other = server.client(protocol=protocol), server.client()
    assert other.execute_command("CLIENT", "KILL", "ID", r.client_id()) == 1
    with pytest.raises(redis.ConnectionError):
        r.incr("n")
    assert other.get("n") is None


def test_the_recommended_settings_apply_on_every_server(start):
    """Every server starts with redis.conf of this repository. An unknown setting would stop it."""
    r = start(module=None, include=ROOT / "redis.conf").client()
    assert r.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert r.config_get("appendonly") == {"appendonly": "yes"}
    assert r.config_get("port") == {"port": "0"}, "the test's own settings override the file's"


def test_every_mutation_of_the_engine_is_found_in_its_source():
    """A mutation whose text has changed would break nothing, and tests/mutations.py would prove nothing."""
    breaks = runpy.run_path(str(ROOT / "tests/mutations.py"))["BREAKS"]
    engine = ROOT / "src/engine"
    sources = {str(path.relative_to(engine)): path.read_text() for path in engine.rglob("*.rs")}
    lost = [name for name, file, text, _ in breaks if sources.get(file, "").count(text) != 1]
    assert len(breaks) > 80 and lost == []
    assert len({name for name, *_ in breaks}) == len(breaks)


def selected(path, server, name="test_it", slow=False, rest=False, **params):
    """Whether a test of that file runs on that server, of the four."""
    item = SimpleNamespace(
        path=ROOT / path,
        nodeid=f"{path}::{name}[{server}]",
        callspec=SimpleNamespace(params={"installed": SimpleNamespace(name=server), **params}),
        get_closest_marker=lambda mark: slow or None,
    )
    return shares.runs(item, FOUR, rest)


FOUR = ["valkey-9.1", "redis-6.2", "redis-7.0", "redis-8.2"]


def test_tests_of_the_server_run_on_every_server_and_others_in_part():
    """A quarter of the others runs, and never on the first server less than all."""
    names = [f"test_{n}" for n in range(400)]

    def counts(path, **more):
        return [sum(selected(path, server, name, **more) for name in names) for server in FOUR]

    assert counts("tests/server/commands/test_push.py") == [400, 400, 400, 400]
    first, *others = counts("tests/web/test_operator.py")
    assert first == 400 and all(60 <= count <= 140 for count in others)
    first, second, *others = counts("tests/cluster/test_library.py")
    assert (first, second) == (400, 400) and all(60 <= count <= 140 for count in others)
    assert counts("clients/python/tests/test_queue.py", library="valkey-py asyncio") == [400, 400, 400, 400]
    assert counts("clients/python/tests/test_queue.py", library="valkey-py") == [400, 400, 0, 0]


def test_the_rest_is_what_a_plain_run_leaves_out_on_two_servers_and_one_of_the_others():
    """Which of the others differs from test to test. Slow tests run on the first server too."""
    for path, more in {
        "tests/server/commands/test_push.py": {},
        "clients/python/tests/test_queue.py": {"library": "redis-py"},
    }.items():
        ran = [[selected(path, s, f"test_{n}", rest=True, **more) for s in FOUR] for n in range(400)]
        assert all(on[:2] == [False, True] and on[2] != on[3] for on in ran)
        assert 140 <= sum(on[2] for on in ran) <= 260
    assert selected("tests/server/commands/test_push.py", FOUR[0], slow=True, rest=True)
