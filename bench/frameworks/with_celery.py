"""Celery: its workers import this file; run by itself it pushes."""

import job
from celery import Celery

app = Celery("bench", broker=job.URL)
# The guide on optimizing suggests 64 or more for many short tasks. Results need a backend, and there is none.
app.conf.update(worker_prefetch_multiplier=64, broker_connection_retry_on_startup=True)


@app.task(name="job", ignore_result=True)
def run(at):
    job.run(at)


if __name__ == "__main__":
    job.push(run.delay)
