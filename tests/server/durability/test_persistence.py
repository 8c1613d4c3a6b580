"""A queue comes back equal from RDB files, from both kinds of AOF and from DUMP, and can be worked on."""

import pytest
from harness.dumps import without_clocks
from harness.files import aof_bytes, rewrite_aof
from harness.queues import contents, goes_on, rich_queue, task
from harness.server import Server, digest

KEEPING = {
    "reload": {},
    "save": {},
    "aof": {"appendonly": "yes", "aof_use_rdb_preamble": "no"},
    "aof-loaded-again": {"appendonly": "yes", "aof_use_rdb_preamble": "no"},
    "rewritten-as-rdb": {"appendonly": "yes", "aof_use_rdb_preamble": "yes"},
    "rewritten-as-rdb-loaded-again": {"appendonly": "yes", "aof_use_rdb_preamble": "yes"},
    "rewritten-as-commands": {"appendonly": "yes", "aof_use_rdb_preamble": "no"},
    "rewritten-as-commands-loaded-again": {"appendonly": "yes", "aof_use_rdb_preamble": "no"},
}


def keep(server: Server, r, way: str):
    """Store the queues and load them again in the given way, and return a client that sees the result."""
    if way.startswith("rewritten"):
        rewrite_aof(server)
        # The file has no effects, so the queue can only come from the rewritten part.
        assert b"TASK._APPLY" not in aof_bytes(server)
        assert (b"TASK._LOAD" in aof_bytes(server)) == ("commands" in way)
    if way == "reload":
        r.execute_command("DEBUG", "RELOAD")
    elif way.endswith("loaded-again"):
        r.execute_command("DEBUG", "LOADAOF")
    else:
        server.stop(save=way == "save")
        r = server.restart().client()
    return r


@pytest.mark.parametrize("way", KEEPING)
def test_a_queue_comes_back_equal_and_can_be_worked_on(start, way):
    """Digest, contents, handles, tokens, pauses and order are the same after each way of storing."""
    server = start(**KEEPING[way])
    r = server.client()
    rich = rich_queue(r)
    r.execute_command("TASK.PAUSE", "empty", "FOR", 10**9)
    before = digest(r, "queue"), digest(r, "empty"), contents(r, "queue")
    r = keep(server, r, way)
    assert (digest(r, "queue"), digest(r, "empty"), contents(r, "queue")) == before
    goes_on(r, rich)


def test_storing_a_loaded_queue_gives_the_same_bytes(start):
    """Nothing is added or lost when a queue is loaded and stored again."""
    server = start(rdbcompression="no")
    r = server.client()
    rich_queue(r)
    r.execute_command("DEBUG", "RELOAD")
    stored = without_clocks(r.dump("queue"))
    r.execute_command("DEBUG", "RELOAD")
    assert without_clocks(r.dump("queue")) == stored


@pytest.mark.parametrize("compression", ["yes", "no"])
def test_a_dump_restores_a_queue_with_its_leases(start, compression):
    """RESTORE creates an equal queue, on the same server or another, in which the handles are valid."""
    server, other = start(rdbcompression=compression), start(rdbcompression=compression)
    r, o = server.client(), other.client()
    rich = rich_queue(r)
    payload = r.dump("queue")
    r.restore("twin", 0, payload)
    o.restore("queue", 0, payload)
    assert digest(r, "twin") == digest(r, "queue") == digest(o, "queue")
    assert contents(r, "twin") == contents(r, "queue") == contents(o, "queue")
    goes_on(o, rich)
    # Changes of one queue did not change the others.
    assert digest(r, "twin") == digest(r, "queue")
    assert task(r, "queue", rich.leased)["state"] == b"leased"


def test_migrate_moves_a_queue_with_its_leases(start):
    """Nothing is left on the source server."""
    source, target = start(), start(port=True)
    s, t = source.client(), target.client()
    rich = rich_queue(s)
    before = digest(s, "queue"), contents(s, "queue")
    assert s.execute_command("MIGRATE", "127.0.0.1", target.port, "queue", 0, 10_000) == b"OK"
    assert not s.exists("queue")
    assert (digest(t, "queue"), contents(t, "queue")) == before
    goes_on(t, rich)


def test_a_loaded_lease_stalls_at_its_deadline(start):
    """No command on the queue is needed."""
    server = start(appendonly="yes", module_args=("failover-grace", 0))
    r = server.client()
    r.execute_command("TASK.CONFIG", "queue", "SET", "backoff-base", 1)
    id_ = r.execute_command("TASK.PUSH", "queue", "a", "LEASE", 200)
    r.execute_command("TASK.PUSH", "queue", "b", "DELAY", 200, "PRIORITY", -1)
    assert len(r.execute_command("TASK.CLAIM", "queue")) == 1
    r.execute_command("DEBUG", "RELOAD")
    server.wait_until(lambda: r.execute_command("TASK.LEN", "queue", "ready") == 2, "both are ready")
    ((again, *_),) = r.execute_command("TASK.CLAIM", "queue")
    assert again.startswith(id_)
    r = server.restart().client()
    server.wait_until(lambda: r.execute_command("TASK.LEN", "queue", "ready") == 2, "it is ready again")
    assert task(r, "queue", id_)["stalls"] == 2


def test_an_aof_cut_anywhere_keeps_its_complete_commands(start):
    """A last command that is cut at any byte is left out. Everything before it is loaded."""
    server = start(appendonly="yes", aof_use_rdb_preamble="no")
    r = server.client()
    rich_queue(r)
    file = server._aof()
    states = [(file.stat().st_size, digest(r, "queue"))]
    for step in (("TASK.RESUME", "queue", "ALL"), ("TASK.PUSH", "queue", "p" * 300), ("TASK.CLAIM", "queue")):
        r.execute_command(*step)
        states.append((file.stat().st_size, digest(r, "queue")))
    server.kill9()
    whole = file.read_bytes()
    assert len(whole) == states[-1][0]

    def loaded(cut: int) -> bytes:
        file.write_bytes(whole[:cut])
        # A replica without a primary: it loads the AOF and runs no timer.
        server.restart(kill=True, replicaof="127.0.0.1 1")
        found = digest(server.client(), "queue")
        server.kill9()
        return found

    for (begin, before), (end, _) in zip(states, states[1:], strict=False):
        assert loaded(begin) == before
        # On a slow machine the timer may have written an effect before the command.
        last = whole.rindex(b"TASK._APPLY", begin, end)
        last = whole.rindex(b"*", begin, last)
        if last > begin:
            before = loaded(last)
        for cut in (last + 1, (last + end) // 2, end - 1):
            assert loaded(cut) == before, f"cut at {cut} of {len(whole)}"
