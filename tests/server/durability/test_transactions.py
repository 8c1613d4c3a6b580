"""Commands in MULTI and in scripts: the same replies, one effect each, all or none of them on replicas."""

import pytest
from harness.server import digest, wait_synced
from harness.talk import Error, Talk, effects, read_effect

DAY = 86_400_000


def propagated_words(server) -> list[bytes]:
    """The names of the commands that were propagated."""
    return [command[0] for command in server.propagated()]


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_transaction_answers_as_its_commands_do(protocol, c):
    """Shapes and all, with what comes earlier seen by what comes later."""
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


def test_block_acts_as_absent_in_a_transaction_and_in_a_script(c):
    """The answer comes at once, and nobody is left waiting."""
    assert c("MULTI") == "OK"
    c("TASK.CLAIM", "q", "BLOCK", 0)
    c("TASK.CLAIM", "q", "BLOCK", 5, "REQUEST", "t")
    assert c("EXEC") == [[], []]
    assert c("EVAL", "return redis.call('TASK.CLAIM', KEYS[1], 'BLOCK', 0)", 1, "q") == []
    assert b"taskslot_blocked_workers:0" in c("INFO", "taskslot")
    c.push()
    assert c("TASK.LEN", "q", "ready") == 1


def test_a_transaction_that_is_given_up_does_nothing(server):
    """DISCARD, a watched queue that changed, a command that could not be queued."""
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


def test_a_watched_queue_is_untouched_by_what_changes_nothing(server):
    """A claim that finds nothing, an ACK of nothing, a refused push and all reading let it pass."""
    c, other = Talk(server), Talk(server)
    c("TASK.CONFIG", "q", "SET", "max-len", 0)
    assert c("WATCH", "q") == "OK"
    for command in (
        ["TASK.CLAIM", "q"],
        ["TASK.ACK", "q", "1-1@1-00000000"],
        ["TASK.PUSH", "q", "x"],
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
def test_a_script_gets_what_a_client_gets(protocol, c):
    """Ids, arrays, integers; a map is a flat array, since scripts speak RESP2."""
    task = c("EVAL", "return redis.call('TASK.PUSH', KEYS[1], ARGV[1], 'PRIORITY', 3)", 1, "q", "a\0b")
    claim = "local t = redis.call('TASK.CLAIM', KEYS[1], 'WITHMETA')[1] return {t[2], t[3], t[4][3], t[4][4]}"
    assert c("EVAL", claim, 1, "q") == [b"a\0b", 1, b"priority", 3]
    get = "return redis.call('TASK.GET', KEYS[1], ARGV[1])"
    shown = c("EVAL", get, 1, "q", task)
    assert dict(zip(shown[::2], shown[1::2], strict=True))[b"state"] == b"leased"
    assert c("EVAL", get, 1, "q", "1-1") is None
    assert c("EVAL", "return redis.call('TASK.LEN', KEYS[1])", 1, "q") == 1
    assert c("EVAL", "return redis.call('TASK.PAUSE', KEYS[1])", 1, "q") == "OK"


def test_a_script_can_catch_our_errors(c):
    """pcall has the text; a script that goes on keeps what it did."""
    script = """
        redis.call('TASK.PUSH', KEYS[1], 'a')
        local refused = redis.pcall('TASK.CLAIM', KEYS[1], 'COUNT', '0')
        redis.call('TASK.PUSH', KEYS[1], 'b')
        return refused.err
    """
    answer = c("EVAL", script, 1, "q")
    assert answer == b"ERR COUNT must be an integer between 1 and 1000"
    assert c("TASK.LEN", "q") == 2
    assert "ERR invalid handle" in c("EVAL", "return redis.call('TASK.ACK', KEYS[1], 'x')", 1, "q")


def test_each_command_of_a_transaction_has_one_effect_inside_it(start):
    """MULTI, the effects in order, EXEC; reads and what changed nothing leave no trace."""
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
    told = [read_effect(command) for command in inside]
    assert [(effect.key, effect.names) for effect in told] == [
        (b"q", ["push"]),
        (b"q", ["claim"]),
        (b"r", ["push"]),
    ]


def test_a_script_propagates_its_effects_and_not_itself(start):
    """As a transaction, if there are several; a script that only reads propagates nothing of ours."""
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


def test_effects_of_commands_of_the_server_stay_its_own(start):
    """DEL, RENAME, COPY of a queue travel as what they are."""
    server = start(appendonly="yes")
    c = Talk(server)
    c.push()
    server.propagated()
    assert c("COPY", "q", "r") == 1 and c("RENAME", "q", "s") == "OK" and c("DEL", "r") == 1
    assert propagated_words(server) == [b"COPY", b"RENAME", b"DEL"]


NOT_IN_THIS_SCRIPT = (
    "ERR scripts cannot change queues when lua-replicate-commands is no"
)
CALL = "return redis.call(unpack(ARGV))"


@pytest.fixture
def whole_scripts(start, installed):
    """A server that replicates scripts as they stand, with an AOF, and its replica."""
    if installed.version >= (7, 0):
        pytest.skip("from 7.0 on the effects of scripts are replicated, always")
    settings = {"appendonly": "yes", "aof_use_rdb_preamble": "no", "lua_replicate_commands": "no"}
    primary, replica = start(port=True, **settings), start(port=True, **settings)
    replica.replicate(primary)
    return primary, replica


def all_are_equal(primary, replica, *keys: str) -> bool:
    """Whether keys are equal on the replica, and after a restart of the primary."""

    def digests(server) -> list[bytes]:
        with server.client() as r:
            return [digest(r, key) for key in keys]

    wait_synced(primary, replica)
    before = digests(primary)
    same = digests(replica) == before
    primary.restart()
    return same and digests(primary) == before


def test_a_script_that_is_replicated_itself_changes_no_queue(whole_scripts):
    """It would decide again on the replica: each command that changes a queue is refused, and reading is not."""
    primary, replica = whole_scripts
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
        ["TASK.REQUEUE", "q", handle],
        ["TASK.EXTEND", "q", handle],
        ["TASK.FAIL", "q", handle],
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


def test_the_setting_decides_for_scripts_in_transactions_too(whole_scripts):
    """Yes, as it is by default, or no, as changed a moment ago; redis.replicate_commands() shows to no module."""
    primary, replica = whole_scripts
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


def test_scripts_work_where_config_was_renamed(start, installed):
    """The setting can't be asked for: the default is taken for granted."""
    server = start(rename_command='CONFIG ""')
    assert isinstance(Talk(server)("EVAL", CALL, 0, "TASK.PUSH", "q", "x"), bytes)


def test_a_script_that_is_replicated_itself_writes_nothing_after_it_looked_at_a_queue(whole_scripts):
    """What it sees depends on the clock, and may be otherwise on the replica: the server refuses, as after TIME."""
    primary, _ = whole_scripts
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
    """A tool that replays an AOF may send effects; in such a script they would be applied twice."""
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
    answer = c("EVAL", "return redis.call(unpack(ARGV))", 0, effect[0], "copy", *effect[2:])
    assert NOT_IN_THIS_SCRIPT in answer
    assert c("EXISTS", "copy") == 0
