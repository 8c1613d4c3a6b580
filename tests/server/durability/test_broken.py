"""A queue with an effect or a stored part that does not fit is BROKEN: it can be read but not written.

Such effects are forged into AOF files, because no command makes a server write one.
"""

import msgpack
import pytest
from harness.checksums import plain_part
from harness.files import add_to_aof, rewrite_aof, wait_aof
from harness.queues import STATES, contents, info, refusal, rich_queue, tasks
from harness.server import Server, digest, parse_commands, wait_synced
from harness.talk import id_parts, packed

WRITES = [
    ("TASK.PUSH", "queue", "x"),
    ("TASK.MPUSH", "queue", "TASKS", 1, "x"),
    ("TASK.CLAIM", "queue"),
    ("TASK.CLAIM", "queue", "BLOCK", 0),
    ("TASK.CLAIM", "queue", "NOACK"),
    ("TASK.MCLAIM", "queue", "KEYS", 1, "other"),
    ("TASK.MCLAIM", "other", "KEYS", 2, "nothing", "queue", "BLOCK", 0),
    ("TASK.ACK", "queue", "1-1@1-00000000"),
    ("TASK.NEXT", "queue", "1-1@1-00000000", "BLOCK", 0),
    ("TASK.FAIL", "queue", "1-1@1-00000000"),
    ("TASK.REQUEUE", "queue", "1-1@1-00000000"),
    ("TASK.EXTEND", "queue", "HANDLES", 1, "1-1@1-00000000"),
    ("TASK.SET", "queue", "1-1", "DELAY", 1),
    ("TASK.CANCEL", "queue", "1-1"),
    ("TASK.RETRY", "queue", "COUNT", 1),
    ("TASK.CONFIG", "queue", "RESET"),
    ("TASK.CRON", "queue", "SET", "s", "EVERY", 1000, "PAYLOAD", "x"),
    ("TASK.PAUSE", "queue"),
    ("TASK.RESUME", "queue", "ALL"),
    ("TASK.PURGE", "queue", "ALL"),
]


def effect(*events: dict, payloads: tuple[bytes, ...] = (), version: int = 1) -> bytes:
    """An effect on the queue, as an AOF has it."""
    return packed(["TASK._APPLY", "queue", bytes([version]) + msgpack.packb(list(events)), *payloads])


def acked(id_: bytes) -> dict:
    """The event that a task was acked."""
    return {"ack": [id_parts(id_), False]}


MISSING = b"1-1"
FORGED = {
    "an unknown version": lambda ready: effect(acked(ready), version=3),
    "an unknown event": lambda ready: effect({"explode": [1]}),
    "no effect": lambda ready: packed(["TASK._APPLY", "queue", ""]),
    "an effect cut short": lambda ready: packed(["TASK._APPLY", "queue", b"\x01\xdd\0\0\0\1"]),
    "a task that is not there": lambda ready: effect(acked(MISSING)),
    "a payload for nothing": lambda ready: effect(acked(ready), payloads=(b"x",)),
    "a push without payloads": lambda ready: effect({"push": [[2**44, 0], 2, None, [0, None, None, b""]]}),
    "an id from before": lambda ready: effect(
        {"push": [[1, 1], 1, None, [0, None, None, b""]]}, payloads=(b"x",)
    ),
    "an unknown setting": lambda ready: effect({"config": [[["more", 1]]]}),
    "a setting out of bounds": lambda ready: effect({"config": [[["lease", 0]]]}),
    "a ready task that fails": lambda ready: effect({"fail": [id_parts(ready), {"x": 1}, b""]}),
    "a lease number from before": lambda ready: effect(
        {"claim": [1, b"w", False, [[id_parts(ready), 1, 1, 1000, 1001]]]}
    ),
    "a lease beyond all time": lambda ready: effect(
        {"claim": [1, b"w", False, [[id_parts(ready), 2**53 - 1, 1, 1000, 2**63]]]}
    ),
}


def with_forged(start, *forged: bytes, **settings) -> Server:
    """A server that has loaded an AOF with a rich queue `queue` and the forged commands after it.

    The key `sound` has the same queue without them. No forged command names the queue `other`.
    """
    server = start(appendonly="yes", **{"aof_use_rdb_preamble": "no", **settings})
    r = server.client()
    rich_queue(r, paused=False)
    r.restore("sound", 0, r.dump("queue"))
    r.execute_command("TASK.PUSH", "other", "x")
    server.stop()
    add_to_aof(server, *forged)
    return server.start()


def check_broken(server: Server) -> str:
    """The queue is broken and gives the reason. Reads work; writes are refused and change nothing."""
    r = server.client()
    why = info(r, "queue")["broken"].decode()
    line = f"queue 'queue' in database 0 is BROKEN: {why}"
    assert why and line in server.log(), "TASK.INFO and the log show the reason"
    before = digest(r, "queue"), contents(r, "queue")
    others = r.execute_command("TASK.LEN", "other", "ready")
    for write in WRITES:
        assert refusal(r, *write) == "BROKEN", write
    assert (digest(r, "queue"), contents(r, "queue")) == before
    assert digest(r, "queue") != digest(r, "sound"), "a broken queue is not equal to a sound one"
    assert r.memory_usage("queue") > 1000
    assert r.execute_command("TASK.LEN", "other", "ready") == others, (
        "a claim of several queues takes nothing"
    )
    assert len(r.execute_command("TASK.CLAIM", "other")) <= 1, "other queues work"
    return why


def without_broken(kept: dict) -> dict:
    """Contents without the reason why the queue is broken."""
    return {**kept, "info": {name: value for name, value in kept["info"].items() if name != "broken"}}


@pytest.mark.parametrize("name", FORGED)
def test_an_effect_that_does_not_fit_breaks_its_queue_only(start, name):
    """The server starts, the queue is as before the effect, and later effects do not change it."""
    server = start(appendonly="yes", aof_use_rdb_preamble="no")
    r = server.client()
    rich_queue(r, paused=False)
    r.restore("sound", 0, r.dump("queue"))
    ready = tasks(r, "queue", "ready")[0]["id"]
    server.stop()
    add_to_aof(server, FORGED[name](ready), effect(acked(ready)), packed(["TASK.PUSH", "other", "x"]))
    server.start()
    r = server.client()
    check_broken(server)
    assert without_broken(contents(r, "queue")) == without_broken(contents(r, "sound"))
    assert r.delete("queue") == 1
    r.execute_command("TASK.PUSH", "queue", "new")
    assert len(r.execute_command("TASK.CLAIM", "queue")) == 1


def test_a_queue_can_be_read_after_half_an_effect(start):
    """The first event of the effect was applied and the second was not. The queue shows the first."""
    server = start(appendonly="yes", aof_use_rdb_preamble="no")
    r = server.client()
    rich = rich_queue(r, paused=False)
    r.restore("sound", 0, r.dump("queue"))
    server.stop()
    add_to_aof(server, effect(acked(rich.leased.split(b"@")[0]), acked(MISSING)))
    r = server.start().client()
    check_broken(server)
    assert info(r, "queue")["leased"] == info(r, "sound")["leased"] - 1


@pytest.mark.parametrize(
    "way", ["reload", "rewrite-as-rdb", "rewrite-as-commands", "save", "restore", "full-sync"]
)
def test_a_broken_queue_stays_broken(start, way):
    """However it is stored and loaded, it comes back as it was, with its reason. COPY refuses it."""
    preamble = "yes" if way == "rewrite-as-rdb" else "no"
    server = with_forged(
        start, effect(acked(MISSING)), aof_use_rdb_preamble=preamble, port=way == "full-sync"
    )
    r = server.client()
    before = digest(r, "queue"), contents(r, "queue")
    assert refusal(r, "COPY", "queue", "copy") == "ERR" and not r.exists("copy")
    if way == "reload":
        r.execute_command("DEBUG", "RELOAD")
    elif way == "restore":
        payload = r.dump("queue")
        r.delete("queue")
        r.restore("queue", 0, payload)
    elif way == "full-sync":
        replica = start()
        replica.replicate(server)
        r = replica.client()
    elif way == "save":
        server.stop(save=True)
        r = server.restart(appendonly="no").client()
    else:
        rewrite_aof(server)
        r = server.restart().client()
    assert (digest(r, "queue"), contents(r, "queue")) == before
    assert before[1]["info"]["broken"]


def test_leases_and_delays_of_a_broken_queue_do_not_end(start):
    """The timer goes on for other queues."""
    server = start(appendonly="yes", aof_use_rdb_preamble="no", module_args=("failover-grace", 0))
    r = server.client()
    r.execute_command("TASK.PUSH", "queue", "a", "DELAY", 1500)
    r.execute_command("TASK.PUSH", "queue", "b", "LEASE", 1500)
    r.execute_command("TASK.CLAIM", "queue")
    server.stop()
    add_to_aof(server, effect(acked(MISSING)))
    r = server.start().client()
    before = digest(r, "queue")
    due = max(int(one["due"]) for one in tasks(r, "queue", "delayed"))
    server.wait_until(lambda: r.time()[0] > due + 1, "all in it is due")
    r.execute_command("TASK.PUSH", "other", "x", "DELAY", 1)
    server.wait_until(lambda: r.execute_command("TASK.LEN", "other", "ready"), "the clock goes on")
    assert digest(r, "queue") == before


def damaged(server: Server, change) -> Server:
    """The server, restarted after `change` has damaged its AOF, which was rewritten as commands.

    They are in the form of older versions: with a checksum, each of these changes would only be a wrong checksum.
    """
    rewrite_aof(server)
    server.stop()
    (base,) = [f for f in server.dir.rglob("*.aof") if b"TASK._LOAD" in f.read_bytes()]
    commands, end = parse_commands(base.read_bytes())
    commands = [plain_part(words) if words[0] == b"TASK._LOAD" else words for words in commands]
    ours = [n for n, words in enumerate(commands) if words[:2] == [b"TASK._LOAD", b"queue"]]
    assert [commands[n][2] for n in (ours[0], ours[1], ours[-1])] == [b"HEAD", b"MORE", b"END"]
    change(commands, ours)
    base.write_bytes(b"".join(packed(words) for words in commands if words))
    return server.start()


def drop(commands: list, at: int) -> None:
    """Remove a command."""
    commands[at] = []


def cut(commands: list, at: int) -> None:
    """Remove the last byte of the stored part that a command carries."""
    commands[at][3] = commands[at][3][:-1]


def page(commands: list, ours: list[int], nth: int) -> int:
    """The position of a page of the queue among the commands."""
    return [at for at in ours if commands[at][3][:1] == b"p"][nth]


DAMAGE = {
    "the end is missing": lambda c, ours: drop(c, ours[-1]),
    "a page is missing": lambda c, ours: drop(c, page(c, ours, 1)),
    "a page is damaged": lambda c, ours: cut(c, page(c, ours, 1)),
    "the first page is damaged": lambda c, ours: cut(c, page(c, ours, 0)),
    "the head is damaged": lambda c, ours: cut(c, ours[0]),
    "a chunk is there twice": lambda c, ours: c.insert(page(c, ours, 1), c[page(c, ours, 1)]),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_queue_in_a_damaged_aof_is_broken_not_missing(start, name):
    """The server loads the rest of the AOF. The queue shows what could be read of it."""
    server = start(appendonly="yes", aof_use_rdb_preamble="no")
    r = server.client()
    rich_queue(r)
    r.restore("sound", 0, r.dump("queue"))
    r.execute_command("TASK.PUSH", "other", "x")
    damaged(server, DAMAGE[name])
    r = server.client()
    assert r.keys() and set(r.keys()) == {b"queue", b"sound", b"other"}
    assert info(r, "queue")["broken"] and info(r, "sound")["broken"] == b""
    for state in STATES:
        assert isinstance(tasks(r, "queue", state), list), "the rest can be read"
    for write in WRITES:
        assert refusal(r, *write) == "BROKEN", write
    before = digest(r, "queue")
    r.execute_command("DEBUG", "RELOAD")
    assert digest(r, "queue") == before
    assert r.delete("queue") == 1


def test_a_queue_that_differs_on_a_replica_is_broken_there_until_a_full_copy(start):
    """It is broken on the replica and in the replica's AOF, not on the primary."""
    primary, leaf = start(port=True), start()
    replica = start(port=True, appendonly="yes", replica_read_only="no")
    p, c, d = primary.client(), replica.client(), leaf.client()
    replica.replicate(primary)
    leaf.replicate(replica)
    wait_aof(replica)
    p.execute_command("TASK.MPUSH", "queue", "TASKS", 3, *"abc")
    wait_synced(primary, replica)
    c.execute_command("TASK.PURGE", "queue", "ready", "COUNT", 1)
    ((handle, *_),) = p.execute_command("TASK.CLAIM", "queue")
    p.execute_command("TASK.PUSH", "queue", "d")
    p.execute_command("TASK.PUSH", "other", "x")
    wait_synced(primary, replica)
    assert info(p, "queue")["broken"] == b"" and p.execute_command("TASK.ACK", "queue", handle) == 1
    assert info(c, "queue")["broken"] and info(c, "other")["broken"] == b""
    before = digest(c, "queue")
    replica.restart(kill=True, replicaof="127.0.0.1 1")
    assert digest(replica.client(), "queue") == before, "its AOF has the same queue"
    # A full copy replaces it.
    replica.replicate(primary)
    assert digest(replica.client(), "queue") == digest(p, "queue")
    assert d.ping()


def test_a_broken_queue_on_a_replica_is_replaced_by_a_full_copy(start):
    """A restart gets only a partial copy. REPLICAOF NO ONE before the link makes the next copy a full one."""
    primary = start(port=True)
    replica = start(replica_read_only="no", save="3600 1")
    p = primary.client()
    replica.replicate(primary)
    p.execute_command("TASK.MPUSH", "queue", "TASKS", 3, *"abc")
    wait_synced(primary, replica)
    replica.client().execute_command("TASK.PURGE", "queue", "ready", "COUNT", 1)
    p.execute_command("TASK.CLAIM", "queue")
    wait_synced(primary, replica)
    assert info(replica.client(), "queue")["broken"]
    copies = p.info("stats")["sync_full"]
    replica.stop(save=True)
    replica.begin(replicaof=f"127.0.0.1 {primary.port}")
    replica.ready()
    wait_synced(primary, replica)
    assert info(replica.client(), "queue")["broken"] and p.info("stats")["sync_full"] == copies
    replica.client().execute_command("REPLICAOF", "NO", "ONE")
    replica.replicate(primary)
    assert info(replica.client(), "queue")["broken"] == b"" and p.info("stats")["sync_full"] == copies + 1
    assert digest(replica.client(), "queue") == digest(p, "queue")


def test_clients_cannot_send_effects(r, server):
    """TASK._APPLY and TASK._LOAD are refused from clients, also in scripts and transactions."""
    rich_queue(r)
    before = digest(r, "queue")
    for command in (
        ("TASK._APPLY", "queue", "x"),
        ("TASK._LOAD", "queue", "HEAD", "x"),
        ("TASK._LOAD", "new", "END", ""),
    ):
        assert refusal(r, *command) == "ERR"
        assert refusal(r, "EVAL", "return redis.call(unpack(ARGV))", 0, *command) == "ERR"
        with r.pipeline() as p, pytest.raises(Exception, match="reserved for replication"):
            p.execute_command(*command)
            p.execute()
    assert digest(r, "queue") == before and r.keys() == [b"queue"]


def test_a_tool_can_replay_an_aof_with_allow_effects(start):
    """An effect that does not fit is an error and changes nothing."""
    source = start(appendonly="yes", aof_use_rdb_preamble="no")
    # A writable replica without a primary: on a primary, the timer could act between two effects.
    target = start(
        module_args=("allow-effects", "yes"),
        appendonly="yes",
        aof_use_rdb_preamble="no",
        replicaof="127.0.0.1 1",
        replica_read_only="no",
    )
    s, t = source.client(), target.client()
    rich_queue(s, paused=False)
    for words in source.propagated():
        # 6.2 wraps the effects of one event loop cycle in a transaction.
        reply = t.execute_command(*words)
        assert set(reply if isinstance(reply, list) else [reply]) <= {b"OK", b"QUEUED"}, reply
    before = digest(t, "queue")
    assert before == digest(s, "queue")
    ready = tasks(t, "queue", "ready")[0]["id"]
    for name, forged in FORGED.items():
        ((words,), _) = parse_commands(forged(ready))
        assert refusal(t, *words) == "ERR", name
    ((words,), _) = parse_commands(effect(acked(ready), acked(MISSING)))
    assert refusal(t, *words) == "ERR", "half of it would fit"
    assert digest(t, "queue") == before
    # The parts of a stored queue can be replayed as well.
    rewrite_aof(source)
    parts = [plain_part(words) for words in load_commands(source) if words[0] == b"TASK._LOAD"]
    for words in parts:
        assert t.execute_command(words[0], "loaded", *words[2:]) == b"OK"
    assert digest(t, "loaded") == before
    for words in parts[:-1]:
        t.execute_command(words[0], "unfinished", *words[2:])
    assert refusal(t, "TASK.PUSH", "unfinished", "x") == "BROKEN"
    assert refusal(t, "TASK._LOAD", "unfinished", "HEAD", "?") == "ERR"
    assert t.execute_command("TASK._LOAD", "unfinished", *parts[-1][2:]) == b"OK"
    assert digest(t, "unfinished") == before
    t = target.restart().client()
    assert digest(t, "queue") == digest(t, "loaded") == digest(t, "unfinished") == before


def load_commands(server: Server) -> list[list[bytes]]:
    """All commands in all files of an AOF that has no RDB part."""
    files = sorted(
        f for f in server.dir.rglob("appendonly*.aof*") if f.is_file() and not f.name.endswith("manifest")
    )
    return [words for file in files for words in parse_commands(file.read_bytes())[0]]
