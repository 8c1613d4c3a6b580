"""The studio with Celery, whose broker is taskslot. `python celery_app.py 400 120 3` sends its tasks."""

import os
import sys
import time

import ledger
import redis
from celery import Celery, chord
from celery.schedules import schedule
from kombu.exceptions import OperationalError

URL = os.environ["STUDIO_URL"]

app = Celery("celery_app", broker=URL.replace("redis://", "taskslot://"), backend=URL)
app.conf.update(
    task_acks_late=True,
    task_default_queue="studio",
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    # Otherwise a retry that can't be published for a second makes the task dead.
    task_publish_retry_policy={"max_retries": 100, "interval_step": 0.2, "interval_max": 1},
    # Otherwise a task that ends while the server is away can't store its result, and its chord fails.
    result_backend_always_retry=True,
    broker_transport_options={"lease_ms": 3000},
    # A studio would say crontab(hour=2, minute=30).
    beat_schedule={"nightly": {"task": "celery_app.nightly", "schedule": schedule(2.0)}},
)


@app.task
def thumbnail(picture, width=200):
    """Make a thumbnail."""
    with ledger.run("thumbnail", picture):
        time.sleep(0.05)
    return f"{picture} at {width}"


@app.task(autoretry_for=(ConnectionError,), max_retries=10, retry_backoff=True, retry_backoff_max=2)
def mail(to):
    """Send a mail; tried again if the mail server can't be reached."""
    with ledger.run("mail", to):
        ledger.smtp(to)


@app.task
def nightly():
    """Clean up."""
    with ledger.run("nightly", "clean"):
        pass


@app.task
def album_ready(thumbnails, album):
    """Tell the customer that an album is ready."""
    with ledger.run("album", album):
        return f"{album}: {len(thumbnails)}"


def produce(thumbnails, mails, albums):
    """Send everything. While the server is away, each call keeps trying."""
    for n in range(max(thumbnails, mails)):
        if n < thumbnails:
            trying(lambda n=n: thumbnail.delay(f"{n}.png"))
        if n < mails:
            trying(lambda n=n: mail.delay(f"{n}@example.org"))
        if n % 100 == 50 and n // 100 < albums:
            trying(lambda n=n: album(f"album-{n // 100}"))
        time.sleep(0.02)


def album(name):
    """Send the thumbnails of an album as a chord: its callback needs the result backend."""
    chord(thumbnail.s(f"{name}/{n}.png") for n in range(20))(album_ready.s(name))


def trying(send):
    """Send, again and again while the server is away."""
    while True:
        try:
            return send()
        except (OperationalError, redis.RedisError):
            time.sleep(0.5)


if __name__ == "__main__":
    produce(*map(int, sys.argv[1:]))
