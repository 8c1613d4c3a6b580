"""The command line against real servers: what it does, what it prints and what it refuses."""

import base64
import json
import os
from datetime import datetime
from math import inf
from urllib.parse import quote

import pytest
import taskslot
from harness import command_line
from taskslot import Durations, Times
from taskslot.cli.inspect import table_of_times


@pytest.fixture
def run(server):
    """`run("push", "mail", "hello")` runs the command on the server."""
    return lambda *words, **options: command_line.run(
        "--url", f"redis://127.0.0.1:{server.port}", *words, **options
    )


# ---- produce and work


def test_a_task_is_pushed_claimed_and_acked_by_hand(run, queue):
    """Push, claim and ack: each prints what the next command needs."""
    (task,) = run("push", "mail", "hello world").lines
    (line,) = run("claim", "mail", "--worker", "w1").lines
    handle, payload = line.split("  ")
    assert handle.startswith(f"{task}@") and payload == "hello world"
    assert queue.workers()[0].name == "w1"
    assert run("ack", "mail", handle, handle).lines == [
        f"{handle}  acked",
        f"{handle}  already finished or removed",
    ]
    assert queue.len() == 0


def test_an_empty_queue_is_not_an_error(run):
    """Nothing is written to stdout."""
    output = run("claim", "mail")
    assert output.lines == [] and output.errors == ["nothing to claim"]


def test_a_claim_says_that_the_queue_is_paused(run, queue):
    """The text says until when. It is printed for shards too, but not if only pushes are paused."""
    run("push", "mail", "a")
    run("pause", "mail")
    assert run("claim", "mail").errors == ["nothing to claim: mail is paused until resumed"]
    run("pause", "mail", "--for-ms", "3600000")
    assert run("claim", "mail").errors[0].startswith("nothing to claim: mail is paused for ")
    run("resume", "mail")
    run("pause", "orders", "in", "--shards", "2")
    assert run("claim", "orders", "--shards", "2").errors == ["nothing to claim"]
    run("pause", "orders", "--shards", "2")
    assert run("claim", "orders", "--shards", "2").errors == [
        "nothing to claim: orders is paused until resumed"
    ]


def test_a_list_of_a_queue_that_does_not_exist_says_so(run):
    """It may be mistyped, or its app has a prefix."""
    assert run("list", "mail", "dead").errors == ["no dead tasks: there is no queue mail"]
    run("push", "shop:mail", "a")
    output = run("list", "mail", "dead")
    assert output.errors == ["no dead tasks: there is no queue mail; did you mean shop:mail?"]
    assert output.lines == []
    assert run("list", "shop:mail", "dead").errors == ["no dead tasks"]


def test_the_result_of_a_task_that_was_not_kept_names_the_option(run):
    """It is the option of the command line, not that of the library."""
    run("push", "mail", "a")
    (handle,) = [line.split()[0] for line in run("claim", "mail").lines]
    run("ack", "mail", handle)
    (error,) = run("result", "mail", handle.partition("@")[0], status=1).errors
    assert (
        error.startswith("taskslot: no such task, or it ended and was not kept: ") and "--retain-ms" in error
    )


def test_scripts_get_json_lines(run):
    """A line has everything known about a task. The option can stand before or after the command."""
    run("push", "mail", "a", "--group", "g", "--header", "trace=7", "--priority", "0")
    (task,) = run("claim", "mail", "--json").json()
    assert (task["payload"], task["group"], task["headers"], task["deliveries"]) == (
        "a",
        "g",
        {"trace": "7"},
        1,
    )
    assert run("--json", "ack", "mail", task["handle"]).json() == [
        {"handle": task["handle"], "answer": "acked"}
    ]
    assert task["id"] == task["handle"].split("@")[0]


def test_a_payload_is_bytes(run, queue):
    """It is read from stdin with its line ends. In JSON it is base64 if it is not text."""
    run("push", "mail", "-", stdin=b"\xff\x00\n")
    assert run("claim", "mail", "--json").json()[0]["payload_base64"] == "/wAK"


def test_lines_of_stdin_are_tasks(run, queue):
    """There are more lines than one step takes. Empty lines count, and the last one needs no line end."""
    lines = [f"task {n}" for n in range(2500)] + ["", "last"]
    assert run("push", "mail", "--lines", "--delay-ms", "0", stdin="\n".join(lines)).lines == ["pushed 2502"]
    assert [task.payload.decode() for _ in range(3) for task in queue.claim(1000)] == lines
    ids = run("push", "mail", "--lines", "--json", stdin="a\r\nb\n").json()
    assert [(task.id, task.payload) for task in queue.claim(10)] == [
        (ids[0]["id"], b"a"),
        (ids[1]["id"], b"b"),
    ]


def test_if_a_queue_becomes_full_the_error_says_how_many_were_pushed(run, queue):
    """The user then knows from which line to continue."""
    queue.configure(max_len=1500)
    output = run("push", "mail", "--lines", stdin="x\n" * 2500, status=1)
    assert output.lines == ["pushed 1000"] and len(output.errors) == 1 and "max-len" in output.errors[0]
    assert queue.len() == 1000


def test_a_unique_task_is_found_again(run):
    """The id is that of the existing task."""
    (first,) = run("push", "mail", "a", "--unique", "t").lines
    assert run("push", "mail", "b", "--unique", "t").lines == [f"{first}  found"]
    assert run("push", "mail", "b", "--unique", "t", "--json").json() == [{"id": first, "is_new": False}]


def test_a_time_of_day_is_local_unless_it_names_a_zone(run, queue):
    """A number is a unix time in milliseconds."""
    for at in ("2100-01-01T00:00Z", "2100-01-01T01:00+01:00", "4102444800000"):
        (task,) = run("push", "mail", "a", "--at", at).lines
        assert queue.get(task).due == 4102444800000
    (task,) = run("push", "mail", "a", "--at", "2100-01-01T00:00").lines
    assert queue.get(task).due == round(datetime(2100, 1, 1).timestamp() * 1000)
    for wrong in ("tomorrow", "1760000000"):  # these are seconds
        run("push", "mail", "a", "--at", wrong, status=2)


def test_a_failure_says_when_it_is_tried_again(run):
    """If it is not tried again, the output says that it is dead."""
    run("push", "mail", "a", "b")
    a, b = (one["handle"] for one in run("claim", "mail", "-n", "2", "--json").json())
    assert run("fail", "mail", a, "--delay-ms", "5000", "-e", "boom").lines == [
        f"{a}  failed, ready again in 5.0s"
    ]
    assert run("fail", "mail", b, "--dead", "--json").json() == [{"handle": b, "answer": "dead"}]


def test_a_task_is_given_up_with_its_progress(run, queue):
    """fail and requeue take --progress, which claim prints as JSON."""
    run("push", "mail", "a")
    for command, progress in (("requeue", "step=1"), ("fail", "step=2")):
        (task,) = run("claim", "mail", "--json").json()
        run(command, "mail", task["handle"], "--delay-ms", "60000", "--progress", progress)
        (shown,) = run("list", "mail", "delayed", "--json").json()
        assert shown["progress"] == progress
        queue.retry([task["id"]])


def test_get_shows_each_of_several_errors(run, queue):
    """The attempt, the instant, the worker and the text; one error is shown as before."""
    queue.configure(errors_kept=2)
    task = queue.push("a")
    for worker, error in (("w1", "no disk"), ("w2", "no net")):
        handle = run("claim", "mail", "--worker", worker, "--json").json()[0]["handle"]
        lines = run("get", "mail", task).lines
        assert not any("error of attempt" in line for line in lines)
        run("fail", "mail", handle, "-e", error, "--delay-ms", "60000")
        queue.retry([task])
    shown = [line for line in run("get", "mail", task).lines if line.startswith("error of attempt")]
    assert [line.split()[3] for line in shown] == ["1", "2"]
    assert shown[0].endswith("at w1: no disk") and shown[1].endswith("at w2: no net")
    (first, second) = run("get", "mail", task, "--json").json()[0]["errors"]
    assert (first["attempt"], second["error"]) == (1, "no net")


def test_a_lost_lease_is_an_error(run):
    """The status is 1, and the text says what it means."""
    run("push", "mail", "a")
    old = run("claim", "mail", "--json").json()[0]["handle"]
    run("requeue", "mail", old)
    new = run("claim", "mail", "--json").json()[0]["handle"]
    assert run("ack", "mail", old, status=1).lines == [
        f"{old}  lease lost: this handle no longer holds the task"
    ]
    assert run("extend", "mail", new).lines[0].startswith(f"{new}  extended until 2")


def test_a_claim_can_wait_and_can_finish_at_once(run, queue):
    """--block-ms waits for a delayed task, --noack leaves no lease."""
    run("push", "mail", "a", "--delay-ms", "50")
    (line,) = run("claim", "mail", "--block-ms", "10000", "--noack").lines
    assert line.endswith("  a") and queue.info().leased == 0 and queue.info().acked == 1


def test_a_result_is_printed_unchanged(run):
    """It is printed as bytes. For a dead task the status is 1."""
    first, second = run("push", "mail", "a", "b", "--retain-ms", "60000").lines
    a, b = (one["handle"] for one in run("claim", "mail", "-n", "2", "--json").json())
    assert run("result", "mail", first, status=1).errors == ["taskslot: the task has not ended yet"]
    run("ack", "mail", a, "--result", "42")
    run("fail", "mail", b, "--dead", "-e", "boom")
    assert run("result", "mail", first).output == b"42"
    assert run("result", "mail", second, status=1).errors == ["taskslot: dead: boom"]


# ---- inspect and admin


def test_info_shows_the_state_in_words(run, queue):
    """Pauses are shown too. JSON has every field of TASK.INFO."""
    queue.push_many(["a", "b"])
    queue.claim()
    queue.pause()
    words = run("info", "mail").words()
    assert words["now"] == "1 ready, 0 delayed, 1 leased, 0 dead, 0 done"
    assert words["paused"] == "claims" and words["totals"] == "2 pushed, 1 claimed"
    (found,) = run("info", "mail", "--json").json()
    assert found["queue"] == "mail" and found["load"]["places_busy"] == 1 and found["in_per_second_1m"] > 0
    assert run("info", "nothing", status=1).errors == ["taskslot: there is no queue nothing"]


def test_info_shows_groups_workers_and_schedules(run, queue):
    """Each is a table with the server's names."""
    queue.push("a", group="g1")
    queue.claim(worker="w1")
    queue.schedule("nightly", "x", every_ms=60_000)
    assert run("info", "mail", "groups").lines[1].split()[0] == "g1"
    assert run("info", "mail", "workers", "--json").json()[0]["name"] == "w1"
    heads, line = run("info", "mail", "schedules").lines
    assert heads.split()[0] == "name" and line.split()[0] == "nightly"


def test_info_shows_how_long_tasks_waited_and_ran(run, queue):
    """There is a line for each bucket that is not empty."""
    queue.push_many(["a", "b"])
    assert [line.split() for line in run("info", "mail", "times").lines[1:]] == [
        ["tasks", "0", "0"],
        ["mean", "–", "–"],
    ]
    queue.ack(queue.claim(2)[0])
    heads, tasks, means, *buckets = run("info", "mail", "times").lines
    assert heads.startswith("watched for ") and heads.split()[-2:] == ["wait", "run"]
    assert tasks.split() == ["tasks", "2", "1"] and means.endswith("ms") and buckets[0].startswith("below ")
    (found,) = run("info", "mail", "times", "--json").json()
    assert found["queue"] == "mail" and sum(found["wait"]["below_ms"].values()) == found["wait"]["count"] == 2
    assert all(bound.isdigit() for bound in found["run"]["below_ms"])
    assert run("info", "nothing", "times", status=1).errors == ["taskslot: there is no queue nothing"]


def test_the_longest_times_are_in_a_row_of_their_own():
    """They are those above 6 days, for which there is no bound."""
    times = Times(90_000, Durations(2, 6_000_000_000, {4: 1, inf: 1}), Durations(1, 30, {32: 1}))
    assert table_of_times(times) == [
        ("watched for 1m30", "wait", "run"),
        ("tasks", "2", "1"),
        ("mean", "34d", "30ms"),
        ("below 4ms", "1", ""),
        ("below 32ms", "", "1"),
        ("longer", "1", ""),
    ]


def test_everything_known_about_a_task_is_shown(run, queue):
    """Instants are shown as times, payload and headers as texts."""
    task = queue.push(b"he\x1bllo", headers={"trace": "7"})
    words = run("get", "mail", task).words()
    assert (
        words["payload"] == "he\\x1bllo"
        and words["header trace"] == "7"
        and words["enqueued"].startswith("2")
    )
    assert run("get", "mail", task, "--json").json()[0]["state"] == "ready"
    assert run("get", "mail", "1-1", status=1).errors == ["taskslot: no such task, or it was removed"]


def test_a_batch_is_opened_filled_and_closed(run, queue):
    """Each command prints what a person wants to know next. The list of held tasks says what they wait for."""
    (callback,) = run("batch", "open", "mail", "import-7", "mail the report", "--priority", "2").lines
    assert run("batch", "open", "mail", "import-7", "again").lines == [f"{callback}  found"]
    assert run("push", "mail", "--lines", "--batch", "import-7", stdin="a\nb\n").lines == ["pushed 2"]
    assert run("batch", "close", "mail", "import-7").lines == ["import-7 closed"]
    assert run("batch", "close", "mail", "import-7").lines == ["import-7 was closed before"]
    words = run("batch", "info", "mail", "import-7").words()
    assert (words["state"], words["tasks"], words["open"], words["callback"]) == (
        "closed",
        "2",
        "2",
        callback,
    )
    assert words["opened"].startswith("2")
    assert run("list", "mail", "held").lines[1].split()[3:6] == ["batch", "import-7", "mail"]
    assert run("get", "mail", callback).words()["callback-of"] == "import-7"
    words = run("info", "mail").words()
    assert words["now"].startswith("2 ready, 0 delayed, 1 held, ") and words["batches"] == "0 open, 1 closed"
    heads, line = run("info", "mail", "batches").lines
    assert heads.split()[:2] == ["name", "state"] and line.split()[:2] == ["import-7", "closed"]
    assert run("batch", "del", "mail", "import-7").lines == ["import-7  removed"]
    assert run("batch", "del", "mail", "import-7").lines == ["import-7  no such batch"]
    assert run("batch", "info", "mail", "import-7", status=1).errors == [
        "taskslot: there is no batch import-7"
    ]
    assert "batches" not in run("info", "mail").words()


def test_the_callback_of_a_batch_has_the_options_of_a_task(run, queue):
    """It can count in another batch. Its delay counts from the end of its wait."""
    run("batch", "open", "mail", "all", "report")
    options = "--attempts 1 --delay-ms 3600000 --ttl-ms 90000 --lease-ms 5000 --batch all"
    (inner,) = run("batch", "open", "mail", "part-1", "of it", *options.split()).lines
    words = run("get", "mail", inner).words()
    assert (words["batch"], words["callback-of"]) == ("all", "part-1")
    assert queue.batch_info("all").tasks == 1
    run("batch", "close", "mail", "part-1")
    view = queue.get(inner)
    assert (view.state, view.ttl_ms, view.lease_ms) == ("delayed", 90_000, 5000)
    queue.retry(inner)
    (task,) = queue.claim()
    queue.fail(task, "no")
    assert queue.get(inner).state == "dead"


def test_get_shows_the_traceback_of_an_error_below(run, queue):
    """In lists there is only what was raised."""
    trace = [
        "Traceback (most recent call last):",
        '  File "jobs.py", line 7, in send',
        "    raise \x1b[31mValueError",
    ]
    error = "\n".join(["ValueError: no address", *trace])
    task = queue.push("a", attempts=1)
    queue.fail(queue.claim()[0], error)
    shown = run("get", "mail", task).lines
    assert [line for line in shown if line.startswith("error")] == ["error       ValueError: no address"]
    assert [line.rstrip() for line in shown[-3:-1]] == trace[:2] and "\x1b" not in shown[-1]
    assert any(" ValueError: no address " in line for line in run("list", "mail", "dead").lines)
    assert not any("Traceback" in line for line in run("list", "mail", "dead").lines)


def test_scripts_get_json_lines_of_batches(run):
    """With and without shards."""
    for shards in ([], ["--shards", "4"]):
        mine = ["mail", "b", *shards, "--json"]
        (made,) = run("batch", "open", *mine, "callback").json()
        assert made == {"batch": "b", "callback": made["callback"], "is_new": True}
        assert run("batch", "close", *mine).json() == [{"batch": "b", "closed": True}]
        assert run("batch", "info", *mine).json()[0]["callback"] == made["callback"]
        assert run("info", "mail", "batches", *shards, "--json").json()[0]["name"] == "b"
        assert run("batch", "del", *mine).json() == [{"batch": "b", "answer": "removed"}]


def test_a_task_is_pushed_to_wait_for_others(run, queue):
    """The option can be repeated. A word for the case that they die needs tasks to wait for."""
    one, two = queue.push_many(["a", "b"])
    (task,) = run("push", "mail", "c", "--after", one, "--after", two, "--on-dead", "drop").lines
    words = run("get", "mail", task).words()
    assert (words["state"], words["after"], words["on-dead"]) == ("held", f"{one}, {two}", "drop")
    assert f"{one} and 1 more" in run("list", "mail", "held").lines[1]
    error = run("push", "mail", "c", "--on-dead", "run", status=2).errors
    assert error == ["taskslot: --on-dead needs --after"]
    assert run("purge", "mail", "held", "--all", "--yes").lines == ["purged 1"]


def test_a_list_is_cut_and_says_so(run, queue):
    """It has twenty rows, unless --count asks for more."""
    queue.push_many([f"task {n}" for n in range(120)])
    output = run("list", "mail", "ready")
    assert (
        len(output.lines) == 21
        and output.lines[1].endswith("task 0")
        and output.errors == ["… and more: use --count 200"]
    )
    assert len(run("list", "mail", "ready", "-n", "120", "--json").json()) == 120
    assert run("list", "mail", "dead").errors == ["no dead tasks"]


def test_dead_tasks_are_retried_in_steps(run, queue):
    """All of them are retried, or the oldest few. Without --all or --count nothing is retried."""
    queue.push_many(["a"] * 2300)
    for _ in range(3):
        queue.fail_many(queue.claim(1000), dead=True)
    assert run("retry", "mail", "-n", "5").lines == ["retried 5"]
    assert run("retry", "mail", "--all", "--yes").lines == ["retried 2295"]
    assert queue.len("ready") == 2300 and queue.len("dead") == 0


def test_retry_takes_ids(run, queue):
    """Dead and delayed tasks can be retried by id."""
    task = queue.push("a", delay_ms=60_000)
    assert run("retry", "mail", task, "1-1", "--json").json() == [{"retried": 1}]


def test_purge_removes_one_state_or_all_but_leased_tasks(run, queue):
    """It works in steps, too."""
    queue.push_many(["a"] * 2200)
    queue.push_many(["b"] * 3, delay_ms=60_000)
    queue.claim(10)
    assert run("purge", "mail", "ready", "-n", "40").lines == ["purged 40"]
    assert run("purge", "mail", "all", "-y").lines == ["purged 2153"]
    assert queue.len() == 10
    queue.push_many(["a"] * 30)
    assert run("purge", "mail", "all", "-n", "20").lines == ["purged 20"]
    assert run("purge", "mail", "all", "--all", "-y").lines == ["purged 10"]


def test_purge_removes_tasks_by_their_ids_and_by_age(run, queue):
    """An id can be given several times over. The state is left out then."""
    ids = queue.push_many(["a"] * 3)
    assert run("purge", "mail", "--id", ids[0], "--id", ids[1]).lines == ["purged 2"]
    assert run("purge", "mail", "ready", "--older-ms", "3600000", "-n", "5").lines == ["purged 0"]
    assert run("purge", "mail", "ready", "--older-ms", "0", "--all", "-y").lines == ["purged 1"]
    for words in ([], ["ready", "--id", ids[2]], ["--id", ids[2], "-n", "1"]):
        run("purge", "mail", *words, status=2)


def test_old_tasks_behind_many_others_are_found(run, queue):
    """The command is repeated until all tasks have been looked at."""
    for start in range(0, 11_000, 1000):
        queue.push_many(["a"] * 1000, request=f"r{start}")
    old = queue.push("b", delay_ms=60_000)
    assert run("purge", "mail", "delayed", "--older-ms", "0", "--all", "-y").lines == ["purged 1"]
    assert queue.get(old) is None
    assert queue.purge("delayed", older_ms=0) == 0


def test_the_dead_of_a_group_are_retried(run, queue):
    """With --count or --all."""
    for group in ("a", "b", "a", "a"):
        queue.push(group, group=group)
        queue.fail(queue.claim()[0], dead=True)
    assert run("retry", "mail", "-n", "1", "--group", "a").lines == ["retried 1"]
    assert run("retry", "mail", "--all", "--group", "a", "-y").lines == ["retried 2"]
    assert queue.len("dead") == 1
    run("retry", "mail", "1-1", "--group", "a", status=2)


def test_a_group_is_paused_and_resumed(run, queue):
    """Other groups go on."""
    queue.push("a", group="acme")
    assert run("pause", "mail", "--group", "acme", "--for-ms", "60000").lines == [
        "mail paused: group acme for 1m00"
    ]
    assert queue.claim() == []
    assert run("resume", "mail", "--group", "acme").lines == ["mail resumed: group acme"]
    assert len(queue.claim()) == 1
    run("pause", "mail", "in", "--group", "acme", status=2)


def test_tasks_are_listed_newest_first_and_by_a_pattern(run, queue):
    """The pattern is for the payload or for the value of a header."""
    ids = [queue.push("mail"), queue.push("sms", headers={"to": "ada"})]
    shown = [one["id"] for one in run("list", "mail", "ready", "--reverse", "--json").json()]
    assert shown == ids[::-1]
    assert [one["id"] for one in run("list", "mail", "ready", "--match", "m*", "--json").json()] == ids[:1]
    assert [one["id"] for one in run("list", "mail", "ready", "--header", "to=a*", "--json").json()] == ids[
        1:
    ]
    run("list", "mail", "ready", "--header", "to", status=2)


def test_a_command_for_all_tasks_asks_first(run, queue):
    """Without a terminal it refuses, and changes nothing."""
    queue.push("a")
    assert run("purge", "mail", "ready", "--all", status=2).errors == [
        "taskslot: Remove all 1 ready tasks of mail? Confirm with --yes"
    ]
    assert run("purge", "mail", "all", status=2).errors == [
        "taskslot: Remove all 1 tasks of mail? Confirm with --yes"
    ]
    for words in (["purge", "mail", "ready"], ["retry", "mail"], ["retry", "mail", "1-1", "--all"]):
        run(*words, status=2)
    assert queue.len("ready") == 1


def test_cancel_shows_the_outcome_of_each_task(run, queue):
    """A task is removed, its worker is asked to stop, or nothing happens."""
    leased, waiting = queue.push("a"), queue.push("b")
    queue.claim()
    ends = [line.split("  ")[1] for line in run("cancel", "mail", waiting, leased, "1-1").lines]
    assert ends == ["removed", "leased: its worker is asked to stop", "nothing to cancel"]


def test_set_changes_tasks_that_wait(run, queue):
    """The tasks are named by ids, or one by its token."""
    task, leased = queue.push("a", delay_ms=60_000, unique="t"), queue.push("b")
    queue.claim()
    options = ["--priority", "4", "--group", "g", "--payload", "new", "--header", "n=v"]
    assert run("set", "mail", task, leased, *options).lines == [f"{task}  changed", f"{leased}  not waiting"]
    view = queue.get(task)
    assert (view.priority, view.group, view.payload, view.headers) == (4, "g", b"new", {"n": b"v"})
    assert run("set", "mail", "--unique", "t", "--at", "4102444800000").lines == ["t  changed"]
    assert queue.get(task).due == 4102444800000
    shown = run("set", "mail", "--unique", "t", "--delay-ms", "0", "--group", "", "--json")
    assert shown.json() == [{"unique": "t", "answer": "changed"}]
    assert (queue.get(task).state, queue.get(task).group) == ("ready", None)
    for words in ([task], ["--priority", "1"], [task, "--unique", "t", "--priority", "1"]):
        run("set", "mail", *words, status=2)


def test_a_token_names_a_task(run, queue):
    """Commands that take an id take --unique too, but not both."""
    task = queue.push("a", delay_ms=60_000, unique="t")
    assert run("get", "mail", "--unique", "t", "--json").json()[0]["id"] == task
    assert run("retry", "mail", "--unique", "t").lines == ["retried 1"]
    run("result", "mail", "--unique", "t", status=1)
    assert run("cancel", "mail", "--unique", "t").lines == ["t  removed"]
    run("get", "mail", "--unique", "t", status=1)
    for verb in ("get", "result", "cancel", "retry"):
        run(verb, "mail", "1-1", "--unique", "t", status=2)
        run(verb, "mail", status=2)


def test_push_postpones_a_task(run, queue):
    """The task that is found is due later."""
    options = ["--unique", "t", "--replace", "--delay-ms", "60000"]
    (task,) = run("push", "mail", "a", *options, "--postpone").lines
    run("push", "mail", "b", *options, "--postpone-until-ms", "1")
    assert (queue.get(task).state, queue.get(task).payload) == ("ready", b"b")


def test_pause_and_resume_take_a_direction(run, queue):
    """Without one, they affect claims."""
    assert run("pause", "mail").lines == ["mail paused: out"]
    assert run("pause", "mail", "in", "--for-ms", "60000").lines == ["mail paused: in for 1m00"]
    with pytest.raises(taskslot.Paused):
        queue.push("a")
    assert run("push", "mail", "a", status=1).lines == []
    run("resume", "mail", "all")
    assert queue.info().paused_in == queue.info().paused_out == 0


def test_settings_are_shown_set_and_reset(run, queue):
    """They have the server's names."""
    assert run("config", "mail", "max-len=7", "lease=1000").lines == ["lease    1000", "max-len  7"]
    assert queue.settings().max_len == 7
    assert run("config", "mail", "--reset", "lease").lines == ["lease  30000"]
    assert run("config", "mail", "--json").json()[0]["max_len"] == 7
    assert run("config", "mail", "max-len", status=2).errors == [
        "taskslot: config takes name=value, not max-len"
    ]


def test_a_sharded_queue_works_like_one_queue(run, client):
    """Ids and handles begin with their shard. The number of shards can come from the environment."""
    env = {"TASKSLOT_SHARDS": "4"}
    ids = run("--shards", "4", "push", "orders", "--lines", "--json", stdin="x\n" * 300).json()
    assert all("/" in one["id"] for one in ids)
    assert run("info", "orders", env=env).words()["now"].startswith("300 ready")
    handle = run("claim", "orders", "--json", env=env).json()[0]["handle"]
    assert run("ack", "orders", handle, env=env).lines == [f"{handle}  acked"]
    assert run("cancel", "orders", ids[-1]["id"], env=env).lines[0].endswith("removed")
    assert run("purge", "orders", "all", "--all", "-y", env=env).lines == ["purged 298"]
    run("ack", "orders", "1-1@1-1", status=2, env=env)


def test_names_of_shards_need_no_server():
    """The names are those that TASK.SHARDS returns."""
    output = command_line.run("--url", "redis://127.0.0.1:1", "shards", "orders", "2")
    assert [line.split() for line in output.lines[1:]] == [
        ["0", "orders:{1bz}", "0"],
        ["1", "orders:{fjl}", "8192"],
    ]


# ---- errors


def test_a_refused_command_prints_one_line(run, client):
    """The status is 1. The line has the server's text, and nothing is written to stdout."""
    client.set("other", "x")
    for words, text in (
        (["push", "other", "a"], "wrong kind of value"),
        (["push", "mail", "a", "--priority", "200"], "PRIORITY must be an integer between -128 and 127"),
        (["config", "mail", "colour=red"], "unknown setting"),
        (["get", "mail", "what"], "id"),
    ):
        found = run(*words, status=1)
        assert found.lines == [] and len(found.errors) == 1 and text in found.errors[0], found.errors
        assert found.errors[0].startswith("taskslot: ")


def test_without_the_module_the_error_says_how_to_get_it(start):
    """It does not only say that a command is unknown."""
    bare = start(module=None, port=True)
    (line,) = command_line.run(
        "--url", f"redis://127.0.0.1:{bare.port}", "push", "mail", "a", status=1
    ).errors
    assert '--loadmodule "$(taskslot path)"' in line


def test_a_wrong_address_prints_one_line_at_once():
    """The cases are a closed port, an unknown socket and an unknown scheme."""
    for url in ("redis://127.0.0.1:1", "valkey://127.0.0.1:1", "unix:///nowhere"):
        (line,) = command_line.run("--url", url, "info", "mail", status=1).errors
        assert line.startswith("taskslot: ")
    assert command_line.run("--url", "http://me:secret@x", "info", "mail", status=2).errors == [
        "taskslot: --url must be redis://…, rediss://…, valkey://…, valkeys://… or unix://…"
    ]


def test_a_password_is_used_and_never_shown(start):
    """It is in the URL. For a wrong password the error is one line without it."""
    server = start(port=True, requirepass="geheim")
    run = command_line.run
    run("--url", f"redis://:geheim@127.0.0.1:{server.port}", "push", "mail", "a")
    (line,) = run("--url", f"redis://:verkehrt@127.0.0.1:{server.port}", "push", "mail", "a", status=1).errors
    assert "verkehrt" not in line and "WRONGPASS" in line or "invalid" in line


@pytest.mark.parametrize(
    "words",
    [["push", "mail", "a"], ["top", "--once"], ["metrics", "--once"], ["doctor", "--ping"]],
    ids=lambda words: words[0],
)
def test_every_command_takes_its_password_in_the_same_ways(start, tmp_path, words):
    """From a file or a variable, any text; the option wins. The URL can name a user, and its own password counts."""
    secret = "a/b @c#%"
    server = start(port=True, requirepass=f'"{secret}"')
    file, url = tmp_path / "password", f"redis://127.0.0.1:{server.port}"
    file.write_text(f"{secret}\r\n")
    run = command_line.run
    without = run(*words, "--url", url, status=2 if words[0] == "doctor" else 1)
    # `metrics` says in its figures that the server can't be read.
    assert words[0] == "metrics" or "it asks for a password: TASKSLOT_PASSWORD" in without.errors[-1]
    run(*words, "--url", url, env={"TASKSLOT_PASSWORD": secret})
    run("--password-file", file, *words, "--url", url, env={"TASKSLOT_PASSWORD": "wrong"})
    run(*words, "--url", f"unix://{server.socket}", "--password-file", file)
    run(*words, "--url", f"redis://default@127.0.0.1:{server.port}", "--password-file", file)
    inside = url.replace("//", f"//:{quote(secret, safe='')}@")
    run(*words, "--url", inside, env={"TASKSLOT_PASSWORD": "wrong"})
    (line,) = run(*words, "--url", inside, "--password-file", file, status=2).errors
    assert line == "taskslot: there is a password in --password-file and another in the URL: give one"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"one\ntwo\n", "must be one line"),
        (b"x" * 4097, "must be one line"),
    ],
)
def test_a_file_that_is_no_password_is_refused(tmp_path, content, says):
    """Before anything is connected. Its content is not shown."""
    file = tmp_path / "password"
    file.write_bytes(content)
    for words in (
        ["info", "mail"],
        ["metrics", "--once"],
        ["doctor"],
        ["serve", "--data", tmp_path / "data"],
    ):
        (line,) = command_line.run(*words, "--password-file", file, status=2).errors
        assert says in line and str(file) in line and "two" not in line
    (line,) = command_line.run("web", "--web-password-file", file, status=2).errors
    assert says in line
    (line,) = command_line.run("info", "mail", "--password-file", "/none", status=1).errors
    assert line == "taskslot: /none: No such file or directory"


@pytest.mark.parametrize("scheme", ["redis", "valkey", "unix"])
def test_each_kind_of_address_works(server, scheme):
    """valkey:// with valkey-py, a socket by its path. It can come from the environment; an option takes precedence."""
    url = f"unix://{server.socket}" if scheme == "unix" else f"{scheme}://127.0.0.1:{server.port}"
    env = {"TASKSLOT_URL": url}
    assert command_line.run("push", "mail", "a", env=env).lines
    assert command_line.run("claim", "mail", "--json", env=env).json()[0]["payload"] == "a"
    command_line.run("--url", "redis://127.0.0.1:1", "info", "mail", status=1, env=env)
    command_line.run("info", "mail", "--url", "redis://127.0.0.1:1", status=1, env=env)


def test_a_user_without_info_can_push(run, client, server):
    """A cluster is detected with INFO, which an ACL can forbid."""
    client.execute_command(
        "ACL", "SETUSER", "p", "on", ">x", "~*", "+task.push", "+ping", "+hello", "+client"
    )
    output = command_line.run("--url", f"redis://p:x@127.0.0.1:{server.port}", "push", "mail", "a")
    assert len(output.lines) == 1


# ---- top


def test_top_prints_one_table_without_a_terminal(run, client, queue, monkeypatch):
    """What needs a person first, shards are one line, and keys of other types are left out."""
    monkeypatch.setenv("COLUMNS", "168")
    client.mset({f"key {n}": "x" for n in range(3000)})
    queue.push("a")
    taskslot.ShardedQueue(client, "orders", shards=4).push_many(["x"] * 800)
    taskslot.Queue(client, "idle").settings()
    taskslot.Queue(client, "dead").fail(*claimed(client, "dead"), dead=True)
    lines = run("top").lines
    assert lines[0].split()[1:3] == ["3", "queues,"]
    assert lines[1].startswith(("valkey ", "redis ")) and ", taskslot " in lines[1] and "lag 0ms" in lines[1]
    head, _, *table = lines[2:7]
    assert head.split("  ")[0] == "queue" and "needs attention" in head
    assert [line.split()[0] for line in table] == ["orders", "mail", "dead"]
    assert "800 ready and nobody works" in table[0] and "1 dead" in table[2]
    assert lines[7].endswith(
        "appendonly is no and there is no replica: a crash loses all changes since the last save"
    )
    apart = of_kind("queue", run("top", "--shards-apart", "--json"))
    shards = {row["queue"] for row in apart} - {"mail", "dead"}
    assert len(shards) > 1 and shards <= set(taskslot.shards.names("orders", 4))
    assert sum(row["ready"] for row in apart) == 801


def claimed(client, name):
    """A task of a new queue, claimed."""
    queue = taskslot.Queue(client, name)
    queue.push("a")
    return queue.claim()


def of_kind(kind, printed):
    """The JSON lines of queues, or of nodes."""
    return [line for line in printed.json() if line["kind"] == kind]


def test_top_shows_queues_whose_names_are_not_text(run, client):
    """The names are escaped in the table, so they cannot control the terminal. JSON has the bytes."""
    client.execute_command("TASK.PUSH", b"q\xff\x1b", "p")
    (row,) = of_kind("queue", run("top", "--json"))
    assert base64.b64decode(row["queue_base64"]) == b"q\xff\x1b"
    table = run("top").output
    assert b"q\\xff\\x1b " in table and b"\x1b" not in table


def test_a_queue_whose_name_is_not_text_is_inspected(run, client):
    """A shell passes any bytes."""
    client.execute_command("TASK.PUSH", b"q\xff", "p")
    name = os.fsdecode(b"q\xff")
    assert run("info", name).lines[0].split() == ["queue", "q\\xff"]
    assert run("info", name, "--json").json()[0]["queue_base64"] == "cf8="
    assert run("info", name, "times", "--json").json()[0]["queue_base64"] == "cf8="
    assert run("claim", name).lines[0].endswith("  p")


def test_top_of_an_empty_server_says_what_to_do(run):
    """It does not print an empty table."""
    assert "no queues yet; try: taskslot push mail hello" in run("top", "--once").lines


def test_top_says_what_a_user_may_not_see(run, client, server, queue):
    """One key and INFO are refused; the rest is there."""
    queue.push("a")
    taskslot.Queue(client, "secret").push("a")
    client.execute_command("ACL", "SETUSER", "few", "on", ">x", "~mail", "+scan", "+task.info", "+ping")
    lines = command_line.run("--url", f"redis://few:x@127.0.0.1:{server.port}", "top").lines
    text = " ".join(lines)
    assert "mail" in lines[4] and "can't read secret: " in text and "INFO can't be read: " in text


@pytest.mark.parametrize("words", [["--once"], ["--json"], []])
def test_top_of_a_server_without_the_module_says_so(start, words):
    """SCAN finds no queue there, without an error. An empty table would mislead its reader."""
    bare = start(module=None, port=True)
    output = command_line.run("--url", f"redis://127.0.0.1:{bare.port}", "top", *words, status=1)
    assert output.lines == [] and len(output.errors) == 1
    assert "the server has no taskslot module" in output.errors[0]


def test_top_shows_at_most_the_limit_of_queues(run, client):
    """It prints that there are more."""
    for n in range(30):
        taskslot.Queue(client, f"q{n}").push("a")
    output = run("top", "--limit", "10", "--json")
    assert len(of_kind("queue", output)) == 10 and output.errors == [
        "there are more than 10 queues: the others are left out",
        "--limit shows more queues",
    ]
    assert len(of_kind("queue", run("top", "--limit", "30", "--json"))) == 30


def test_the_json_of_top_is_that_of_info(run, queue):
    """Scripts can read both in the same way. A field says whether a line is a queue or a server."""
    queue.push("a")
    queue.pause()
    printed = run("top", "--once", "--json")
    (row,), (node,) = of_kind("queue", printed), of_kind("node", printed)
    found = json.loads(run("info", "mail", "--json").lines[0])
    assert row.keys() - {"kind", "shards"} == found.keys() and row["queue"] == "mail" and row["shards"] == 0
    assert (
        row["concerns"] == found["concerns"] == [{"severity": 1, "name": "paused", "text": "paused: claims"}]
    )
    assert node["role"] == "primary" and node["totals"]["pushed"] == 1 and node["module"]
    assert [concern["name"] for concern in node["concerns"]] == ["durability"] and "fields" not in node


def test_info_says_first_what_needs_a_person(run, queue):
    """In the words of top. What is fine to know is only among the figures."""
    queue.push("a")
    assert run("info", "mail").lines[:2] == [
        "queue            mail",
        "needs attention  1 ready and nobody works",
    ]
    queue.purge("ready")
    queue.pause()
    lines = run("info", "mail").lines
    assert not any("attention" in line for line in lines) and lines[-1].split() == ["paused", "claims"]
