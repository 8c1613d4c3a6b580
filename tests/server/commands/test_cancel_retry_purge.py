"""TASK.CANCEL, TASK.RETRY and TASK.PURGE: removing tasks, and making tasks ready again."""

import pytest
from harness.edges import bound
from harness.talk import SYNTAX, Error, Talk

DAY = 86_400_000


def dead_tasks(c: Talk, count: int) -> list[bytes]:
    """Push that many tasks, let them die, and return their ids in order."""
    c("TASK.MPUSH", "q", "TASKS", count, *range(count))
    handles = [task[0] for task in c("TASK.CLAIM", "q", "COUNT", count)]
    for handle in handles:
        assert c("TASK.FAIL", "q", handle, "DEAD") == -1
    return [handle.split(b"@")[0] for handle in handles]


@pytest.mark.parametrize("protocol", [2, 3])
def test_cancel_removes_a_waiting_task_and_requests_it_of_a_leased_one(protocol, c):
    """It returns 1 if removed, 2 if requested (also again), and 0 for a dead, finished or unknown task."""
    [dead] = dead_tasks(c, 1)
    ready, delayed, leased = c.push(), c.push("q", "p", "DELAY", DAY), c.push("q", "p", "PRIORITY", 9)
    handle = c.claim()
    assert handle.startswith(leased)
    assert c("TASK.CANCEL", "q", ready) == 1 and c("TASK.CANCEL", "q", ready) == 0
    assert c("TASK.CANCEL", "q", leased) == 2 and c("TASK.CANCEL", "q", leased) == 2
    assert c("TASK.CANCEL", "q", "ids", 6, delayed, delayed, leased, dead, "1-1", ready) == [1, 0, 2, 0, 0, 0]
    assert c("TASK.CANCEL", "missing", "1-1") == 0
    assert c("TASK.CANCEL", "missing", "IDS", 2, "1-1", "1-2") == [0, 0]
    assert c("EXISTS", "missing") == 0
    assert c.map("TASK.INFO", "q")[b"cancelled"] == 2


def test_a_requested_cancellation_happens_when_the_lease_stalls(server, c):
    """The task is removed instead of becoming ready again."""
    task = c.push()
    c.claim("q", "LEASE", 1000 * 60)
    other = Talk(server)
    c.push()
    assert len(other("TASK.CLAIM", "q", "TIED")) == 1
    tied = next(one[b"id"] for one in map(c.as_map, c("TASK.LIST", "q", "leased")[1]) if one[b"tied"])
    assert c("TASK.CANCEL", "q", "IDS", 2, tied, task) == [2, 2]
    other._socket.close()
    other._file.close()
    server.wait_until(lambda: c("TASK.GET", "q", tied) is None, "the tied task is removed")
    assert c("TASK.GET", "q", task) is not None
    info = c.map("TASK.INFO", "q")
    assert (info[b"cancelled"], info[b"stalled"], info[b"ready"]) == (1, 1, 0)


def test_retry_makes_dead_and_delayed_tasks_ready_at_the_back(c):
    """It resets the failures of a dead task, not its deliveries. Ready and leased tasks stay as they are."""
    dead = dead_tasks(c, 2)
    delayed, ready = c.push("q", "p", "DELAY", DAY), c.push()
    assert c("TASK.RETRY", "q", "IDS", 5, delayed, dead[1], ready, "1-1", delayed) == 2
    task = c.map("TASK.GET", "q", dead[1])
    assert (task[b"state"], task[b"failures"], task[b"deliveries"]) == (b"ready", 0, 1)
    order = [handle.split(b"@")[0] for handle, _, _ in c("TASK.CLAIM", "q", "COUNT", 9)]
    assert order == [ready, delayed, dead[1]]
    assert c("TASK.RETRY", "q", ready) == 0
    assert c("TASK.RETRY", "q", dead[0]) == 1 and c("TASK.RETRY", "q", dead[0]) == 0
    assert c("TASK.RETRY", "missing", "1-1") == 0 and c("EXISTS", "missing") == 0
    assert c.map("TASK.INFO", "q")[b"retried"] == 3


def test_retry_count_takes_the_tasks_that_died_first(c):
    """COUNT is the most tasks it takes. Delayed tasks are left alone."""
    dead = dead_tasks(c, 3)
    c.push("q", "p", "DELAY", DAY)
    first = min(dead, key=lambda task: (c.map("TASK.GET", "q", task)[b"dead-since"], dead.index(task)))
    assert c("TASK.RETRY", "q", "count", 1) == 1
    assert c.map("TASK.GET", "q", first)[b"state"] == b"ready"
    assert c("TASK.RETRY", "q", "COUNT", 1000) == 2
    assert c("TASK.RETRY", "q", "COUNT", 1000) == 0
    assert c("TASK.LEN", "q", "delayed") == 1
    assert c("TASK.RETRY", "missing", "COUNT", 1) == 0


@pytest.mark.parametrize("command", ["TASK.CANCEL", "TASK.RETRY"])
def test_ids_are_checked_before_anything_is_done(c, command):
    """A wrong number of ids or one malformed id changes nothing."""
    tasks = c("TASK.MPUSH", "q", "DELAY", DAY, "TASKS", 1000, *range(1000))
    digest = c.digest()
    for count in (0, 1001, -1, "x"):
        error = Error("ERR IDS must be followed by the number of ids, 1 to 1000")
        assert c(command, "q", "IDS", count, *tasks, tasks[0]) == error
    for words in (["IDS"], ["IDS", 2, tasks[0]], ["IDS", 1, *tasks[:2]], tasks[:2], ["IDS", 1]):
        assert c(command, "q", *words) == SYNTAX
    invalid = Error("ERR invalid task id")
    assert c(command, "q", "IDS", 2, tasks[0], "x") == invalid
    if command == "TASK.RETRY":
        invalid = Error("ERR invalid task id: expected an id, IDS, UNIQUE or COUNT")
    for words in (["x"], [""], [tasks[0] + b"@1-00000000"], [tasks[0] + b" "]):
        assert c(command, "q", *words) == invalid
    assert c.digest() == digest
    reply = c(command, "q", "IDS", 1000, *tasks)
    assert reply == ([1] * 1000 if command == "TASK.CANCEL" else 1000)


def test_retry_takes_ids_or_a_count(c):
    """COUNT is 1 to 1000 and cannot be combined with ids."""
    dead = dead_tasks(c, 1)
    for count in (0, 1001, "x", "", -1):
        error = Error("ERR COUNT must be an integer between 1 and 1000")
        assert c("TASK.RETRY", "q", "COUNT", count) == error
    for words in (["COUNT"], ["COUNT", 1, dead[0]], ["COUNT", 1, "COUNT", 1], [dead[0], "COUNT", 1]):
        assert c("TASK.RETRY", "q", *words) == SYNTAX
    assert c("TASK.LEN", "q", "dead") == 1


def test_purge_removes_tasks_of_a_state_or_all_except_the_leased(c):
    """It removes the first ones first. Settings and leases stay."""
    c("TASK.CONFIG", "q", "SET", "lease", DAY)
    dead_tasks(c, 2)
    c("TASK.MPUSH", "q", "TASKS", 6, *range(6))
    c("TASK.MPUSH", "q", "DELAY", DAY, "TASKS", 3, *"abc")
    handle = c.claim()
    assert c("TASK.PURGE", "q", "Ready", "count", 2) == 2
    assert [task[1] for task in c("TASK.CLAIM", "q", "NOACK")] == [b"3"]
    assert c("TASK.PURGE", "q", "delayed") == 3 and c("TASK.PURGE", "q", "delayed") == 0
    assert c("TASK.PURGE", "q", "all", "COUNT", 2) == 2 and c("TASK.LEN", "q", "dead") == 2
    assert c("TASK.PURGE", "q", "ALL") == 2
    assert c("TASK.LEN", "q") == 1 and c("TASK.ACK", "q", handle) == 1
    assert c.map("TASK.INFO", "q", "CONFIG")[b"lease"] == DAY
    assert c.map("TASK.INFO", "q")[b"purged"] == 9
    assert c("TASK.PURGE", "missing", "ALL") == 0 and c("EXISTS", "missing") == 0


def test_purge_removes_up_to_1000_tasks(c):
    """COUNT sets a lower limit, from 1 to 1000."""
    for _ in range(3):
        c("TASK.MPUSH", "q", "TASKS", 500, *range(500))
    for count in (0, 1001, "x", -5):
        error = Error("ERR COUNT must be an integer between 1 and 1000")
        assert c("TASK.PURGE", "q", "ready", "COUNT", count) == error
    for words in (["leased"], ["gone"], ["x"], [""], ["ready", "dead"], ["ready", "COUNT"], ["COUNT", 5]):
        assert c("TASK.PURGE", "q", *words) == SYNTAX
    assert c("TASK.LEN", "q") == 1500
    assert [c("TASK.PURGE", "q", "ALL") for _ in range(3)] == [1000, 500, 0]


def test_purge_removes_tasks_by_their_ids_unless_they_are_leased(c):
    """Waiting, dead and done tasks are removed; an id that is given twice counts once."""
    [dead] = dead_tasks(c, 1)
    done = c.push("q", "p", "RETAIN", DAY)
    assert c("TASK.ACK", "q", c.claim()) == 1
    ready, delayed, leased = c.push(), c.push("q", "p", "DELAY", DAY), c.push("q", "p", "PRIORITY", 9)
    handle = c.claim()
    ids = [ready, delayed, leased, dead, done, "1-1", ready]
    assert c("TASK.PURGE", "q", "ids", 7, *ids, "OLDER", DAY) == 0
    assert c("TASK.PURGE", "q", "IDS", 7, *ids) == 4 and c("TASK.PURGE", "q", "IDS", 7, *ids) == 0
    info = c.map("TASK.INFO", "q")
    assert (info[b"purged"], info[b"forgotten"], info[b"leased"]) == (3, 1, 1)
    assert c("TASK.ACK", "q", handle) == 1
    assert c("TASK.PURGE", "missing", "IDS", 1, "1-1") == 0 and c("EXISTS", "missing") == 0


def test_purge_older_removes_tasks_that_have_been_in_their_state_for_so_long(server, c):
    """Each state has its own beginning; tasks that are too young stay."""
    dead_tasks(c, 2)
    c("TASK.MPUSH", "q", "TASKS", 3, *range(3))
    c("TASK.MPUSH", "q", "DELAY", DAY, "TASKS", 2, *"ab")
    oldest = c("TASK.LIST", "q", "dead")[1][0]
    died = c.as_map(oldest)[b"dead-since"]
    for state in ("dead", "ready", "delayed", "all"):
        assert c("TASK.PURGE", "q", state, "OLDER", DAY) == 0

    def now() -> int:
        seconds, us = c("TIME")
        return int(seconds) * 1000 + int(us) // 1000

    server.wait_until(lambda: now() > died + 100, "some time has passed")
    assert c("TASK.PURGE", "q", "dead", "OLDER", 20, "COUNT", 1) == 1
    assert c("TASK.PURGE", "q", "ready", "older", 20) == 3
    assert c("TASK.PURGE", "q", "ALL", "OLDER", 20) == 3
    assert c("TASK.LEN", "q") == 0
    for span in (-1, "x", 100 * 365 * DAY + 1):
        error = Error("ERR OLDER must be an integer between 0 and 3153600000000")
        assert c("TASK.PURGE", "q", "all", "OLDER", span) == error


def test_retry_count_can_be_of_one_group(c):
    """The oldest dead of the group become ready; those of others stay dead."""
    for group in "aba":
        c.push("q", group, "GROUP", group)
        assert c("TASK.FAIL", "q", c.claim(), "DEAD") == -1
    first = c("TASK.LIST", "q", "dead")[1][0]
    assert c("TASK.RETRY", "q", "COUNT", 1, "GROUP", "a") == 1
    assert c.map("TASK.GET", "q", c.as_map(first)[b"id"])[b"state"] == b"ready"
    assert c("TASK.RETRY", "q", "count", 9, "group", "a") == 1
    assert c("TASK.RETRY", "q", "COUNT", 9, "GROUP", "a") == 0
    assert c("TASK.RETRY", "q", "COUNT", 9, "GROUP", "unknown") == 0
    assert c("TASK.LEN", "q", "dead") == 1
    assert c("TASK.RETRY", "missing", "COUNT", 1, "GROUP", "a") == 0


def test_the_few_dead_of_a_group_among_many_are_found_by_repetition(c):
    """A call examines 10,000 dead tasks, and the next one goes on there."""
    looked_at = bound("engine/rules/purge.rs", "LOOKED_AT")
    for _ in range(11):
        c("TASK.MPUSH", "q", "GROUP", "many", "TASKS", looked_at // 10, *range(looked_at // 10))
    c.push("q", "one", "GROUP", "few", "PRIORITY", -1)
    while tasks := c("TASK.CLAIM", "q", "COUNT", 1000):
        assert set(c("TASK.FAIL", "q", "HANDLES", len(tasks), *[task[0] for task in tasks], "DEAD")) == {-1}
    assert [c("TASK.RETRY", "q", "COUNT", 5, "GROUP", "few") for _ in range(3)] == [0, 1, 0]
