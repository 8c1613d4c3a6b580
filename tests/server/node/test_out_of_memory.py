"""A server out of memory refuses commands that add data and nothing else, so that its queues can be drained."""

import pytest
from harness.edges import bound
from harness.queues import HOUR
from harness.talk import Error, Talk

OOM = Error("OOM command not allowed when used memory > 'maxmemory'.")


@pytest.fixture
def c(server):
    """A connection to a full server whose queue has ready and dead tasks."""
    c = Talk(server)
    c("TASK.MPUSH", "q", "TASKS", 20, *range(20))
    assert c("TASK.FAIL", "q", c.claim(), "DEAD") == -1
    assert c("CONFIG", "SET", "maxmemory", 1) == "OK"
    return c


def test_push_and_mpush_are_refused(c):
    """The error is the server's OOM, and nothing changes."""
    digest = c.digest()
    assert c("TASK.PUSH", "q", "p") == OOM
    assert c("TASK.MPUSH", "q", "TASKS", 1, "p") == OOM
    assert c("TASK.PUSH", "new", "p") == OOM
    assert c.digest() == digest and c("EXISTS", "new") == 0


def test_all_other_commands_work(c):
    """The queue can be drained to its last task. Only the text of a failure is not kept."""
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
    """The timer still ends leases and delays."""
    c.claim("q", "LEASE", 1)
    assert c("TASK.FAIL", "q", c.claim(), "DELAY", 1) >= 1
    server.wait_until(lambda: c.map("TASK.INFO", "q")[b"stalled"] == 1, "the lease has ended")
    server.wait_until(lambda: c("TASK.LEN", "q", "delayed") == 0, "the delay is over")


def test_a_transaction_with_a_push_is_refused(server, c):
    """A transaction that only drains runs from 7.2 on. Older servers queue nothing when full."""

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
    """A push in a script is refused."""
    drain = "return #redis.call('TASK.CLAIM', KEYS[1], 'COUNT', 2)"
    if server.installed.version >= (7, 0):
        # From 7.0 on, a script can write on a full server only with the flag allow-oom.
        drain = f"#!lua flags=allow-oom\n{drain}"
    assert c("EVAL", drain, 1, "q") == 2
    push = c("EVAL", "return redis.call('TASK.PUSH', KEYS[1], 'p')", 1, "q")
    assert "OOM" in push and c("TASK.LEN", "q") == 19


# ---- other commands that add data


@pytest.fixture
def full(server):
    """A connection to a full server, and handles of leased tasks, of which the first has 100 bytes of progress."""
    c = Talk(server)
    c("TASK.MPUSH", "q", "TASKS", 20, *range(20))
    c("TASK.PUSH", "q", "p", "GROUP", "known")
    handles = [task[0] for task in c("TASK.CLAIM", "q", "COUNT", 5)]
    assert c("TASK.EXTEND", "q", handles[0], "PROGRESS", "x" * 100) > 0
    c("TASK.GROUP", "q", "SET", "configured", "WEIGHT", 2)
    c("TASK.CRON", "q", "SET", "s", "EVERY", HOUR, "PAYLOAD", "x" * 100)
    assert c("CONFIG", "SET", "maxmemory", 1) == "OK"
    return c, handles


def growing(handles: list[bytes]) -> dict[str, tuple]:
    """Commands, other than pushes, that would add data."""
    a, b, *_ = handles
    return {
        "a result that is kept": ("TASK.ACK", "q", b, "RESULT", "r", "RETAIN", HOUR),
        "a result longer than the progress": ("TASK.ACK", "q", a, "RESULT", "r" * 101, "RETAIN", HOUR),
        "results of many": ("TASK.ACK", "q", "HANDLES", 2, b, a, "RESULT", "r" * 51, "RETAIN", HOUR),
        "a result that is kept, then a claim": ("TASK.NEXT", "q", b, "RESULT", "r", "RETAIN", HOUR),
        "progress": ("TASK.EXTEND", "q", b, "PROGRESS", "p"),
        "more progress": ("TASK.EXTEND", "q", a, "PROGRESS", "p" * 101),
        "progress of many": ("TASK.EXTEND", "q", "HANDLES", 2, a, b, "PROGRESS", "p" * 99),
        "progress of a failure": ("TASK.FAIL", "q", b, "ERROR", "why", "PROGRESS", "p"),
        "progress of many failures": ("TASK.FAIL", "q", "HANDLES", 2, a, b, "PROGRESS", "p" * 99),
        "progress of a requeue": ("TASK.REQUEUE", "q", a, "PROGRESS", "p" * 101),
        "a new group": ("TASK.GROUP", "q", "SET", "new", "WEIGHT", 2),
        "settings of a known group": ("TASK.GROUP", "q", "SET", "known", "WEIGHT", 2),
        "a group of a new queue": ("TASK.GROUP", "new", "SET", "new", "WEIGHT", 2),
        "a paused new queue": ("TASK.PAUSE", "new"),
        "a paused new group": ("TASK.PAUSE", "q", "GROUP", "new"),
        "a paused group of a new queue": ("TASK.PAUSE", "new", "GROUP", "new", "FOR", HOUR),
        "a run of a schedule": ("TASK.CRON", "q", "RUN", "s"),
        "settings of a new queue": ("TASK.CONFIG", "new", "SET", "lease", 1),
        "a schedule": ("TASK.CRON", "q", "SET", "t", "EVERY", HOUR, "PAYLOAD", ""),
        "a schedule of a new queue": ("TASK.CRON", "new", "SET", "t", "EVERY", HOUR, "PAYLOAD", ""),
        "a larger schedule": ("TASK.CRON", "q", "SET", "s", "EVERY", HOUR, "PAYLOAD", "x" * 101),
    }


def test_commands_that_add_data_are_refused(full):
    """The error is the server's OOM, and nothing changes, for several handles as well."""
    c, handles = full
    digest = c.digest()
    for what, command in growing(handles).items():
        assert c(*command) == OOM, what
        assert c.digest() == digest and c("EXISTS", "new") == 0, what


def test_commands_that_add_data_are_refused_in_transactions_and_scripts(server, full):
    """There the server itself checks memory only at the start."""
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


def test_a_script_that_fills_the_server_is_refused_from_then_on(server):
    """Each ACK with a result checks memory again."""
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


def test_commands_that_free_as_much_as_they_add_are_accepted(full):
    """Examples are a result in place of progress, a schedule of the same size, or a group's new weight."""
    c, (a, b, d, e, f) = full
    assert c("TASK.EXTEND", "q", a, "PROGRESS", "p" * 100) > 0
    assert c("TASK.EXTEND", "q", "HANDLES", 2, a, b, "PROGRESS", "p" * 50) != OOM
    assert c("TASK.CRON", "q", "SET", "s", "EVERY", HOUR, "PAYLOAD", "x" * 100) == 0
    assert c("TASK.GROUP", "q", "SET", "configured", "WEIGHT", 3) == "OK"
    assert c("TASK.GROUP", "q", "DEL", "configured") == 1
    assert c("TASK.CONFIG", "q", "SET", "dead-max", 0) == "OK"
    assert c("TASK.CONFIG", "new", "RESET") == "OK" and c("TASK.RESUME", "new") == "OK"
    assert c("TASK.PAUSE", "q") == "OK" and c("TASK.RESUME", "q") == "OK"
    assert c("TASK.PAUSE", "q", "GROUP", "known") == c("TASK.RESUME", "q", "GROUP", "known") == "OK"
    assert c("TASK.ACK", "q", a, "RESULT", "r" * 50, "RETAIN", HOUR) == 1
    # A result is not stored if its task is not kept.
    assert c("TASK.ACK", "q", b, "RESULT", "r" * 1000) == 1
    assert c("TASK.ACK", "q", d, "RESULT", "r" * 1000, "RETAIN", 0) == 1
    assert c("TASK.ACK", "q", e, "RETAIN", HOUR) == 1
    assert c("TASK.REQUEUE", "q", f, "PROGRESS", "") == 1


def test_a_failure_with_no_more_progress_than_before_is_accepted(full):
    """The text of its error is dropped, if it would grow the data."""
    c, (a, *_) = full
    assert c("TASK.FAIL", "q", a, "ERROR", "why", "PROGRESS", "p" * 100, "DELAY", HOUR) == HOUR
    shown = c.map("TASK.GET", "q", a)
    assert shown[b"progress"] == b"p" * 100 and b"error" not in shown


def test_a_failure_is_accepted_without_its_text(full):
    """The failure counts. A text that is no longer than the one before is kept."""
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


def test_a_full_server_keeps_at_most_a_thousand_names_of_workers(server):
    """Later workers get tasks without a name. Known names are still used."""
    last = bound("module/txn/claim.rs", "NAMES_WHEN_FULL") - 1
    c = Talk(server)
    c("TASK.MPUSH", "q", "TASKS", 1000, *["p"] * 1000)
    c("TASK.MPUSH", "q", "TASKS", 500, *["p"] * 500)
    c("CONFIG", "SET", "maxmemory", 1)
    replies = c.many([("TASK.CLAIM", "q", "WORKER", f"{n:0>250}", "LEASE", HOUR) for n in range(1200)])
    assert all(len(tasks) == 1 for tasks in replies)
    assert "worker" not in str(c("TASK.GET", "q", replies[-1][0][0]))
    again = c.claim("q", "WORKER", f"{0:0>250}")
    assert c.map("TASK.GET", "q", again)[b"worker"] == b"%0250d" % 0
    assert len(c("TASK.LIST", "q", "leased", "COUNT", 1000, "WORKER", f"{last:0>250}")[1]) == 1
    c("CONFIG", "SET", "maxmemory", 0)
    late = c.claim("q", "WORKER", "late")
    assert c.map("TASK.GET", "q", late)[b"worker"] == b"late", "with memory there is room for names"


def test_a_full_server_remembers_few_requests(server):
    """It keeps 64 KiB of them per queue, otherwise 8 MiB. They count in `bytes`."""
    few = bound("module/txn/claim.rs", "REQUEST_BYTES_WHEN_FULL")
    most = bound("engine/store/requests.rs", "REQUESTS_MAX_BYTES")
    # Two replies of so many tasks come to fewer bytes than twice the lower bound.
    count = min(1000, few // 64)
    c = Talk(server)

    def remembered() -> int:
        return c.map("TASK.INFO", "q")[b"bytes"] - tasks_bytes

    c("TASK.MPUSH", "q", "TASKS", 1000, *["p"] * 1000)
    tasks_bytes = c.map("TASK.INFO", "q")[b"bytes"]
    c("CONFIG", "SET", "maxmemory", 1)
    memory = c("MEMORY", "USAGE", "q")
    for n in range(20):
        tasks = c("TASK.CLAIM", "q", "COUNT", count, "REQUEST", n)
        assert len(tasks) == count
        if n < 2:
            assert c("TASK.CLAIM", "q", "COUNT", count, "REQUEST", n) == tasks, "sent again"
        c("TASK.REQUEUE", "q", "HANDLES", count, *(handle for handle, *_ in tasks))
    assert few <= remembered() < 2 * few
    assert c("MEMORY", "USAGE", "q") - memory < 300_000
    c("CONFIG", "SET", "maxmemory", 0)
    for n in range(300):
        tasks = c("TASK.CLAIM", "q", "COUNT", 1000, "REQUEST", n, "LEASE", 24 * HOUR)
        c("TASK.REQUEUE", "q", "HANDLES", 1000, *(handle for handle, *_ in tasks))
    assert most * 2 // 3 < remembered() <= most


def test_a_full_server_refuses_effects_from_clients(start):
    """With allow-effects they could add data without a limit."""
    server = start(module_args=("allow-effects", "yes"), appendonly="yes")
    c = Talk(server)
    c.push("q", "p")
    (effect,) = (command for command in server.propagated() if command[0] == b"TASK._APPLY")
    c("DEL", "q")
    c("CONFIG", "SET", "maxmemory", 1)
    assert c(*effect) == OOM and c("TASK._LOAD", "q", "HEAD", "x") == OOM
    c("CONFIG", "SET", "maxmemory", 0)
    assert c(*effect) == "OK"


def test_no_command_makes_a_full_server_grow(server):
    """Each command is repeated a thousand times, and memory stays nearly the same."""
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
            ("TASK.FAIL", "q", handle, "ERROR", "e" * 1024, "PROGRESS", "p", "DELAY", HOUR),
            ("TASK.REQUEUE", "q", handle, "PROGRESS", "p", "DELAY", HOUR),
            ("TASK.FAIL", "q", handle, "ERROR", "e" * 1024, "DELAY", HOUR),
        ]
    replies = c.many(commands)
    assert replies.count(OOM) == 8 * len(handles)
    assert c("DBSIZE") == 1
    assert c("MEMORY", "USAGE", "q") - before < 100 * len(handles)
