"""What ACL rules allow: key patterns, read and write permissions and categories, also in transactions and scripts."""

import pytest
from harness.talk import Error, Talk
from harness.waiting import Floor, Worker

HANDLE = "1-1@1-00000000"
# Commands by what the server takes them to do with their key: read data, change data, both or neither.
READERS = [["RESULT", "1-1"], ["GET", "1-1"], ["LIST", "ready"], ["INFO"]]
WRITERS = [
    ["PUSH", "p"],
    ["MPUSH", "TASKS", 1, "p"],
    ["ACK", HANDLE],
    ["REQUEUE", HANDLE],
    ["EXTEND", HANDLE],
    ["FAIL", HANDLE],
    ["SET", "1-1", "DELAY", 1],
    ["CANCEL", "1-1"],
    ["RETRY", "1-1"],
    ["CONFIG", "RESET"],
    ["GROUP", "DEL", "g"],
    ["CRON", "DEL", "s"],
    ["BATCH", "DEL", "b"],
    ["PAUSE"],
    ["RESUME"],
    ["PURGE", "ALL"],
]
KEY = "<key>"
BOTH = [["CLAIM"], ["MCLAIM", "KEYS", 1, KEY], ["NEXT", HANDLE]]
NEITHER = [["LEN"], ["SHARDS", 2]]


def on(key: str, commands: list[list]) -> list[list]:
    """The commands on this key."""
    return [
        [f"TASK.{name}", key, *(key if word == KEY else word for word in rest)] for name, *rest in commands
    ]


def user(server, *rules: str) -> Talk:
    """A connection of a user with these rules."""
    admin = Talk(server)
    assert admin("ACL", "SETUSER", "u", "reset", "on", ">x", *rules) == "OK"
    c = Talk(server)
    assert c("AUTH", "u", "x") == "OK"
    return c


def denied(c: Talk, commands: list[list]) -> list[bool]:
    """Which of the commands are refused with NOPERM."""
    return [isinstance(reply, Error) and reply.startswith("NOPERM") for reply in c.many(commands)]


def test_a_user_can_only_use_the_keys_of_its_patterns(server):
    """Every command is refused on another key, which stays as it is."""
    c = user(server, "+@all", "~jobs:*")
    admin = Talk(server)
    admin.push("secret")
    digest = admin.digest("secret")
    commands = READERS + WRITERS + BOTH + NEITHER
    assert not any(denied(c, on("jobs:1", commands)))
    assert all(denied(c, on("secret", commands)))
    assert all(denied(c, on("xjobs:1", commands)))
    assert admin.digest("secret") == digest


def test_no_option_changes_which_argument_is_the_key(server):
    """The key is the first argument whatever follows, so no option evades a pattern."""
    c = user(server, "+@all", "~jobs:*")
    for word in ("KEYS", "TASKS", "HANDLES", "jobs:1", "STREAMS"):
        Talk(server).push("jobs:1")
        assert denied(c, [["TASK.CLAIM", "secret", "WORKER", word, "BLOCK", 1]]) == [True]
        assert denied(c, [["TASK.PUSH", "secret", word, "jobs:1"]]) == [True]
        assert denied(c, [["TASK.CLAIM", "jobs:1", "WORKER", word, "BLOCK", 1]]) == [False]


OPTIONS_WITH_VALUES = ["COUNT", "BYTES", "LEASE", "BLOCK", "WORKER", "REQUEST"]


def test_a_claim_of_several_queues_needs_permission_for_every_key(server):
    """If one key is not allowed, nothing is claimed. The words and numbers of options do not matter."""
    c, admin = user(server, "+@all", "~jobs:*"), Talk(server)
    for key in ("secret", "jobs:1", "jobs:2"):
        admin.push(key)
    allowed = ["TASK.MCLAIM", "jobs:1", "KEYS", 2, "jobs:2", "jobs:3"]
    endings = [[], *([option, word] for option in OPTIONS_WITH_VALUES for word in ("KEYS", "1", "jobs:1"))]
    endings += [["WORKER", "KEYS", "BLOCK", 1], ["REQUEST", "KEYS", "COUNT", 1], ["KEYS", 1, "jobs:1"]]
    for position in (1, 4, 5):
        forbidden = [*allowed[:position], "secret", *allowed[position + 1 :]]
        assert all(denied(c, [[*forbidden, *ending] for ending in endings])), forbidden
    for key in ("secret", "jobs:1", "jobs:2"):
        assert admin("TASK.INFO", key)[1] == 1, "it is still ready"
    assert not any(denied(c, [[*allowed, *ending] for ending in endings]))


def test_a_number_of_keys_that_the_server_cannot_read_is_an_error(server):
    """The server checks no key of such a command, so the command reads none. Its error is the same for all keys."""
    c, admin = user(server, "+@all", "~jobs:*"), Talk(server)
    admin.push("secret")
    admin("SET", "text", "x")
    digest = admin.digest("secret")
    numbers = ["0", "-1", "-0", "+1", "01", " 1", "1 ", "1.0", "0x1", "x", "", "KEYS", 101, 2**31, 2**32 + 1]
    numbers += [2**63 - 1, 2**63, 2**64 + 1, -(2**63), "\0", "1\0"]
    for number in [*numbers, 2, 3, 4, 5, 6]:
        replies = set()
        for first, second in (("secret", "secret"), ("text", "text"), ("nothing", "nothing")):
            for ending in ([], ["BLOCK", 0], ["COUNT", 1], ["WORKER", "KEYS"], ["REQUEST", "t"]):
                reply = c("TASK.MCLAIM", first, "KEYS", number, second, *ending)
                assert isinstance(reply, Error), (number, reply)
                replies.add((tuple(ending), reply))
        assert len({ending for ending, _ in replies}) == len(replies), "the error does not depend on the key"
    for word in ("KEY", "COUNT", "WORKER", "", "1", "jobs:1"):
        reply = c("TASK.MCLAIM", "secret", word, 1, "secret")
        assert isinstance(reply, Error)
    assert isinstance(c("TASK.MCLAIM", "secret"), Error)
    assert isinstance(c("TASK.MCLAIM", "secret", "KEYS"), Error)
    assert isinstance(c("TASK.MCLAIM", "secret", "KEYS", 1), Error)
    assert admin.digest("secret") == digest


def test_commands_need_read_or_write_permission_or_both(server):
    """From 7.0 on, %R~ allows reads, %W~ allows writes, and a claim needs both."""
    if server.installed.version < (7, 0):
        admin = Talk(server)
        assert isinstance(admin("ACL", "SETUSER", "u", "%R~q"), Error), "6.2 knows no such patterns"
        return
    reader = user(server, "+@all", "%R~q")
    assert not any(denied(reader, on("q", READERS + NEITHER)))
    assert all(denied(reader, on("q", WRITERS + BOTH)))
    writer = user(server, "+@all", "%W~q")
    assert not any(denied(writer, on("q", WRITERS + NEITHER)))
    assert all(denied(writer, on("q", READERS + BOTH)))
    worker = user(server, "+@all", "%RW~q")
    assert not any(denied(worker, on("q", READERS + WRITERS + BOTH + NEITHER)))


def test_a_user_can_only_run_the_commands_it_was_given(server):
    """Commands can be given by name on every server."""
    c = user(server, "~*", "-@all", "+echo", "+task.claim", "+task.ack")
    assert not any(denied(c, on("q", [["CLAIM"], ["ACK", HANDLE]])))
    assert all(denied(c, on("q", [["PUSH", "p"], ["PURGE", "ALL"], ["REQUEUE", HANDLE], ["LEN"]])))


NO_PUSH = Error("NOPERM with PUSH, this user needs the permission to run TASK.PUSH on this key")


@pytest.mark.parametrize("rules", [["~*", "+task.ack"], ["~*", "+@all", "-task.push"]])
def test_an_ack_that_pushes_needs_the_permission_to_push(server, rules):
    """From 7.0 on, the task stays leased and nothing is pushed. On 6.2 modules cannot check permissions."""
    c, admin = user(server, *rules), Talk(server)
    admin.push("q", "first")
    handle = admin.claim("q")
    digest = admin.digest("q")
    if server.installed.version < (7, 0):
        assert c("TASK.ACK", "q", handle, "PUSH", "next")[0] == 1
        return
    assert c("TASK.ACK", "q", handle, "PUSH", "next") == NO_PUSH
    assert c("TASK.ACK", "missing", handle, "PUSH", "next") == NO_PUSH
    assert admin.digest("q") == digest
    assert admin("ACL", "SETUSER", "u", "+task.push", "+task.ack") == "OK"
    assert c("TASK.ACK", "q", handle, "PUSH", "next")[0] == 1
    assert admin("ACL", "SETUSER", "u", "-task.push") == "OK"
    assert c("TASK.ACK", "q", admin.claim("q")) == 1


def test_an_ack_that_pushes_needs_the_permission_to_push_in_a_transaction(server):
    """The other commands of the transaction are run."""
    if server.installed.version < (7, 0):
        pytest.skip("on 6.2 modules cannot check permissions")
    c, admin = user(server, "~*", "+@all", "-task.push"), Talk(server)
    admin.push("q", "first")
    handle = admin.claim("q")
    replies = c.many([["MULTI"], ["TASK.ACK", "q", handle, "PUSH", "p"], ["TASK.LEN", "q"], ["EXEC"]])
    assert replies[-1] == [NO_PUSH, 1]


@pytest.mark.parametrize("way", [["EVAL", "return redis.call(unpack(ARGV))", 0], ["FCALL", "f", 0]])
def test_an_ack_that_pushes_needs_the_permission_to_push_in_a_script(server, way):
    """The script runs with the permissions of the user who called it, also if an administrator wrote it."""
    if server.installed.version < (7, 0):
        pytest.skip("on 6.2 modules cannot check permissions")
    c, admin = user(server, "~*", "+@all", "-task.push"), Talk(server)
    code = "redis.register_function('f', function(_, a) return redis.call(unpack(a)) end)"
    admin("FUNCTION", "LOAD", f"#!lua name=l\n{code}")
    admin.push("q", "first")
    handle = admin.claim("q")
    digest = admin.digest("q")
    reply = c(*way, "TASK.ACK", "q", handle, "PUSH", "p")
    assert isinstance(reply, Error) and reply.startswith(NO_PUSH), reply
    assert admin.digest("q") == digest
    assert admin(*way, "TASK.ACK", "q", handle, "PUSH", "p")[0] == 1


def test_commands_are_in_the_categories_of_the_server(server):
    """From 7.2 on, they are in @read, @write, @dangerous and @blocking. Older servers give modules no categories."""
    c = user(server, "~*", "+@all", "-@write")
    if server.installed.version < (7, 2):
        assert not any(denied(c, on("q", READERS + WRITERS + BOTH))), "as with every module's commands"
        return
    assert not any(denied(c, on("q", READERS + NEITHER)))
    assert all(denied(c, on("q", WRITERS + BOTH)))
    c = user(server, "~*", "-@all", "+echo", "+@read")
    assert not any(denied(c, on("q", READERS + NEITHER)))
    assert all(denied(c, on("q", WRITERS + BOTH)))
    c = user(server, "~*", "+@all", "-@dangerous")
    assert denied(c, on("q", [["PURGE", "ALL"], ["PUSH", "p"]])) == [True, False]
    assert (
        denied(c, [["TASK._APPLY", "q", "x"], ["TASK._LOAD", "q", "HEAD", "x"], ["TASK._CLOCK", "x"]])
        == [True] * 3
    )
    c = user(server, "~*", "+@all", "-@blocking")
    assert denied(c, on("q", [["CLAIM"], ["PUSH", "p"]])) == [True, False]


def test_the_category_task_has_all_commands_of_the_module(server):
    """It exists from 7.4 on and in Valkey. -@task removes all of them."""
    admin = Talk(server)
    if server.installed.version < (7, 4):
        assert admin("ACL", "CAT", "task") == Error("ERR Unknown category 'task'")
        return
    commands = READERS + WRITERS + BOTH + NEITHER
    names = {f"TASK.{name}".encode() for name, *_ in commands} | {b"TASK.HELP", b"TASK._APPLY", b"TASK._LOAD"}
    names.add(b"TASK._CLOCK")
    assert {name.upper() for name in admin("ACL", "CAT", "task")} == names
    c = user(server, "~*", "-@all", "+echo", "+@task")
    assert not any(denied(c, on("q", commands)))
    assert denied(c, [["SET", "k", "v"]]) == [True]
    c = user(server, "~*", "+@all", "-@task")
    assert all(denied(c, on("q", commands)))


@pytest.mark.parametrize("name, key", [("PUSH", "secret"), ("CLAIM", "secret"), ("LEN", "q")])
def test_transactions_and_scripts_do_not_evade_acl_rules(server, name, key):
    """A command that is refused alone is refused in MULTI and in a script."""
    c = user(server, "~q", "+@all", "-task.len")
    admin = Talk(server)
    admin.push("secret")
    digest = admin.digest("secret")
    more = ["p"] if name == "PUSH" else []
    assert c("MULTI") == "OK"
    assert c(f"TASK.{name}", key, *more).startswith("NOPERM")
    assert c("EXEC").startswith("EXECABORT")
    reply = c("EVAL", f"return redis.call('TASK.{name}', '{key}', unpack(ARGV))", 0, *more)
    assert isinstance(reply, Error)
    assert any(why in reply for why in ("NOPERM", "ACL failure", "can't access", "can't run")), reply
    assert admin.digest("secret") == digest


def test_a_worker_whose_user_is_deleted_no_longer_waits(server):
    """The server closes its connection. The next task stays ready."""
    admin, c = Talk(server), user(server, "~q", "+@all")
    c.send(["TASK.CLAIM", "q", "BLOCK", 0])
    server.wait_until(lambda: b"taskslot_blocked_workers:1" in admin("INFO", "taskslot"), "the worker waits")
    assert admin("ACL", "DELUSER", "u") == 1
    server.wait_until(lambda: b"taskslot_blocked_workers:0" in admin("INFO", "taskslot"), "it waits no more")
    admin.push()
    assert admin("TASK.LEN", "q", "ready") == 1


REFUSED = (
    "NOPERM this user lost the permission to run the command or to access its keys while the client waited"
)
# Rules that take permissions from a user who has all: afterwards it cannot claim from q, or from p and q.
TAKEN = {
    "all": ["resetkeys", "-@all"],
    "keys": ["resetkeys", "~p"],
    "commands": ["-task.claim", "-task.mclaim", "-task.next", "-task.result"],
    "reading": ["resetkeys", "%W~q"],
    "all but a part": ["resetkeys", "-@all", "(~p +@all)"],
    "the database": ["resetdbs", "db=1"],
}


def waiting_user(floor: Floor, *command: object, rules: tuple = ("~*", "+@all")) -> Worker:
    """A worker of a user with these rules that is already blocked."""
    floor.boss("ACL", "SETUSER", "u", "on", ">x", *rules)
    worker = floor.worker()
    assert worker("AUTH", "u", "x") == "OK"
    floor.seen_to_wait(lambda: worker.send(command))
    return worker


def take(floor: Floor, what: str) -> None:
    """Take permissions from the user, or skip the test if the server does not have them."""
    version, is_valkey = floor.server.installed.version, floor.server.installed.is_valkey
    if version < (7, 0):
        pytest.skip("on 6.2 modules cannot check permissions")
    if what == "the database" and (not is_valkey or version < (9, 1)):
        pytest.skip("permissions for databases came with Valkey 9.1")
    assert floor.boss("ACL", "SETUSER", "u", *TAKEN[what]) == "OK"


WAITS = {
    "CLAIM": ["TASK.CLAIM", "q", "BLOCK", 0],
    "CLAIM with options": [
        "TASK.CLAIM",
        "q",
        "TIED",
        "REQUEST",
        "t",
        "COUNT",
        5,
        "WORKER",
        "w",
        "BLOCK",
        10**6,
    ],
    "CLAIM of a group": ["TASK.CLAIM", "q", "GROUP", "g", "BLOCK", 0],
    "NEXT": ["TASK.NEXT", "q", "HANDLES", 1, HANDLE, "BLOCK", 0],
    "MCLAIM": ["TASK.MCLAIM", "q", "KEYS", 1, "p", "BLOCK", 0],
    "MCLAIM of one twice": ["TASK.MCLAIM", "q", "KEYS", 1, "q", "BLOCK", 0],
    "MCLAIM, it is the last": ["TASK.MCLAIM", "p", "KEYS", 2, "p", "q", "BLOCK", 0],
}


@pytest.mark.parametrize("taken", TAKEN)
@pytest.mark.parametrize("wait", WAITS)
def test_a_worker_that_lost_its_permissions_is_not_served(floor, wait, taken):
    """It gets NOPERM when a task comes. The task goes to the next worker, with no delivery counted for the first."""
    worker, behind = waiting_user(floor, *WAITS[wait]), floor.waiting()
    take(floor, taken)
    assert floor.all_wait([worker, behind])
    floor.boss.push("q", "x", "GROUP", "g")
    assert worker.read() == Error(REFUSED)
    [[handle, payload, deliveries]] = behind.read()
    assert (payload, deliveries) == (b"x", 1)
    assert (floor.counts()["claimed"], floor.counts()["requeued"]) == (1, 0)
    assert floor.boss("TASK.ACK", "q", handle) == 1
    assert worker("PING").startswith(("PONG", "NOPERM")), "it goes on"
    floor.nobody_waits()


def test_a_claim_of_several_queues_is_refused_if_one_is_no_longer_allowed(floor):
    """It does not matter which of the queues has the task. The task stays ready."""
    worker = waiting_user(floor, "TASK.MCLAIM", "p", "KEYS", 1, "q", "BLOCK", 0)
    take(floor, "keys")
    floor.boss.push("p", "x")
    assert worker.read() == Error(REFUSED)
    assert floor.boss("TASK.LEN", "p", "ready") == 1


SERVES = {
    "a due task": [["TASK.PUSH", "q", "x", "DELAY", 5]],
    "a transaction": [["MULTI"], ["TASK.PUSH", "q", "x"], ["EXEC"]],
    "a script": [["EVAL", "return redis.call('TASK.PUSH', 'q', 'x')", 0]],
    "RESUME": [["TASK.PAUSE", "q"], ["TASK.PUSH", "q", "x"], ["TASK.RESUME", "q"]],
    "RENAME": [["TASK.PUSH", "p", "x"], ["RENAME", "p", "q"]],
}


@pytest.mark.parametrize("serves", SERVES)
def test_permissions_are_checked_however_a_worker_is_served(floor, serves):
    """Ten workers without permission are refused. The one behind them gets the task."""
    workers = [waiting_user(floor, "TASK.CLAIM", "q", "BLOCK", 0) for _ in range(10)]
    behind = floor.waiting()
    take(floor, "keys")
    for command in SERVES[serves]:
        floor.boss(*command)
    assert [worker.read() for worker in workers] == [Error(REFUSED)] * 10
    assert behind.payloads() == [b"x"]
    assert floor.counts()["claimed"] == 1
    floor.nobody_waits()


def test_a_worker_that_lost_its_permissions_waits_until_a_task_comes(floor):
    """Its wait can time out, and it gets a task if it has its permissions back."""
    worker = waiting_user(floor, "TASK.CLAIM", "q", "BLOCK", 0)
    timed = waiting_user(floor, "TASK.CLAIM", "q", "BLOCK", 1000)
    take(floor, "keys")
    assert timed.read() == []
    assert floor.all_wait([worker])
    assert floor.boss("ACL", "SETUSER", "u", "~q") == "OK"
    floor.boss.push("q", "x")
    assert worker.payloads() == [b"x"]


@pytest.mark.parametrize("again", [[], [["ACL", "SETUSER", "u", "on", ">x"]]], ids=["deleted", "recreated"])
def test_a_worker_whose_user_is_deleted_in_the_batch_of_a_push_gets_nothing(floor, again):
    """This holds before its connection is closed, and if the user is created again."""
    if floor.server.installed.version < (7, 0):
        pytest.skip("on 6.2 modules cannot check permissions")
    worker, behind = waiting_user(floor, "TASK.CLAIM", "q", "BLOCK", 0), floor.waiting()
    floor.boss.many([["ACL", "DELUSER", "u"], *again, ["TASK.PUSH", "q", "x"]])
    [[_, payload, deliveries]] = behind.read()
    assert (payload, deliveries) == (b"x", 1)
    floor.eventually(worker.has_answer, "its connection is closed")
    floor.nobody_waits()


@pytest.mark.parametrize("taken", TAKEN)
def test_a_client_that_lost_its_permissions_gets_no_result(floor, taken):
    """It gets NOPERM when the task ends. Others that wait for the task get the result."""
    task = floor.boss.push("q", "x")
    asker = waiting_user(floor, "TASK.RESULT", "q", task, "BLOCK", 0)
    other = floor.worker()
    floor.seen_to_wait(lambda: other.send(["TASK.RESULT", "q", task, "BLOCK", 0]))
    take(floor, taken)
    floor.boss("TASK.ACK", "q", floor.boss.claim("q"), "RESULT", "secret")
    assert asker.read() == Error(REFUSED)
    assert other.read() == [b"done", b"secret"]
    floor.nobody_waits()


def test_on_6_2_permissions_are_checked_only_when_the_wait_begins(floor):
    """Modules cannot check them later there, so the worker is served."""
    if floor.server.installed.version >= (7, 0):
        pytest.skip("from 7.0 on permissions are checked again")
    worker = waiting_user(floor, "TASK.CLAIM", "q", "BLOCK", 0)
    floor.boss("ACL", "SETUSER", "u", *TAKEN["all"])
    floor.boss.push("q", "x")
    assert worker.payloads() == [b"x"]
