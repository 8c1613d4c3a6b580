"""A server out of memory refuses pushes and nothing else, so that it can drain."""

import pytest
from talk import Error, Talk

OOM = Error("OOM command not allowed when used memory > 'maxmemory'.")


@pytest.fixture
def c(server):
    """A connection to a server that is full; its queue holds ready, leased and dead tasks."""
    c = Talk(server)
    c("TASK.MPUSH", "q", "TASKS", 20, *range(20))
    assert c("TASK.FAIL", "q", c.claim(), "DEAD") == -1
    assert c("CONFIG", "SET", "maxmemory", 1) == "OK"
    return c


def test_push_and_mpush_are_refused(c):
    """OOM, in the server's words, and nothing changes."""
    digest = c.digest()
    assert c("TASK.PUSH", "q", "p") == OOM
    assert c("TASK.MPUSH", "q", "TASKS", 1, "p") == OOM
    assert c("TASK.PUSH", "new", "p") == OOM
    assert c.digest() == digest and c("EXISTS", "new") == 0


def test_everything_else_works(c):
    """Claims, answers, steering and asking: the queue drains to its last task."""
    a, b, d, e, f = (task[0] for task in c("TASK.CLAIM", "q", "COUNT", 5, "WORKER", "w", "REQUEST", "t"))
    assert c("TASK.ACK", "q", a) == 1
    assert c("TASK.FAIL", "q", b, "ERROR", "x" * 1000) > 0
    assert c("TASK.REQUEUE", "q", d) == 1
    assert c("TASK.EXTEND", "q", e) > 0
    assert c("TASK.CANCEL", "q", f.split(b"@")[0]) == 2
    assert c("TASK.RETRY", "q", "COUNT", 1) == 1
    assert c("TASK.CONFIG", "q", "SET", "lease", 5000) == "OK"
    assert c("TASK.PAUSE", "q") == "OK" and c("TASK.RESUME", "q") == "OK"
    assert c("TASK.LEN", "q") == 19
    for command in (["GET", "q", "1-1"], ["LIST", "q", "ready"], ["INFO", "q"], ["HELP"]):
        assert not isinstance(c(f"TASK.{command[0]}", *command[1:]), Error)
    assert c("TASK.PURGE", "q", "ready", "COUNT", 5) == 5
    while c("TASK.CLAIM", "q", "NOACK", "COUNT", 3):
        pass
    assert c("TASK.LEN", "q", "ready") == 0


def test_stalls_and_delays_go_on(server, c):
    """The server's own clock moves tasks, and replication of that isn't refused."""
    c.claim("q", "LEASE", 1)
    assert c("TASK.FAIL", "q", c.claim(), "DELAY", 1) >= 1
    server.wait_until(lambda: c.map("TASK.INFO", "q")[b"stalled"] == 1, "the lease has ended")
    server.wait_until(lambda: c("TASK.LEN", "q", "delayed") == 0, "the delay is over")


def test_a_transaction_with_a_push_is_given_up(server, c):
    """Already at the push; one that only drains runs, but for old servers, which queue nothing when full."""

    assert c("MULTI") == "OK"
    assert c("TASK.PUSH", "q", "p") == OOM
    assert c("EXEC").startswith("EXECABORT")
    assert c("MULTI") == "OK"
    if server.installed.version >= (7, 2):
        assert c("TASK.CLAIM", "q", "COUNT", 2) == "QUEUED"
        assert len(c("EXEC")[0]) == 2
    else:
        assert c("TASK.CLAIM", "q", "COUNT", 2) == OOM


def test_a_script_that_only_drains_runs(server, c):
    """One that pushes is refused."""
    drain = "return #redis.call('TASK.CLAIM', KEYS[1], 'COUNT', 2)"
    if server.installed.version >= (7, 0):
        # A script without a shebang may write only if the server has memory; one that says so may.
        drain = f"#!lua flags=allow-oom\n{drain}"
    assert c("EVAL", drain, 1, "q") == 2
    push = c("EVAL", "return redis.call('TASK.PUSH', KEYS[1], 'p')", 1, "q")
    assert "OOM" in push and c("TASK.LEN", "q") == 19
