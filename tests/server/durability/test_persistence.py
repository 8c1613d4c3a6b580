"""A queue comes back equal from RDB files, AOF files of both kinds and DUMP's payload, and goes on."""

import pytest
from harness.dumps import without_clocks
from harness.files import aof_bytes, rewrite_aof
from harness.queues import contents, goes_on, rich_queue, task
from harness.server import Server, digest

KEEPING = {
    "reload": {},
    "save": {},
    "aof": {"appendonly": "yes", "aof_use_rdb_preamble": "no"},
    "aof-loaded-anew": {"appendonly": "yes", "aof_use_rdb_preamble": "no"},
    "rewritten-as-rdb": {"appendonly": "yes", "aof_use_rdb_preamble": "yes"},
    "rewritten-as-rdb-loaded-anew": {"appendonly": "yes", "aof_use_rdb_preamble": "yes"},
    "rewritten-as-commands": {"appendonly": "yes", "aof_use_rdb_preamble": "no"},
    "rewritten-as-commands-loaded-anew": {"appendonly": "yes", "aof_use_rdb_preamble": "no"},
}


def keep(server: Server, r, way: str):
    """Send what is in memory over the way and back, and return a client that sees what came back."""
    if way.startswith("rewritten"):
        rewrite_aof(server)
        # What is rewritten is what is loaded: not one effect is in the file that could make the queue anew.
        assert b"TASK._APPLY" not in aof_bytes(server)
        assert (b"TASK._LOAD" in aof_bytes(server)) == ("commands" in way)
    if way == "reload":
        r.execute_command("DEBUG", "RELOAD")
    elif way.endswith("loaded-anew"):
        r.execute_command("DEBUG", "LOADAOF")
    else:
        server.stop(save=way == "save")
        r = server.restart().client()
    return r


@pytest.mark.parametrize("way", KEEPING)
def test_a_queue_comes_back_equal_and_goes_on(start, way):
    """Digest, contents, handles, tokens, gates and order are what they were, over each way of keeping."""
    server = start(**KEEPING[way])
    r = server.client()
    rich = rich_queue(r)
    r.execute_command("TASK.PAUSE", "empty", "FOR", 10**9)
    before = digest(r, "queue"), digest(r, "empty"), contents(r, "queue")
    r = keep(server, r, way)
    assert (digest(r, "queue"), digest(r, "empty"), contents(r, "queue")) == before
    goes_on(r, rich)


def test_keeping_twice_is_keeping_once(start):
    """What came back is stored in the very bytes of before: nothing is added or lost by a round."""
    server = start(rdbcompression="no")
    r = server.client()
    rich_queue(r)
    r.execute_command("DEBUG", "RELOAD")
    stored = without_clocks(r.dump("queue"))
    r.execute_command("DEBUG", "RELOAD")
    assert without_clocks(r.dump("queue")) == stored


@pytest.mark.parametrize("compression", ["yes", "no"])
def test_a_dump_restores_a_queue_with_its_leases(start, compression):
    """RESTORE gives an equal queue, in the same server or another, in which the handles go on."""
    server, other = start(rdbcompression=compression), start(rdbcompression=compression)
    r, o = server.client(), other.client()
    rich = rich_queue(r)
    payload = r.dump("queue")
    r.restore("twin", 0, payload)
    o.restore("queue", 0, payload)
    assert digest(r, "twin") == digest(r, "queue") == digest(o, "queue")
    assert contents(r, "twin") == contents(r, "queue") == contents(o, "queue")
    goes_on(o, rich)
    # What happened to one queue did not happen to the other.
    assert digest(r, "twin") == digest(r, "queue")
    assert task(r, "queue", rich.leased)["state"] == b"leased"


def test_a_queue_moves_by_migrate(start):
    """MIGRATE between two servers takes the leases along and leaves nothing behind."""
    source, target = start(), start(port=True)
    s, t = source.client(), target.client()
    rich = rich_queue(s)
    before = digest(s, "queue"), contents(s, "queue")
    assert s.execute_command("MIGRATE", "127.0.0.1", target.port, "queue", 0, 10_000) == b"OK"
    assert not s.exists("queue")
    assert (digest(t, "queue"), contents(t, "queue")) == before
    goes_on(t, rich)


def test_leases_that_came_back_end(start):
    """A lease that was loaded stalls at its deadline, without anybody touching the queue."""
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


def test_an_aof_torn_anywhere_holds_what_was_whole(start):
    """A last command that was cut short at any byte is left out; all before it is there."""
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
    for (begin, before), (end, _) in zip(states, states[1:], strict=False):
        for cut in (begin, begin + 1, (begin + end) // 2, end - 1):
            file.write_bytes(whole[:cut])
            # A replica of nobody: it loads, and then no time passes for its queues.
            server.restart(kill=True, replicaof="127.0.0.1 1")
            assert digest(server.client(), "queue") == before, f"cut at {cut} of {len(whole)}"
            server.kill9()
