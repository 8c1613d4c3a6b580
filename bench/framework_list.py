"""The frameworks: how each is started in the shape of the benchmark, and what it promises if a worker is killed.

The shape is two worker processes with five jobs at a time each. Each framework is set up as its own documents suggest
for that, and none keeps results of finished jobs or logs each job.
"""

from __future__ import annotations

from dataclasses import dataclass

from framework_homes import ARQ, NODE, PYTHON, Home

PLACES = 10


@dataclass(frozen=True)
class Framework:
    """One framework. A command starts with the name of a program of its environment."""

    name: str
    home: Home
    packages: tuple[str, ...]
    # The commands of the worker processes, and of the process that pushes.
    work: tuple[tuple[str, ...], ...]
    push: tuple[str, ...]
    # How it is set up, and what happens to a running job whose worker is killed. Neither ends in a full stop.
    how: str
    promise: str
    needs_module: bool = False
    # The part of the jobs that it gets, because it does so few a second.
    share: float = 1.0


def python(module: str, *args: str) -> tuple[str, ...]:
    """A command that runs a module."""
    return ("python", "-m", module, *args)


TASKSLOT = Framework(
    name="taskslot",
    home=PYTHON,
    packages=("redis", "hiredis"),
    work=(python("with_taskslot", "work"),) * 2,
    push=python("with_taskslot"),
    how="2 × `Worker(queue, concurrency=5)`, a sync function with `retain_ms=0`",
    promise="At least once. The server ends the lease (30 s) and hands the task to another worker",
    needs_module=True,
)

RQ_PROMISE = "At most once. The job is moved to the failed ones, unless it was pushed with `Retry`"

FRAMEWORKS = (
    TASKSLOT,
    Framework(
        name="Huey",
        home=PYTHON,
        packages=("huey", "redis", "hiredis"),
        work=(("huey_consumer", "with_huey.huey", "-k", "thread", "-w", "5", "-q"),) * 2,
        push=python("with_huey"),
        how="2 × `huey_consumer -k thread -w 5 -q`, RedisHuey (it blocks in BRPOP)",
        promise="At most once. The job is lost, as it leaves the server before it runs",
    ),
    Framework(
        name="Dramatiq",
        home=PYTHON,
        packages=("dramatiq", "redis", "hiredis"),
        work=(("dramatiq", "with_dramatiq", "-p", "2", "-t", "5"),),
        push=python("with_dramatiq"),
        how="`dramatiq -p 2 -t 5`, RedisBroker with its default middleware",
        promise="At least once. Other workers requeue its jobs after 60 s without a heartbeat",
    ),
    Framework(
        name="Celery",
        home=PYTHON,
        packages=("celery", "kombu", "redis", "hiredis"),
        work=tuple(
            python("celery", "-A", "with_celery", "worker", "-P", "threads", "-c", "5", "-n", name)
            + ("--loglevel", "WARNING")
            for name in ("w1", "w2")
        ),
        push=python("with_celery"),
        how="2 × `celery worker -P threads -c 5`, no result backend",
        promise="At most once. The job is acked just before it runs (`acks_late` is off by default); jobs that were "
        "only prefetched come back after an hour",
    ),
    Framework(
        name="RQ",
        home=PYTHON,
        packages=("rq", "redis", "hiredis"),
        work=(("rq", "worker-pool", "-n", "10", "-q", "-u", "{url}", "bench"),),
        push=python("with_rq"),
        how="`rq worker-pool -n 10`: its workers do one job at a time, each in a forked process; `result_ttl=0`",
        promise=RQ_PROMISE,
        share=0.05,
    ),
    Framework(
        name="RQ SimpleWorker",
        home=PYTHON,
        packages=("rq", "redis", "hiredis"),
        work=(
            ("rq", "worker-pool", "-n", "10", "-q", "-w", "rq.worker.SimpleWorker", "-u", "{url}", "bench"),
        ),
        push=python("with_rq"),
        how="the same without forks, `-w rq.worker.SimpleWorker`",
        promise=RQ_PROMISE,
        share=0.25,
    ),
    Framework(
        name="arq",
        home=ARQ,
        packages=("arq", "redis", "hiredis"),
        work=(("arq", "with_arq.WorkerSettings", "--custom-log-dict", "with_arq.QUIET"),) * 2,
        push=python("with_arq"),
        how="2 × `arq`, `max_jobs=5`, `poll_delay=0.01` (0.5 s by default), `keep_result=0`; a coroutine",
        promise="At least once. The job stays on the server until it is done, and runs again 310 s after it began",
    ),
    Framework(
        name="taskiq",
        home=PYTHON,
        packages=("taskiq", "taskiq-redis", "redis", "hiredis"),
        work=(
            ("taskiq", "worker", "--workers", "2", "--max-async-tasks", "5", "--log-level", "WARNING")
            + ("with_taskiq:broker",),
        ),
        push=python("with_taskiq"),
        how="`taskiq worker --workers 2 --max-async-tasks 5`, RedisStreamBroker without `maxlen` (acked entries stay "
        "in the stream); a coroutine",
        promise="At least once. Other workers claim entries that are pending for 10 min",
    ),
    Framework(
        name="BullMQ",
        home=NODE,
        packages=("bullmq", "ioredis"),
        work=(("node", "with_bullmq.js", "work"),) * 2,
        push=("node", "with_bullmq.js"),
        how="2 × `new Worker(…, {concurrency: 5})`, `removeOnComplete: true`; JavaScript, an async function",
        promise="At least once. Other workers look every 30 s for jobs whose lock (30 s) ended, and put them back",
    ),
)
