"""Moving from BullMQ: jobs that BullMQ itself has stored become tasks. Without npm these tests are skipped."""

import json
import shlex
import time

import pytest
import taskslot
from harness import command_line
from harness.old_systems import bullmq


@pytest.fixture
def add(server):
    """`add(["add", "welcome", {"to": "bob"}], …)` calls methods of BullMQ's queue `mail`."""
    return lambda *steps: bullmq(server.port, list(steps))


@pytest.fixture
def run(server):
    """`run("mail", "tasks")` runs `taskslot migrate bullmq` on the server."""
    return lambda *words, **options: command_line.run(
        "migrate", "bullmq", *words, "--url", f"redis://127.0.0.1:{server.port}", **options
    )


@pytest.fixture
def tasks(client):
    """The new queue."""
    with taskslot.Queue(client, "tasks") as queue:
        yield queue


def test_jobs_keep_their_data_order_time_and_attempts(add, run, tasks, client):
    """Jobs without a priority go first, then 1, 2, …; the next job is at the end of BullMQ's list."""
    now = time.time() * 1000
    add(
        ["add", "prio", 9, {"priority": 2}],
        ["add", "prio", 8, {"priority": 1}],
        ["add", "welcome", {"to": "bob", "n": 1.50, "text": "ä\u2028"}],
        ["add", "plain", None, {"attempts": 5, "backoff": 1000}],
        ["add", "lifo", [], {"lifo": True}],
        ["add", "low", 7, {"priority": 500}],
        ["add", "later", "text", {"delay": 3_600_000, "priority": 3}],
    )
    output = run("mail", "tasks")
    assert output.lines == [
        "moved 7 to tasks", "  3 from bull:mail:wait", "  3 from bull:mail:prioritized", "  1 from bull:mail:delayed"
    ]  # fmt: skip
    (later,) = (tasks.get(one.id) for one in tasks.tasks("delayed"))
    assert later.payload == b'{"task":"later","args":["text"]}' and later.priority == -3
    assert 0 <= later.due - now - 3_600_000 < 60_000
    ready = [tasks.get(one.id) for one in tasks.tasks("ready")]
    assert {one.payload: one.attempts for one in ready}[b'{"task":"plain","args":[null]}'] == 5
    came = tasks.claim(10, meta=True)
    assert came[0].meta.headers == {"migrated-from": b"bullmq:mail:5"}
    claimed = [json.loads(task.payload) for task in came]
    assert [(one["task"], *one["args"]) for one in claimed] == [
        ("lifo", []), ("welcome", {"to": "bob", "n": 1.5, "text": "ä\u2028"}), ("plain", None),
        ("prio", 8), ("prio", 9), ("low", 7),
    ]  # fmt: skip
    left = {
        key
        for key in client.keys("bull:*")
        if key.rpartition(b":")[2] not in (b"meta", b"id", b"pc", b"events")
    }
    assert left <= {b"bull:mail:marker"}


def test_the_data_alone_can_be_the_payload(add, run, tasks):
    """The text of the data is kept, as numbers that Python would write otherwise show."""
    add(["add", "a", {"big": 1e21, "small": 1e-7}])
    run("mail", "tasks", "--format", "data")
    assert tasks.claim()[0].payload == b'{"big":1e+21,"small":1e-7}'


def test_a_token_is_free_again_once_its_job_is_moved(add, run, client):
    """Producers that still use BullMQ can add the job again."""
    add(["add", "a", 1, {"deduplication": {"id": "one"}}])
    assert client.exists("bull:mail:de:one")
    run("mail", "tasks")
    assert not client.exists("bull:mail:de:one")


def test_flows_stay_and_paused_queues_are_told(add, run, client):
    """A child whose parent waits for it can't be moved alone."""
    child = {"name": "child", "queueName": "mail", "data": {}}
    add(
        ["flow", {"name": "parent", "queueName": "mail", "data": {}, "children": [child]}],
        ["pause"],
        ["add", "a", 1],
    )
    output = run("mail", "tasks")
    text = "\n".join(output.lines)
    assert output.lines[0] == "moved 1 to tasks" and "1: a job of a flow waits for it" in text
    assert "not moved, jobs that wait for children: 1" in text
    assert "the queue is paused in BullMQ; tasks is not" in text
    assert client.zcard("bull:mail:waiting-children") == 1


def commands(output, server):
    """The commands that set schedules, without the words that reach the server."""
    found = [line.partition("not moved: ")[2] for line in output.lines if "redis-cli" in line]
    way = f"redis-cli -u redis://127.0.0.1:{server.port} "
    assert found and all(line.startswith(way) for line in found)
    return [shlex.split(line.removeprefix(way)) for line in found]


def test_schedules_are_printed_as_commands_that_work(add, run, tasks, client, server):
    """The next runs of schedules stay; the printed command makes the same schedule in taskslot."""
    add(
        ["upsertJobScheduler", "nightly", {"pattern": "0 30 2 * * *", "tz": "Europe/Berlin"},
         {"name": "report", "data": {"it's": 1}, "opts": {"attempts": 2}}],
        ["upsertJobScheduler", "often", {"every": 10000}, {"name": "tick"}],
        ["upsertJobScheduler", "seconds", {"pattern": "*/5 * * * * *"}, {"name": "tick"}],
        ["upsertJobScheduler", "few", {"every": 10000, "limit": 3}, {"name": "tick"}],
    )  # fmt: skip
    output = run("mail", "tasks")
    text = "\n".join(output.lines)
    assert "moved 0 to tasks" in text and "it is the next run of a schedule" in text
    assert "seconds (*/5 * * * * *): CRON has five fields" in text and "few has limit" in text
    for command in commands(output, server):
        assert client.execute_command(*command) == 1
    (nightly, often) = sorted(tasks.schedules(), key=lambda one: one.name)
    assert (nightly.cron, nightly.tz, nightly.attempts) == ("30 2 * * *", "Europe/Berlin", 2)
    assert nightly.payload == b'{"task":"report","args":[{"it\'s":1}]}'
    assert often.every == 10000
    assert "no time zone" not in text


def test_schedules_of_a_target_with_shards_are_on_the_first(add, run, client, server):
    """No worker reads the name itself. A dry run prints the same command."""
    add(["upsertJobScheduler", "often", {"every": 10000}, {"name": "tick"}])
    found = [commands(run("mail", "tasks", "--shards", "4", *how), server) for how in (["--dry-run"], [])]
    assert found[0] == found[1]
    assert client.execute_command(*found[0][0]) == 1 and not client.exists("tasks")
    with taskslot.ShardedQueue(client, "tasks", shards=4) as sharded:
        assert [one.name for one in sharded.schedules()] == ["often"]


def test_a_schedule_without_a_zone_is_told(add, run):
    """BullMQ's process has a zone of its own, which no key has."""
    add(["upsertJobScheduler", "nightly", {"pattern": "0 2 * * *"}, {"name": "report"}])
    [line] = [line for line in run("mail", "tasks").lines if "time zone" in line]
    assert line.startswith("  nightly has no time zone: its times are UTC here")


def test_a_queue_that_does_not_exist_is_an_error(add, run):
    """The text names the option for another prefix, which works."""
    (error,) = run("nail", "tasks", status=2).errors
    assert "BullMQ has no queue nail" in error and "--prefix" in error
    add(["add", "a", 1])
    assert run("mail", "tasks", "--prefix", "bull").lines[0] == "moved 1 to tasks"
