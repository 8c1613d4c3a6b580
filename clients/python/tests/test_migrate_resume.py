"""Moving from RQ, BullMQ and Celery: whatever stops the tool and whenever, no job is lost and none is pushed twice."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter

import pytest
import redis
from harness.old_systems import some_bullmq_jobs, some_celery_tasks, some_rq_jobs
from harness.programs import OF_THIS_TREE
from harness.server import wait_until
from taskslot import Queue, QueueFull, ShardedQueue
from taskslot.migrate import Mover, look
from taskslot.migrate.bullmq import BullmqSource
from taskslot.migrate.celery import CelerySource
from taskslot.migrate.rq import RqSource

SYSTEMS = {
    "rq": (RqSource, some_rq_jobs),
    "bullmq": (BullmqSource, some_bullmq_jobs),
    "celery": (CelerySource, some_celery_tasks),
}
HOUR_MS = 3_600_000


class Killed(BaseException):
    """Stands for a kill: no code of the tool handles it."""


class Fuse:
    """Counts the moments before and after each command, and kills at one of them."""

    def __init__(self, at=-1):
        self.at, self.moments = at, 0

    def burn(self):
        if self.moments == self.at:
            raise Killed
        self.moments += 1


class Mortal(redis.Redis):
    """A client whose fuse is asked before and after each command."""

    fuse = Fuse()

    def execute_command(self, *words, **options):
        self.fuse.burn()
        reply = super().execute_command(*words, **options)
        self.fuse.burn()
        return reply


def mover_of(source, client, **options):
    """A run of the tool into the queue `tasks`."""
    return Mover(source, Queue(client, "tasks"), remember_ms=HOUR_MS, **{"step": 2, **options})


def pushed(client, name="tasks"):
    """How often each payload is in the queue."""
    return payloads_in(Queue(client, name))


def payloads_in(queue):
    """How often each payload is ready or delayed."""
    tasks = [task for state in ("ready", "delayed") for task in queue.tasks(state, payloads=True)]
    return Counter(task.payload.decode() for task in tasks)


def snapshot(client):
    """All keys of a database, to be restored."""
    keys = client.keys("*")
    return [(key, max(0, client.pttl(key)), client.dump(key)) for key in keys]


def restore(client, keys):
    """Empty the database and restore the keys."""
    client.flushall()
    for key, ttl, data in keys:
        client.restore(key, ttl, data)


@pytest.fixture(params=SYSTEMS)
def system(request, server):
    """The source class of a system, and the payloads of the jobs that the system itself has put into `mail`."""
    make, fill = SYSTEMS[request.param]
    return make, fill(server.port)


@pytest.fixture
def rq_jobs(server):
    """The payloads of jobs in RQ's queue `mail`."""
    return some_rq_jobs(server.port)


def test_a_run_that_is_killed_at_any_command_is_completed_by_the_next_one(system, server, client):
    """Before and after each command in turn. Each job is then in the queue once, and what can't be moved is left."""
    make, payloads = system
    keys, moments = snapshot(client), 0
    while True:
        with Mortal(port=server.port) as mortal:
            mortal.fuse = Fuse(at=moments)
            try:
                mover_of(make(mortal, "mail"), mortal).run()
                break
            except Killed:
                pass
        tally = mover_of(make(client, "mail"), client).run()
        assert pushed(client) == Counter(payloads), moments
        assert (tally.left_count, tally.staged) == (1, []), moments
        assert not client.keys("taskslot:migrate:*"), moments
        restore(client, keys)
        moments += 1
    assert moments > 40 and pushed(client) == Counter(payloads)


def test_what_was_pushed_before_a_kill_is_not_pushed_again_once_it_is_finished(rq_jobs, server, client):
    """A worker can be faster than the next run. The token is held although the task is gone."""
    source = RqSource(client, "mail")
    with Mortal(port=server.port) as mortal:
        mover = mover_of(RqSource(mortal, "mail"), client)
        mover.staging.drop = lambda staged: (_ for _ in ()).throw(Killed)
        with pytest.raises(Killed):
            mover.run()
    with Queue(client, "tasks") as queue:
        first = queue.claim(10)
        assert len(first) == 2 and queue.ack_many(first)
        tally = mover_of(source, client).run()
        assert (tally.moved, tally.resumed) == (5, 2)
        assert pushed(client) == Counter(rq_jobs[2:])


def test_a_killed_process_is_resumed_by_the_same_command(server, client):
    """The process gets SIGKILL as soon as some jobs have come, several times."""
    for number in range(1500):
        client.hset(
            f"rq:job:{number}", mapping={"data": f'["shop.send", null, [{number}], {{}}]', "status": "queued"}
        )
    client.rpush("rq:queue:mail", *range(1500))
    client.sadd("rq:queues", "rq:queue:mail")
    command = [sys.executable, "-m", "taskslot", "migrate", "rq", "mail", "tasks"]
    env = {**os.environ, **OF_THIS_TREE, "TASKSLOT_URL": f"redis://127.0.0.1:{server.port}"}
    queue = Queue(client, "tasks")
    for so_many in (1, 600):
        program = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
        wait_until(lambda so_many=so_many: queue.len() > so_many, "jobs have come")
        program.send_signal(signal.SIGKILL)
        assert program.wait() == -signal.SIGKILL
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and "left" not in done.stdout, done
    found = payloads_in(queue)
    assert len(found) == 1500 and set(found.values()) == {1}
    assert set(client.keys("*")) == {b"rq:queues", b"tasks"}


def test_jobs_keep_their_order(client):
    """Over several steps, and past one that stays."""
    for number in range(9):
        data = f'["send", null, [{number}], {{}}]' if number != 3 else "?"
        client.hset(f"rq:job:{number}", mapping={"data": data, "status": "queued"})
        client.rpush("rq:queue:mail", number)
    assert mover_of(RqSource(client, "mail"), client).run().moved == 8
    claimed = [json.loads(task.payload)["args"][0] for task in Queue(client, "tasks").claim(10)]
    assert claimed == [0, 1, 2, 4, 5, 6, 7, 8]


def test_a_full_queue_stops_the_run_and_the_rest_stays_in_its_place(system, server, client):
    """The jobs that were taken but not pushed are the next ones again, in their order."""
    make, payloads = system
    places = make(client, "mail").places()
    before = [client.lrange(place.key, 0, -1) for place in places if place.kind != "scores"]
    with Queue(client, "tasks") as queue:
        queue.configure(max_len=1)
        with pytest.raises(QueueFull):
            mover_of(make(client, "mail"), client, step=100).run()
        after = [client.lrange(place.key, 0, -1) for place in places if place.kind != "scores"]
        assert sum(map(len, after)) == sum(map(len, before)) - 1
        assert [one for one in before[0] if one in after[0]] == after[0]
        queue.configure(max_len=100)
        tally = mover_of(make(client, "mail"), client).run()
        assert (tally.moved, tally.resumed) == (4, 0)
    assert pushed(client) == Counter(payloads)


def test_a_job_that_the_target_refuses_goes_back_and_the_others_move(client, server):
    """A retention of more than a hundred years, for example."""
    some_rq_jobs(server.port)
    (job,) = client.lrange("rq:queue:mail", 1, 1)
    client.hset(f"rq:job:{job.decode()}", "result_ttl", 10**12)
    tally = mover_of(RqSource(client, "mail"), client, step=100).run()
    assert tally.moved == 4 and tally.staged == []
    (reason,) = [reason for reason in tally.left if reason.startswith("the target refuses it")]
    assert tally.left[reason] == [job.decode()] and "RETAIN" in reason
    assert client.lrange("rq:queue:mail", 0, 0) == [job] and client.exists(f"rq:job:{job.decode()}")


def test_a_job_that_an_old_worker_takes_meanwhile_is_left_to_it(system, client):
    """The worker is faster than the tool, between its look and its taking."""
    make, payloads = system
    source = make(client, "mail")
    place, taken = source.places()[0], []
    of_source = source.jobs

    def jobs(where, entries):
        found = of_source(where, entries)
        if not taken:
            taken.append(client.lpop(place.key) if place.kind == "head" else client.rpop(place.key))
        return found

    source.jobs = jobs
    tally = mover_of(source, client).run()
    assert tally.moved == 4 and pushed(client) == Counter(payloads[1:])
    assert taken and (make is CelerySource or client.exists(body_key(make, taken[0])))


def body_key(make, job):
    """The hash of a job."""
    return f"{'rq:job' if make is RqSource else 'bull:mail'}:{job.decode()}"


def test_a_job_whose_data_changes_meanwhile_is_read_again(client, server):
    """What is pushed is what the job held when it was taken."""
    some_rq_jobs(server.port)
    source = RqSource(client, "mail")
    of_source, changed = source.jobs, []

    def jobs(where, entries):
        found = of_source(where, entries)
        if not changed:
            changed.append(entries[0].member.decode())
            client.hset(f"rq:job:{changed[0]}", "data", '["shop.send", null, ["changed"], {}]')
        return found

    source.jobs = jobs
    assert mover_of(source, client).run().moved == 5
    assert pushed(client)['{"task":"shop.send","args":["changed"],"kwargs":{}}'] == 1


def test_an_interrupted_run_is_finished_with_the_same_target_only(rq_jobs, client):
    """Another queue does not know which jobs were pushed."""
    mover = mover_of(RqSource(client, "mail"), client)
    mover.staging.drop = lambda staged: (_ for _ in ()).throw(Killed)
    with pytest.raises(Killed):
        mover.run()
    with (
        Queue(client, "others") as others,
        pytest.raises(ValueError, match="jobs out for tasks: first finish it"),
    ):
        Mover(RqSource(client, "mail"), others, remember_ms=HOUR_MS).run()
    mover_of(RqSource(client, "mail"), client).run()
    assert pushed(client) == Counter(rq_jobs)


def test_a_second_run_stops_the_first_one(rq_jobs, client):
    """They never work on the same job in different ways."""
    second = mover_of(RqSource(client, "mail"), client)
    first = mover_of(RqSource(client, "mail"), client, on_moved=lambda number: second.staging.begin("tasks"))
    with pytest.raises(redis.ResponseError, match="another run of this command has begun"):
        first.run()
    assert second.run().left_count == 1
    assert pushed(client) == Counter(rq_jobs)


def test_a_limit_moves_so_many_and_a_dry_run_changes_nothing(system, client):
    """The dry run counts what the run then moves."""
    make, payloads = system
    before = sorted(snapshot(client))
    found = look(make(client, "mail"))
    assert (found.moved, found.left_count) == (5, 1)
    assert look(make(client, "mail"), limit=2).moved == 2
    assert [(key, data) for key, _, data in sorted(snapshot(client))] == [
        (key, data) for key, _, data in before
    ]
    assert mover_of(make(client, "mail"), client, limit=3).run().moved == 3
    assert sum(pushed(client).values()) == 3
    assert mover_of(make(client, "mail"), client, limit=3).run().moved == 2
    assert pushed(client) == Counter(payloads)


def test_the_old_system_may_be_on_another_server_and_the_target_sharded(rq_jobs, server, client, start):
    """The other server needs no module. The shards together have each job once."""
    with redis.Redis(port=start(port=True).port) as other, ShardedQueue(other, "tasks", shards=4) as queue:
        tally = Mover(RqSource(client, "mail"), queue, remember_ms=HOUR_MS).run()
        assert tally.moved == 5 and queue.len() == 5
        assert payloads_in(queue) == Counter(rq_jobs)


def test_a_target_of_another_type_is_refused_before_a_job_is_taken(rq_jobs, client):
    """The key of the old queue itself, for example."""
    queue = Queue(client, "rq:queue:mail")
    with pytest.raises(ValueError, match="rq:queue:mail is a key of another type"):
        Mover(RqSource(client, "mail"), queue, remember_ms=HOUR_MS).run()
    assert client.llen("rq:queue:mail") == 4 and not client.keys("taskslot:migrate:*")
