"""Celery: its workers import this file; run by itself it pushes."""

import job
from celery import Celery

app = Celery("bench", broker=job.URL)
app.conf.broker_connection_retry_on_startup = True  # the default, which Celery wants to be said


@app.task(name="job", ignore_result=True)
def run(at):
    job.run(at)


if __name__ == "__main__":
    job.push(run.delay)
