"""Commands in MULTI and in scripts: they have the same replies and one effect each, and replicas get all or none."""

import pytest
from harness.effects import addressed
from harness.server import digest, wait_synced
from harness.talk import Error, Talk, effects, read_effect

DAY = 86_400_000


def propagated_names(server) -> list[bytes]:
    """The names of the commands that were propagated."""
    return [command[0] for command in server.propagated()]


@pytest.mark.parametrize("protocol", [2, 3])
def test_commands_in_a_transaction_have_the_same_replies(protocol, c):
    """Each command sees the changes of those before it."""
    commands = [
        ["TASK.PUSH", "q", "a"],
        ["TASK.MPUSH", "q", "TASKS", 2, "b", "c"],
        ["TASK.CLAIM", "q", "WITHMETA"],
        ["TASK.LEN", "q"],
        ["TASK.INFO", "q"],
        ["TASK.LIST", "q", "ready"],
        ["TASK.ACK", "q", "1-1@1-00000000"],
        ["TASK.CLAIM", "q", "COUNT", 0],
        ["TASK.PAUSE", "q"],
        ["TASK.CLAIM", "q", "BLOCK", 0],
    ]
    assert c("MULTI") == "OK"
    assert [c(*command) for command in commands] == ["QUEUED"] * len(commands)
    pushed, both, claimed, length, info, listed, acked, bad, paused, nothing = c("EXEC")
    assert len({pushed, *both}) == 3
    [[handle, payload, deliveries, meta]] = claimed
    assert (handle.split(b"@")[0], payload, deliveries) == (pushed, b"a", 1)
    assert c.as_map(meta)[b"failures"] == 0
    assert length == 3 and c.as_map(info)[b"leased"] == 1
    assert [c.as_map(task)[b"id"] for task in listed[1]] == both
    assert (acked, paused, nothing) == (0, "OK", [])
    assert bad == Error("ERR COUNT must be an integer between 1 and 1000")


def test_block_is_ignored_in_a_transaction_and_in_a_script(c):
    """The reply comes at once, and no worker waits."""
    assert c("MULTI") == "OK"
    c("TASK.CLAIM", "q", "BLOCK", 0)
    c("TASK.CLAIM", "q", "BLOCK", 5, "REQUEST", "t")
    assert c("EXEC") == [[], []]
    assert c("EVAL", "return redis.call('TASK.CLAIM', KEYS[1], 'BLOCK', 0)", 1, "q") == []
    assert b"taskslot_blocked_workers:0" in c("INFO", "taskslot")
    c.push()
    assert c("TASK.LEN", "q", "ready") == 1


def test_a_transaction_that_is_not_executed_does_nothing(server):
    """The causes are DISCARD, a watched queue that changed, and a command that could not be queued."""
    c, other = Talk(server), Talk(server)
    c.push()
    assert c("MULTI") == "OK" and c("TASK.PUSH", "q", "x") == "QUEUED" and c("DISCARD") == "OK"
    assert c("WATCH", "q") == "OK"
    other.claim()
    assert c("MULTI") == "OK" and c("TASK.PUSH", "q", "x") == "QUEUED"
    assert c("EXEC") is None
    assert c("MULTI") == "OK" and c("TASK.PUSH", "q", "x") == "QUEUED"
    assert isinstance(c("TASK.NOTHING", "q"), Error)
    assert c("EXEC").startswith("EXECABORT")
    assert c("TASK.LEN", "q") == 1


def test_commands_that_change_nothing_do_not_touch_a_watched_queue(server):
    """These are reads, refused commands and commands that find no task."""
    c, other = Talk(server), Talk(server)
    c("TASK.CONFIG", "q", "SET", "max-len", 0)
    assert c("WATCH", "q") == "OK"
    for command in (
        ["TASK.CLAIM", "q"],
        ["TASK.ACK", "q", "1-1@1-00000000"],
        ["TASK.PUSH", "q", "x"],
        ["TASK.SET", "q", "1-1", "PRIORITY", 1],
        ["TASK.CANCEL", "q", "1-1"],
        ["TASK.RETRY", "q", "COUNT", 5],
        ["TASK.RESUME", "q"],
        ["TASK.PURGE", "q", "ALL"],
        ["TASK.LEN", "q"],
        ["TASK.INFO", "q"],
        ["TASK.LIST", "q", "dead"],
    ):
        other(*command)
    assert c("MULTI") == "OK" and c("PING") == "QUEUED"
    assert c("EXEC") == ["PONG"]


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_script_gets_the_replies_of_a_client(protocol, c):
    """A map is a flat array, because scripts use RESP2."""
    task = c("EVAL", "return redis.call('TASK.PUSH', KEYS[1], ARGV[1], 'PRIORITY', 3)", 1, "q", "a\0b")
    claim = "local t = redis.call('TASK.CLAIM', KEYS[1], 'WITHMETA')[1] return {t[2], t[3], t[4][3], t[4][4]}"
    assert c("EVAL", claim, 1, "q") == [b"a\0b", 1, b"priority", 3]
    get = "return redis.call('TASK.GET', KEYS[1], ARGV[1])"
    shown = c("EVAL", get, 1, "q", task)
    assert dict(zip(shown[::2], shown[1::2], strict=True))[b"state"] == b"leased"
    assert c("EVAL", get, 1, "q", "1-1") is None
    assert c("EVAL", "return redis.call('TASK.LEN', KEYS[1])", 1, "q") == 1
    assert c("EVAL", "return redis.call('TASK.PAUSE', KEYS[1])", 1, "q") == "OK"


def test_a_script_can_catch_errors_with_pcall(c):
    """pcall returns the text. The script keeps its other changes."""
    script = """
        redis.call('TASK.PUSH', KEYS[1], 'a')
        local refused = redis.pcall('TASK.CLAIM', KEYS[1], 'COUNT', '0')
        redis.call('TASK.PUSH', KEYS[1], 'b')
        return refused.err
    """
    reply = c("EVAL", script, 1, "q")
    assert reply == b"ERR COUNT must be an integer between 1 and 1000"
    assert c("TASK.LEN", "q") == 2
    assert "ERR invalid handle" in c("EVAL", "return redis.call('TASK.ACK', KEYS[1], 'x')", 1, "q")


def test_each_command_of_a_transaction_has_one_effect_inside_multi(start):
    """Reads and commands that changed nothing have no effect."""
    server = start(appendonly="yes")
    c = Talk(server)
    c("MULTI")
    c("TASK.PUSH", "q", "a")
    c("TASK.LEN", "q")
    c("TASK.CLAIM", "q")
    c("TASK.CLAIM", "q")
    c("SET", "s", "v")
    c("TASK.PUSH", "r", "b")
    assert len(c("EXEC")) == 6
    first, *inside, last = server.propagated()
    assert (first, last) == ([b"MULTI"], [b"EXEC"])
    assert inside.pop(2) == [b"SET", b"s", b"v"]
    found = [read_effect(command) for command in inside]
    assert [(effect.key, effect.names) for effect in found] == [
        (b"q", ["push"]),
        (b"q", ["claim"]),
        (b"r", ["push"]),
    ]


def test_a_script_propagates_its_effects_instead_of_itself(start):
    """Several effects form a transaction. A script that only reads propagates no effect."""
    server = start(appendonly="yes")
    c = Talk(server)
    two = "redis.call('TASK.PUSH', KEYS[1], 'a') return redis.call('TASK.CLAIM', KEYS[1])[1][1]"
    handle = c("EVAL", two, 1, "q")
    commands = server.propagated()
    assert [command[0] for command in commands] == [b"MULTI", b"TASK._APPLY", b"TASK._APPLY", b"EXEC"]
    assert [read_effect(command).names for command in commands[1:3]] == [["push"], ["claim"]]
    c("EVAL", "return redis.call('TASK.LEN', KEYS[1])", 1, "q")
    assert effects(server) == []
    c("EVAL", "return redis.call('TASK.ACK', KEYS[1], ARGV[1])", 1, "q", handle)
    assert [effect.names for effect in effects(server)] == [["ack"]]


def test_commands_of_the_server_are_propagated_as_they_are(start):
    """COPY, RENAME and DEL of a queue have no effects."""
    server = start(appendonly="yes")
    c = Talk(server)
    c.push()
    server.propagated()
    assert c("COPY", "q", "r") == 1 and c("RENAME", "q", "s") == "OK" and c("DEL", "r") == 1
    assert propagated_names(server) == [b"COPY", b"RENAME", b"DEL"]


NOT_IN_THIS_SCRIPT = "ERR scripts cannot change queues when lua-replicate-commands is no"
CALL = "return redis.call(unpack(ARGV))"


@pytest.fixture
def verbatim_scripts(start, installed):
    """A primary that replicates scripts themselves, with an AOF, and its replica."""
    if installed.version >= (7, 0):
        pytest.skip("from 7.0 on the effects of scripts are replicated, always")
    settings = {"appendonly": "yes", "aof_use_rdb_preamble": "no", "lua_replicate_commands": "no"}
    primary, replica = start(port=True, **settings), start(port=True, **settings)
    replica.replicate(primary)
    return primary, replica


def all_are_equal(primary, replica, *keys: str) -> bool:
    """Whether the keys are equal on the replica, and after a restart of the primary."""

    def digests(server) -> list[bytes]:
        with server.client() as r:
            return [digest(r, key) for key in keys]

    wait_synced(primary, replica)
    before = digests(primary)
    is_equal = digests(replica) == before
    primary.restart()
    return is_equal and digests(primary) == before


def test_a_script_that_is_replicated_itself_cannot_change_a_queue(verbatim_scripts):
    """A second run on the replica could give another result. Reads are allowed."""
    primary, replica = verbatim_scripts
    c = Talk(primary)
    c.push("q", "a")
    handle = c.claim("q", "LEASE", DAY)
    task = c.push("q", "b")
    before = c.digest("q")
    for command in (
        ["TASK.PUSH", "q", "x"],
        ["TASK.MPUSH", "new", "TASKS", 1, "x"],
        ["TASK.CLAIM", "q"],
        ["TASK.CLAIM", "nothing"],
        ["TASK.MCLAIM", "q", "KEYS", 1, "p"],
        ["TASK.ACK", "q", handle],
        ["TASK.NEXT", "q", handle],
        ["TASK.REQUEUE", "q", handle],
        ["TASK.EXTEND", "q", handle],
        ["TASK.FAIL", "q", handle],
        ["TASK.SET", "q", task, "PRIORITY", 1],
        ["TASK.CANCEL", "q", task],
        ["TASK.RETRY", "q", task],
        ["TASK.CONFIG", "q", "SET", "lease", 5],
        ["TASK.GROUP", "q", "SET", "g", "WEIGHT", 2],
        ["TASK.CRON", "q", "SET", "s", "EVERY", 1000, "PAYLOAD", "x"],
        ["TASK.PAUSE", "q"],
        ["TASK.RESUME", "q"],
        ["TASK.PURGE", "q", "ALL"],
    ):
        refused = c("EVAL", CALL, 0, *command)
        assert isinstance(refused, Error) and NOT_IN_THIS_SCRIPT in refused, (command, refused)
    assert c("EVAL", CALL, 0, "TASK.LEN", "q") == 2
    assert c.digest("q") == before
    assert all_are_equal(primary, replica, "q", "new")


def test_lua_replicate_commands_applies_to_scripts_in_transactions_too(verbatim_scripts):
    """A change of the setting applies at once. redis.replicate_commands() makes no difference."""
    primary, replica = verbatim_scripts
    c = Talk(primary)
    push = ["TASK.PUSH", "q", "x"]
    pushed = 0
    for setting in ("yes", "no", "yes"):
        c("CONFIG", "SET", "lua-replicate-commands", setting)
        c("MULTI")
        c(*push)
        c("EVAL", CALL, 0, *push)
        replies = c("EXEC")
        replies += [c("EVAL", script, 0, *push) for script in (CALL, f"redis.replicate_commands() {CALL}")]
        refused = [isinstance(reply, Error) and NOT_IN_THIS_SCRIPT in reply for reply in replies]
        assert refused == [False, *[setting == "no"] * 3]
        pushed += refused.count(False)
    assert c("TASK.LEN", "q") == pushed == 9
    assert all_are_equal(primary, replica, "q")


def test_scripts_work_if_config_was_renamed(start, installed):
    """The module cannot read the setting and assumes the default."""
    server = start(rename_command='CONFIG ""')
    assert isinstance(Talk(server)("EVAL", CALL, 0, "TASK.PUSH", "q", "x"), bytes)


def test_a_script_that_is_replicated_itself_cannot_write_after_reading_a_queue(verbatim_scripts):
    """Reads depend on the clock, so the server refuses the write, as it does after TIME."""
    primary, _ = verbatim_scripts
    c = Talk(primary)
    task = c.push("q", "x")
    for look in (["LEN"], ["INFO"], ["GET", task], ["RESULT", task], ["LIST", "ready"]):
        words = [f"TASK.{look[0]}", "q", *look[1:]]
        script = "redis.call(unpack(ARGV)) return redis.call('SET', KEYS[1], 'v')"
        assert "Write commands not allowed after non deterministic commands" in c(
            "EVAL", script, 1, "k", *words
        )
    assert c("EXISTS", "k") == 0


def test_an_effect_in_a_script_that_is_replicated_itself_is_refused(start, installed):
    """With allow-effects it would otherwise be applied twice."""
    if installed.version >= (7, 0):
        pytest.skip("from 7.0 on the effects of scripts are replicated, always")
    server = start(
        appendonly="yes",
        aof_use_rdb_preamble="no",
        lua_replicate_commands="no",
        module_args=("allow-effects", "yes"),
    )
    c = Talk(server)
    c.push("q", "x")
    [effect] = server.propagated()[1:2]
    reply = c("EVAL", "return redis.call(unpack(ARGV))", 0, *addressed(b"copy", *effect[2:]))
    assert NOT_IN_THIS_SCRIPT in reply
    assert c("EXISTS", "copy") == 0
