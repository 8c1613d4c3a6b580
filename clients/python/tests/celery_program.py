"""A Celery app for tests. Its tasks tell the list `ran` what they do. The server's port is in the environment."""

import os
import time
from pathlib import Path

import redis
import taskslot.integrations.celery  # noqa: F401  the installed entry point may be another tree's
from celery import Celery
from celery.exceptions import Reject

PORT = os.environ.get("TASKSLOT_TEST_PORT", "6379")
app = Celery("celery_program", broker=f"taskslot://127.0.0.1:{PORT}/0", backend=f"redis://127.0.0.1:{PORT}/0")
app.conf.update(
    broker_transport_options={"lease_ms": int(os.environ.get("TASKSLOT_TEST_LEASE_MS", "1000"))},
    broker_connection_retry_on_startup=True,
    task_acks_late=True,
    worker_prefetch_multiplier=1,
)
heard = redis.Redis(port=int(PORT))


@app.task
def say(text):
    """Tell the text."""
    heard.rpush("ran", text)
    return text


@app.task
def wait_for(key, text):
    """Tell the text, and wait until the list `key` has something."""
    heard.rpush("ran", text)
    while not heard.exists(key):
        time.sleep(0.01)
    heard.rpush("ran", f"{text} ended")


@app.task(ignore_result=True)
def wait_in(folder):
    """The same without a server: write to the file `ran` of a folder, and wait until it has a file `end`."""
    for word in ("begun", "ended"):
        with open(Path(folder, "ran"), "a") as file:
            print(word, file=file)
        while not Path(folder, "end").exists():
            time.sleep(0.01)


@app.task(bind=True)
def try_again(self, text):
    """Fail twice."""
    heard.rpush("ran", f"{text} {self.request.retries}")
    if self.request.retries < 2:
        raise self.retry(countdown=0.05)


@app.task(bind=True)
def try_later(self):
    """Fail, and be tried again in an hour."""
    raise self.retry(countdown=3600)


@app.task
def refuse():
    """Reject the message."""
    raise Reject("not for me", requeue=False)
