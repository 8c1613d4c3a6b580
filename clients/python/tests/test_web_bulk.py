"""Bulk jobs of the web page: the stages of a job, and jobs on real servers while others work on the queue."""

import logging
import threading

import pytest
import redis
from harness.server import wait_until
from taskslot import Queue, ShardedQueue
from taskslot._sync.wire import Wire
from taskslot.clients import Client
from taskslot.web.bulk.job import Job, Tally, WrongStage
from taskslot.web.bulk.jobs import Busy, Jobs, told
from taskslot.web.bulk.verbs import verbs_of, wording
from taskslot.web.bulk.work import Work
from taskslot.web.dead.groups import DeadGroups
from taskslot.web.queue.queue_keys import QueueKeys
from taskslot.web.queue.task_filter import TaskFilter, read_filter

MAIL = QueueKeys("mail")


@pytest.fixture
def jobs(client):
    """The jobs of an app."""
    return Jobs(client)


def dead(queue, payloads, error="ValueError: no", **options):
    """Push tasks and make them dead. Returns their ids."""
    ids = queue.push_many(payloads, **options)
    while tasks := queue.claim(1000, worker="w1"):
        queue.fail_many(tasks, error, dead=True)
    return ids


def counted(jobs, *words, **options):
    """Make a job and wait until it has counted."""
    job = jobs.make(*words, "anna", **options)
    wait_until(lambda: job.stage != "counting", "it has counted", timeout=60)
    return job


def finished(jobs, job):
    """Start a job and wait for its end."""
    jobs.start(job, "anna")
    wait_until(lambda: job.has_ended, "it has ended", timeout=60)
    return job


# ---- values


def test_a_job_goes_from_stage_to_stage_and_never_back():
    """Counting, counted, running, done; a second start is refused, and a stop of what has ended does nothing."""
    job = Job(MAIL, "retry", TaskFilter("dead"), "anna")
    with pytest.raises(WrongStage):
        job.start()
    assert job.found("mail", 3, ["1-0", "2-0", "1-0"])
    job.counted()
    assert (job.stage, job.total, job.looked) == ("counted", 2, 3)
    assert not job.found("mail", 1, ["3-0"])  # the set is fixed now
    assert job.total == 2
    job.start()
    with pytest.raises(WrongStage):
        job.start()
    assert job.slices() == [("mail", ["1-0", "2-0"])]
    job.worked(Tally(done=1, skipped=1))
    job.finished()
    assert (job.stage, job.percent, job.stop()) == ("done", 100, False)
    assert job.slices() == []  # the ids are forgotten


def test_a_job_that_found_nothing_is_done():
    """There is nothing to say yes to."""
    job = Job(MAIL, "retry", TaskFilter("dead"), "anna")
    job.counted()
    assert job.stage == "done"


def test_a_stopped_job_keeps_what_it_did_and_forgets_the_rest():
    """The command that was on its way still counts."""
    job = Job(MAIL, "retry", TaskFilter("dead"), "anna")
    job.found("mail", 9, [f"{n}-0" for n in range(9)])
    job.counted()
    job.start()
    assert job.stop()
    job.worked(Tally(done=4))
    job.finished()
    assert (job.stage, job.tally.done, job.left) == ("stopped", 4, 5)
    assert told(job) == "4 retried, 5 not looked at"


def test_a_job_holds_a_bounded_number_of_tasks(monkeypatch):
    """And says that there are more."""
    monkeypatch.setattr("taskslot.web.bulk.job.MOST_TASKS", 3)
    job = Job(MAIL, "retry", TaskFilter("dead"), "anna")
    assert not job.found("mail", 5, [f"{n}-0" for n in range(5)])
    assert (job.total, job.was_cut) == (3, True)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"state": "lost"}, "state must be one of"),
        ({"state": "dead", "match": "a", "header": "b"}, "not in both"),
        ({"state": "dead", "header_match": "b"}, "needs the header's name"),
        ({"state": "dead", "match": "x" * 257}, "256 bytes"),
        ({"state": "dead", "worker": "w1"}, "only leased"),
        ({}, "state must be one of"),
        ({"state": "ready", "error": "x"}, "only dead and delayed"),
    ],
)
def test_a_filter_that_is_none_is_refused(form, said):
    """With the reason."""
    with pytest.raises(ValueError, match=said):
        read_filter(form)


def test_each_state_has_its_verbs_and_no_others():
    """A leased task can't be retried, and a done one not cancelled."""
    assert verbs_of("dead") == ["retry", "remove", "purge"]
    assert verbs_of("leased") == ["cancel"]
    for verb, state in (("retry", "leased"), ("cancel", "done"), ("remove", "ready"), ("explode", "dead")):
        with pytest.raises(ValueError, match="can't be changed by"):
            wording(verb, state)


def test_groups_of_dead_tasks_are_bounded(monkeypatch):
    """Tasks whose errors are all different are counted as others, and none is lost from the count."""
    monkeypatch.setattr("taskslot.web.dead.groups.MOST_PATTERNS", 2)
    groups = DeadGroups()

    class Dead:
        worker = "w"

        def __init__(self, error, at):
            self.error, self.dead_since = error, at

    for at, error in enumerate(["E: a", "E: b", "E: c", "E: a", "E: d"]):
        groups.add(Dead(error, at), f"{at}-0")
    found = groups.largest_first()
    assert [(one.pattern, one.count, one.oldest_at, one.newest_at, one.example_id) for one in found] == [
        ("E: a", 2, 0, 3, "3-0"),
        ("E: b", 1, 1, 1, "1-0"),
    ]
    assert (groups.looked, groups.others) == (5, 2)


# ---- on a server


def test_a_job_counts_before_it_starts_and_changes_nothing_until_then(queue, jobs):
    """A person says yes to a number."""
    dead(queue, ["a"] * 3)
    job = counted(jobs, MAIL, "retry", TaskFilter("dead"))
    assert (job.stage, job.total) == ("counted", 3)
    assert queue.len("dead") == 3
    finished(jobs, job)
    assert (job.stage, job.tally) == ("done", Tally(done=3))
    assert (queue.len("dead"), queue.len("ready")) == (0, 3)


@pytest.mark.parametrize(
    ("chosen", "of"),
    [
        (TaskFilter("dead", match="inv*"), {"invoice"}),
        (TaskFilter("dead", header="kind", header_match="n*"), {"news"}),
        (TaskFilter("dead", group="acme"), {"grouped"}),
        (TaskFilter("dead", error="KeyError: '…'"), {"keyed"}),
        (TaskFilter("dead", match="*e*d*"), {"grouped", "keyed"}),
        (TaskFilter("dead", group="other"), set()),
    ],
    ids=["payload", "header", "group", "error", "two of them", "another group"],
)
def test_a_job_changes_what_matches_and_nothing_else(queue, jobs, chosen, of):
    """Each part of a filter, with the rest of the queue as it was."""
    dead(queue, ["invoice"])
    dead(queue, ["news"], headers={"kind": "new"})
    dead(queue, ["grouped"], group="acme")
    dead(queue, ["keyed"], "KeyError: 'x 1'\nTraceback …")
    job = counted(jobs, MAIL, "remove", chosen)
    assert job.total == len(of)
    if of:
        finished(jobs, job)
    assert (job.stage, job.tally.done) == ("done", len(of))
    left = {task.payload.decode() for task in queue.tasks("dead", payloads=True)}
    assert left == {"invoice", "news", "grouped", "keyed"} - of


def test_tasks_that_were_retried_meanwhile_are_not_removed(queue, jobs):
    """Between the count and the yes, somebody retried two tasks: one is ready, one is delayed after another failure."""
    queue.configure(backoff_base=3_600_000, backoff_jitter=0)
    ids = dead(queue, ["a", "b", "c"])
    job = counted(jobs, MAIL, "remove", TaskFilter("dead"))
    queue.retry(ids[0])
    queue.fail(queue.claim(worker="w2")[0], "again")
    queue.retry(ids[1])
    finished(jobs, job)
    assert job.tally == Tally(done=1, skipped=2)
    assert (queue.len("delayed"), queue.len("ready"), queue.len("dead")) == (1, 1, 0)
    assert told(job) == "1 removed, 2 skipped, as they had changed meanwhile"


def test_a_task_that_died_anew_since_is_not_removed(queue, jobs):
    """Its death is younger than the job, so somebody should look at it first."""
    ids = dead(queue, ["a", "b"])
    job = counted(jobs, MAIL, "remove", TaskFilter("dead"))
    queue.retry(ids[0])
    queue.fail(queue.claim()[0], "another reason", dead=True)
    finished(jobs, job)
    assert job.tally == Tally(done=1, skipped=1)
    assert queue.get(ids[0]).error == "another reason"


def test_a_task_that_died_of_another_error_since_is_not_retried_as_one_of_its_group(queue, jobs):
    """Retry these means tasks with this error."""
    ids = dead(queue, ["a", "b"], "KeyError: 'x'")
    job = counted(jobs, MAIL, "retry", TaskFilter("dead", error="KeyError: '…'"))
    queue.retry(ids[0])
    queue.fail(queue.claim()[0], "Other: x", dead=True)
    finished(jobs, job)
    assert job.tally == Tally(done=1, skipped=1)
    assert queue.get(ids[0]).state == "dead"


def test_selected_tasks_need_no_counting_and_each_says_what_became_of_it(queue, jobs):
    """Cancel by ids: one is waiting, one is leased, one is gone."""
    ids = queue.push_many(["a", "b", "c"])
    queue.claim()
    queue.cancel(ids[2])
    job = jobs.make(MAIL, "cancel", TaskFilter("ready"), "anna", ids=ids)
    assert (job.stage, job.total) == ("counted", 3)
    finished(jobs, job)
    assert job.tally == Tally(done=1, asked=1, skipped=1)
    assert queue.get(ids[0]).cancel_asked


def test_a_purge_removes_what_was_there_and_leaves_what_came_later(queue, jobs):
    """A state is emptied without reading its tasks."""
    queue.push_many(["old"] * 1200)
    job = counted(jobs, MAIL, "purge", TaskFilter("ready"))
    assert job.total == 1200
    for task in queue.claim(400):
        queue.ack(task)
    new = queue.push_many(["new"] * 400)
    finished(jobs, job)
    assert job.tally == Tally(done=800, skipped=400)
    assert [task.id for task in queue.tasks("ready", page=1000)] == new


def test_tasks_that_come_while_a_job_counts_are_not_part_of_it(queue, client):
    """So a queue that is filled faster than it is counted makes no job endless."""
    queue.push_many(["old"] * 1200)
    job = Job(MAIL, "cancel", TaskFilter("ready"), "anna")
    wire = Wire(client, 0)
    steps = Work(wire, Client(client), job).count()
    for _ in steps:
        queue.push_many(["new"] * 1000)
    assert (job.stage, job.total, queue.len("ready")) == ("counted", 1200, 4200)


def test_a_job_on_a_sharded_queue_works_on_all_shards(client, jobs):
    """Ids begin with their shard, as the queue names them."""
    queue = ShardedQueue(client, "orders", shards=4)
    dead(queue, ["a"] * 700)
    target = QueueKeys("orders", 4)
    chosen = [task.id for task in queue.tasks("dead")][::100]
    job = jobs.make(target, "remove", TaskFilter("dead"), "anna", ids=chosen)
    assert finished(jobs, job).tally == Tally(done=7)
    job = finished(jobs, counted(jobs, target, "retry", TaskFilter("dead")))
    assert job.tally == Tally(done=693)
    with pytest.raises(ValueError, match="no such shard"):
        jobs.make(target, "retry", TaskFilter("dead"), "anna", ids=["9/1-0"])


def test_one_job_at_a_time_works_on_a_queue(queue, jobs, monkeypatch):
    """The second is refused with the reason, and can be started when the first has ended. So is a fifth that counts."""
    dead(queue, ["a"] * 1100)
    monkeypatch.setattr("taskslot.web.bulk.jobs.LEAST_REST_S", 60.0)
    ids = [task.id for task in queue.tasks("dead", page=1000)]
    first = jobs.make(MAIL, "retry", TaskFilter("dead"), "anna", ids=ids)
    second = jobs.make(MAIL, "retry", TaskFilter("dead"), "ben", ids=ids)
    jobs.start(first, "anna")
    wait_until(lambda: first.tally.done == 500, "the first slice is done")
    with pytest.raises(Busy, match="another job works on this queue"):
        jobs.start(second, "ben")
    assert jobs.stop(first, "ben")
    wait_until(
        lambda: not any("taskslot job" in one.name for one in threading.enumerate()), "its thread has ended"
    )
    assert (first.stage, first.tally.done, queue.len("dead")) == ("stopped", 500, 600)
    monkeypatch.undo()
    finished(jobs, second)
    assert second.tally == Tally(done=600, skipped=500)


def test_jobs_are_bounded_and_the_oldest_that_ended_are_forgotten(queue, jobs, monkeypatch):
    """Those that nobody says yes to count until they are given up."""
    ids = dead(queue, ["a"])
    monkeypatch.setattr("taskslot.web.bulk.jobs.MOST_KEPT", 3)
    made = [jobs.make(MAIL, "retry", TaskFilter("dead"), "anna", ids=ids) for _ in range(3)]
    with pytest.raises(Busy, match="yes or a no"):
        jobs.make(MAIL, "retry", TaskFilter("dead"), "anna", ids=ids)
    jobs.stop(made[1], "anna")
    made.append(jobs.make(MAIL, "retry", TaskFilter("dead"), "anna", ids=ids))
    assert jobs.all() == [made[3], made[2], made[0]]
    assert jobs.get(made[1].id) is None
    monkeypatch.setattr("taskslot.web.bulk.jobs.ANSWER_S", -1.0)
    assert {job.stage for job in jobs.all()} == {"stopped"}
    monkeypatch.setattr("taskslot.web.bulk.jobs.MOST_ACTIVE", 0)
    with pytest.raises(Busy, match="are at work"):
        jobs.make(MAIL, "retry", TaskFilter("dead"), "anna")


def test_four_jobs_work_at_a_time(client, monkeypatch):
    """A yes to a fifth one is refused. It can be given again when one has ended."""
    jobs = Jobs(client)
    monkeypatch.setattr(jobs, "_on_thread", lambda job, run: None)
    targets = [QueueKeys(f"q{number}") for number in range(5)]
    made = [jobs.make(target, "retry", TaskFilter("dead"), "anna", ids=["1-0"]) for target in targets]
    for job in made[:4]:
        jobs.start(job, "anna")
    with pytest.raises(Busy, match="4 jobs are at work"):
        jobs.start(made[4], "anna")
    assert made[4].stage == "counted"
    jobs.stop(made[0], "anna")
    jobs.start(made[4], "anna")
    jobs.close()


@pytest.mark.slow
def test_twenty_thousand_tasks_with_workers_and_producers_meanwhile(queue, jobs, server):
    """A job ends though tasks keep dying, and acts on each of its tasks once. No task is lost or made."""
    queue.configure(
        dead_max=-1
    )  # otherwise the oldest are dropped, as new ones die faster than the job works
    dead(queue, [f"old {n}" for n in range(20_000)])
    stop = threading.Event()
    made = [0]

    def produce():
        with redis.Redis(port=server.port) as own, Queue(own, "mail") as mail:
            while not stop.is_set():
                mail.push_many(["new"] * 100)
                made[0] += 100
                stop.wait(0.005)

    def work():
        with redis.Redis(port=server.port) as own, Queue(own, "mail") as mail:
            while not stop.is_set():
                tasks = mail.claim(200)
                half = len(tasks) // 2
                mail.ack_many(tasks[:half])
                mail.fail_many(tasks[half:], "ValueError: dies anew", dead=True)

    threads = [threading.Thread(target=one) for one in (produce, work)]
    job = counted(jobs, MAIL, "retry", TaskFilter("dead", error="ValueError: no"))
    assert job.total == 20_000
    for thread in threads:
        thread.start()
    try:
        finished(jobs, job)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert (job.stage, job.tally) == ("done", Tally(done=20_000))
    info = queue.info()
    assert info.dropped == 0
    assert info.retried == 20_000
    assert info.acked + info.ready + info.leased + info.dead + info.delayed == 20_000 + made[0]


def test_a_job_waits_for_a_server_that_is_away_and_goes_on(start, monkeypatch):
    """The server is killed in mid-job and comes back with its tasks: each is retried once, and the job says so."""
    server = start(port=True, appendonly="yes", appendfsync="always")
    monkeypatch.setattr("taskslot.web.bulk.jobs.AGAIN_S", 0.05)
    monkeypatch.setattr("taskslot.web.bulk.jobs.LEAST_REST_S", 0.2)
    with redis.Redis(port=server.port) as client, Queue(client, "mail") as queue:
        jobs = Jobs(client)
        dead(queue, [f"{n}" for n in range(3000)])
        job = counted(jobs, MAIL, "retry", TaskFilter("dead"))
        jobs.start(job, "anna")
        wait_until(lambda: job.tally.done, "the first slice is done")
        server.kill9()
        wait_until(lambda: job.away_since is not None, "the job has noticed")
        assert job.stage == "running"
        server.restart()
        wait_until(lambda: job.has_ended, "it has ended", timeout=60)
        assert (job.stage, job.error) == ("done", "")
        assert job.tally.done + job.tally.unsure == 3000
        assert (queue.len("ready"), queue.len("dead"), queue.info().retried) == (3000, 0, 3000)


def test_tasks_of_a_command_whose_reply_was_lost_are_counted_as_unsure(queue, jobs, monkeypatch):
    """The server did it, and the job can't know who did. What was never sent is sent again, and is no doubt."""
    dead(queue, ["a"] * 700)
    monkeypatch.setattr("taskslot.web.bulk.jobs.AGAIN_S", 0.01)
    send, errors = (
        Work.send,
        [redis.ConnectionError("lost"), redis.ConnectionError("Error 111 connecting to x:1")],
    )

    def send_and_lose(self, key, ids, tally):
        if len(errors) == 2:
            send(self, key, ids, Tally())
        if errors:
            raise errors.pop(0)
        send(self, key, ids, tally)

    monkeypatch.setattr(Work, "send", send_and_lose)
    job = finished(jobs, counted(jobs, MAIL, "retry", TaskFilter("dead")))
    assert (job.stage, job.tally) == ("done", Tally(done=200, unsure=500))
    assert told(job) == "200 retried, 500 probably retried: a reply was lost"


def test_tasks_of_a_purge_whose_reply_was_lost_are_counted_as_unsure(queue, jobs, monkeypatch):
    """They are gone, so the next command finds fewer. That does not mean that they were skipped."""
    dead(queue, ["a"] * 700)
    monkeypatch.setattr("taskslot.web.bulk.jobs.AGAIN_S", 0.01)
    run, errors = Work.run, [redis.ConnectionError("lost")]

    def run_and_lose(self, command):
        reply = run(self, command)
        if command.words[0] == "TASK.PURGE" and errors:
            raise errors.pop()
        return reply

    monkeypatch.setattr(Work, "run", run_and_lose)
    job = finished(jobs, counted(jobs, MAIL, "purge", TaskFilter("dead")))
    assert (job.stage, job.tally, queue.len("dead")) == ("done", Tally(done=200, unsure=500), 0)


def test_a_job_that_is_refused_says_why(client, server, jobs, queue):
    """A user without the right to retry: the count works, the job fails, nothing changes."""
    dead(queue, ["a"])
    client.execute_command("ACL", "SETUSER", "reader", "on", ">pw", "~*", "+@all", "-task.retry")
    with redis.Redis(port=server.port, username="reader", password="pw") as reader:
        few = Jobs(reader)
        job = counted(few, MAIL, "retry", TaskFilter("dead"))
        assert job.total == 1
        finished(few, job)
    assert job.stage == "failed"
    assert "task.retry" in job.error.lower()
    assert queue.len("dead") == 1
    client.set("text", "x")
    job = counted(jobs, QueueKeys("text"), "retry", TaskFilter("dead"))
    assert job.stage == "failed"
    assert "wrong kind" in job.error


def test_held_tasks_that_wait_for_many_others_are_taken_in_smaller_slices(queue, jobs):
    """The server refuses a command for tasks that wait for more than 10,000 others together."""
    first = queue.push_many(["a"] * 600)
    for _ in range(40):
        queue.push("b", after=first)
    job = finished(jobs, counted(jobs, MAIL, "cancel", TaskFilter("held")))
    assert (job.stage, job.tally) == ("done", Tally(done=40))


def test_a_job_says_which_tasks_it_is_about(queue, jobs, caplog):
    """In the log and on its page: the error, or the first of the tasks that were selected."""
    ids = dead(queue, ["a"] * 7)
    caplog.set_level(logging.INFO, "taskslot.web.audit")
    few = jobs.make(MAIL, "retry", TaskFilter("dead"), "anna", ids=ids[:2])
    many = jobs.make(MAIL, "retry", TaskFilter("dead"), "anna", ids=ids)
    assert few.which() == f"dead, 2 selected: {ids[0]}, {ids[1]}"
    assert many.which() == f"dead, 7 selected: {', '.join(ids[:5])} and 2 more"
    by_error = jobs.make(MAIL, "remove", TaskFilter("dead", error="E: no user #"), "anna")
    wait_until(lambda: by_error.has_ended or by_error.stage == "counted", "it has counted")
    assert by_error.which() == "dead, error E: no user #"
    jobs.start(few, "anna")
    assert f"(retry dead, 2 selected: {ids[0]}, {ids[1]})" in caplog.messages[-1] + caplog.messages[0]


def test_the_log_says_who_did_what_to_how_many_and_shows_no_payload(queue, jobs, caplog):
    """One line at the start and one at the end, in which a hostile name is escaped."""
    dead(queue, ["secret"] * 2)
    caplog.set_level(logging.INFO, "taskslot.web.audit")
    job = jobs.make(MAIL, "retry", TaskFilter("dead", match="sec*"), "an\nna", ids=[])
    wait_until(lambda: job.stage == "counted", "it has counted")
    jobs.start(job, "an\nna")
    wait_until(lambda: any("done: 2 retried" in line for line in caplog.messages), "the end is in the log")
    assert len(caplog.messages) == 2
    for line in caplog.messages:
        assert "\n" not in line
        assert "'an\\nna' on 'mail'" in line
        assert "(retry dead, payload matches …)" in line
        assert "sec" not in line
    assert "starts to retry 2 tasks" in caplog.messages[0]
