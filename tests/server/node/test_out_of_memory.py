"""A server out of memory refuses what makes the data grow and nothing else, so that it can drain."""

import pytest
from harness.queues import HOUR
from harness.talk import Error, Talk

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
    """Claims, answers, steering and asking: the queue drains to its last task. Only a failure's text isn't kept."""
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


# ---- what grows, whatever the command


@pytest.fixture
def full(server):
    """A connection to a server that is full, and handles of leased tasks with progress: of 100 bytes, and without."""
    c = Talk(server)
    c("TASK.MPUSH", "q", "TASKS", 20, *range(20))
    c("TASK.PUSH", "q", "p", "GROUP", "known")
    handles = [task[0] for task in c("TASK.CLAIM", "q", "COUNT", 5)]
    assert c("TASK.EXTEND", "q", handles[0], "PROGRESS", "x" * 100) > 0
    c("TASK.GROUP", "q", "SET", "said", "WEIGHT", 2)
    c("TASK.CRON", "q", "SET", "s", "EVERY", HOUR, "PAYLOAD", "x" * 100)
    assert c("CONFIG", "SET", "maxmemory", 1) == "OK"
    return c, handles


def growing(handles: list[bytes]) -> dict[str, tuple]:
    """What makes the data grow, beside pushes."""
    a, b, *_ = handles
    return {
        "a result that is kept": ("TASK.ACK", "q", b, "RESULT", "r", "RETAIN", HOUR),
        "a result longer than the progress": ("TASK.ACK", "q", a, "RESULT", "r" * 101, "RETAIN", HOUR),
        "results of many": ("TASK.ACK", "q", "HANDLES", 2, b, a, "RESULT", "r" * 51, "RETAIN", HOUR),
        "progress": ("TASK.EXTEND", "q", b, "PROGRESS", "p"),
        "more progress": ("TASK.EXTEND", "q", a, "PROGRESS", "p" * 101),
        "progress of many": ("TASK.EXTEND", "q", "HANDLES", 2, a, b, "PROGRESS", "p" * 99),
        "a new group": ("TASK.GROUP", "q", "SET", "new", "WEIGHT", 2),
        "what is said of a group": ("TASK.GROUP", "q", "SET", "known", "WEIGHT", 2),
        "a group of a new queue": ("TASK.GROUP", "new", "SET", "new", "WEIGHT", 2),
        "a paused new queue": ("TASK.PAUSE", "new"),
        "settings of a new queue": ("TASK.CONFIG", "new", "SET", "lease", 1),
        "a schedule": ("TASK.CRON", "q", "SET", "t", "EVERY", HOUR, "PAYLOAD", ""),
        "a schedule of a new queue": ("TASK.CRON", "new", "SET", "t", "EVERY", HOUR, "PAYLOAD", ""),
        "a larger schedule": ("TASK.CRON", "q", "SET", "s", "EVERY", HOUR, "PAYLOAD", "x" * 101),
    }


def test_what_grows_is_refused(full):
    """OOM, in the server's words, whatever the command; nothing changes, of several handles neither."""
    c, handles = full
    digest = c.digest()
    for what, command in growing(handles).items():
        assert c(*command) == OOM, what
        assert c.digest() == digest and c("EXISTS", "new") == 0, what


def test_what_grows_is_refused_in_transactions_and_scripts(server, full):
    """Where the server itself looks at memory only as it begins."""
    c, handles = full
    digest = c.digest()
    for what, command in growing(handles).items():
        words = "".join(f", ARGV[{n}]" for n in range(1, len(command) - 1))
        script = f"return redis.pcall('{command[0]}', KEYS[1]{words})"
        if server.installed.version >= (7, 0):
            script = f"#!lua flags=allow-oom\n{script}"
        assert "OOM" in c("EVAL", script, 1, *command[1:]), what
        if server.installed.version >= (7, 2):  # older ones queue nothing when full
            assert c("MULTI") == "OK" and c(*command) == "QUEUED"
            assert c("EXEC") == [OOM], what
        assert c.digest() == digest and c("EXISTS", "new") == 0, what


def test_what_grows_is_refused_to_a_script_that_began_with_memory(server):
    """It fills the server itself: results are refused as soon as that is so."""
    c = Talk(server)
    c("TASK.MPUSH", "q", "TASKS", 100, *range(100))
    handles = [task[0] for task in c("TASK.CLAIM", "q", "COUNT", 100)]
    script = """
    local acked, result = 0, string.rep('r', 1000000)
    for _, handle in ipairs(ARGV) do
        local reply = redis.pcall('TASK.ACK', KEYS[1], handle, 'RESULT', result, 'RETAIN', 60000)
        if type(reply) == 'table' then return {acked, reply.err} end
        acked = acked + reply
    end
    """
    used = int(
        dict(line.split(":") for line in c("INFO", "memory").decode().split() if ":" in line)["used_memory"]
    )
    c("CONFIG", "SET", "maxmemory", used + 20_000_000)
    acked, error = c("EVAL", script, 1, "q", *handles)
    assert 5 <= acked <= 20 and b"OOM" in error


def test_what_frees_as_much_as_it_takes_is_accepted(full):
    """A result in place of progress, less progress, a smaller schedule, other limits of a group, settings."""
    c, (a, b, d, e, f) = full
    assert c("TASK.EXTEND", "q", a, "PROGRESS", "p" * 100) > 0
    assert c("TASK.EXTEND", "q", "HANDLES", 2, a, b, "PROGRESS", "p" * 50) != OOM
    assert c("TASK.CRON", "q", "SET", "s", "EVERY", HOUR, "PAYLOAD", "x" * 100) == 0
    assert c("TASK.GROUP", "q", "SET", "said", "WEIGHT", 3) == "OK"
    assert c("TASK.GROUP", "q", "DEL", "said") == 1
    assert c("TASK.CONFIG", "q", "SET", "dead-max", 0) == "OK"
    assert c("TASK.CONFIG", "new", "RESET") == "OK" and c("TASK.RESUME", "new") == "OK"
    assert c("TASK.PAUSE", "q") == "OK" and c("TASK.RESUME", "q") == "OK"
    assert c("TASK.ACK", "q", a, "RESULT", "r" * 50, "RETAIN", HOUR) == 1
    # A task that isn't kept takes its result with it.
    assert c("TASK.ACK", "q", b, "RESULT", "r" * 1000) == 1
    assert c("TASK.ACK", "q", d, "RESULT", "r" * 1000, "RETAIN", 0) == 1
    assert c("TASK.ACK", "q", e, "RETAIN", HOUR) == 1
    assert c("TASK.REQUEUE", "q", f) == 1


def test_a_failure_is_accepted_without_its_text(full):
    """A text that isn't longer than the one before is kept; the failure counts either way."""
    c, (a, b, *_) = full
    assert c("TASK.FAIL", "q", "HANDLES", 2, a, b, "ERROR", "why", "DEAD") == [-1, -1]
    ids = [handle.split(b"@")[0] for handle in (a, b)]
    assert all(b"error" not in c.map("TASK.GET", "q", task) for task in ids)
    c("CONFIG", "SET", "maxmemory", 0)
    c("TASK.RETRY", "q", "IDS", 2, *ids)
    for again, kept in (("because", b"because"), ("why not", b"why not"), ("no longer so", None)):
        tasks = c("TASK.CLAIM", "q", "COUNT", 100)
        (handle,) = (handle for handle, *_ in tasks if handle.startswith(ids[0]))
        assert c("TASK.FAIL", "q", handle, "DELAY", 1, "ERROR", again) >= 1
        assert c.map("TASK.GET", "q", ids[0]).get(b"error") == kept
        c("CONFIG", "SET", "maxmemory", 1)
        assert c("TASK.RETRY", "q", ids[0]) in (0, 1)


def test_claims_leave_only_so_many_names_of_workers(server):
    """A thousand; whoever comes then has its tasks without a name. Named workers keep theirs."""
    c = Talk(server)
    c("TASK.MPUSH", "q", "TASKS", 1000, *["p"] * 1000)
    c("TASK.MPUSH", "q", "TASKS", 500, *["p"] * 500)
    c("CONFIG", "SET", "maxmemory", 1)
    replies = c.many([("TASK.CLAIM", "q", "WORKER", f"{n:0>250}", "LEASE", HOUR) for n in range(1200)])
    assert all(len(tasks) == 1 for tasks in replies)
    assert "worker" not in str(c("TASK.GET", "q", replies[-1][0][0]))
    again = c.claim("q", "WORKER", f"{7:0>250}")
    assert c.map("TASK.GET", "q", again)[b"worker"] == b"%0250d" % 7
    assert len(c("TASK.LIST", "q", "leased", "COUNT", 1000, "WORKER", f"{999:0>250}")[1]) == 1
    c("CONFIG", "SET", "maxmemory", 0)
    late = c.claim("q", "WORKER", "late")
    assert c.map("TASK.GET", "q", late)[b"worker"] == b"late", "with memory there is room for names"


def test_claims_leave_only_a_few_answers_to_requests(server):
    """64 KiB a queue out of memory, 8 MiB else; they are in `bytes`."""
    c = Talk(server)

    def remembered() -> int:
        return c.map("TASK.INFO", "q")[b"bytes"] - tasks_bytes

    c("TASK.MPUSH", "q", "TASKS", 1000, *["p"] * 1000)
    tasks_bytes = c.map("TASK.INFO", "q")[b"bytes"]
    c("CONFIG", "SET", "maxmemory", 1)
    memory = c("MEMORY", "USAGE", "q")
    for n in range(20):
        tasks = c("TASK.CLAIM", "q", "COUNT", 1000, "REQUEST", n)
        assert len(tasks) == 1000
        if n < 2:
            assert c("TASK.CLAIM", "q", "COUNT", 1000, "REQUEST", n) == tasks, "sent again"
        c("TASK.REQUEUE", "q", "HANDLES", 1000, *(handle for handle, *_ in tasks))
    assert 64_000 <= remembered() < 100_000
    assert c("MEMORY", "USAGE", "q") - memory < 300_000
    c("CONFIG", "SET", "maxmemory", 0)
    for n in range(300):
        tasks = c("TASK.CLAIM", "q", "COUNT", 1000, "REQUEST", n, "LEASE", 24 * HOUR)
        c("TASK.REQUEUE", "q", "HANDLES", 1000, *(handle for handle, *_ in tasks))
    assert 7_000_000 < remembered() <= 8 << 20


def test_effects_of_tools_are_refused(start):
    """With allow-effects a client may send any change: not to a full server."""
    server = start(module_args=("allow-effects", "yes"), appendonly="yes")
    c = Talk(server)
    c.push("q", "p")
    (effect,) = (command for command in server.propagated() if command[0] == b"TASK._APPLY")
    c("DEL", "q")
    c("CONFIG", "SET", "maxmemory", 1)
    assert c(*effect) == OOM and c("TASK._LOAD", "q", "HEAD", "x") == OOM
    c("CONFIG", "SET", "maxmemory", 0)
    assert c(*effect) == "OK"


def test_a_full_server_does_not_grow_by_any_command(server):
    """What made 361 MB of 11 MB: each command over and over, and the memory stays about what it was."""
    c = Talk(server)
    c("TASK.MPUSH", "q", "TASKS", 1000, *["p"] * 1000)
    handles = [handle for handle, *_ in c("TASK.CLAIM", "q", "COUNT", 1000, "LEASE", HOUR)]
    c("CONFIG", "SET", "maxmemory", 1)
    before = c("MEMORY", "USAGE", "q")
    commands = []
    for n, handle in enumerate(handles):
        commands += [
            ("TASK.EXTEND", "q", handle, "PROGRESS", "p" * 4096),
            ("TASK.ACK", "q", handle, "RESULT", "r" * 10_000, "RETAIN", HOUR),
            ("TASK.GROUP", "q", "SET", f"group {n}", "CONCURRENCY", 3),
            ("TASK.PAUSE", f"new {n}"),
            ("TASK.CONFIG", f"new {n}", "SET", "lease", 5),
            ("TASK.CRON", "q", "SET", f"schedule {n}", "EVERY", HOUR, "PAYLOAD", "x" * 1000),
            ("TASK.FAIL", "q", handle, "ERROR", "e" * 1024, "DELAY", HOUR),
        ]
    replies = c.many(commands)
    assert replies.count(OOM) == 6 * len(handles)
    assert c("DBSIZE") == 1
    assert c("MEMORY", "USAGE", "q") - before < 100 * len(handles)
