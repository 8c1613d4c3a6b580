"""Dramatiq: its workers import this file; run by itself it pushes."""

import dramatiq
import job
from dramatiq.brokers.redis import RedisBroker

dramatiq.set_broker(RedisBroker(url=job.URL))


@dramatiq.actor
def run(at):
    job.run(at)


if __name__ == "__main__":
    job.push(run.send)
