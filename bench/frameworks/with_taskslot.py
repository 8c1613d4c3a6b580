"""taskslot: `with_taskslot.py work` is a worker process, without an argument it pushes."""

import logging
import sys

import job
import redis
import taskslot

queue = taskslot.Queue(redis.Redis.from_url(job.URL), "bench")
worker = taskslot.Worker(queue, concurrency=5)


@worker.task("job", retain_ms=0)
def run(at):
    job.run(at)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    if "work" in sys.argv:
        raise SystemExit(worker.run())
    job.push(lambda at: queue.push(run.call(at)))
