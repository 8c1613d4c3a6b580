"""The studio with Dramatiq, whose broker is taskslot. `python dramatiq_app.py 400 120 3` sends its messages."""

import os
import sys
import time

import dramatiq
import ledger
import redis
from dramatiq.middleware import GroupCallbacks
from dramatiq.rate_limits.backends import RedisBackend
from taskslot.integrations.dramatiq import TaskslotBroker

client = redis.Redis.from_url(os.environ["STUDIO_URL"])
broker = TaskslotBroker(client, lease_ms=3000)
broker.add_middleware(GroupCallbacks(RedisBackend(client=client)))
dramatiq.set_broker(broker)


@dramatiq.actor(max_retries=10)
def thumbnail(picture, width=200):
    """Make a thumbnail."""
    with ledger.run("thumbnail", picture):
        time.sleep(0.05)


@dramatiq.actor(max_retries=10, min_backoff=200, max_backoff=2000)
def mail(to):
    """Send a mail; tried again if the mail server can't be reached."""
    with ledger.run("mail", to):
        ledger.smtp(to)


@dramatiq.actor
def nightly():
    """Clean up."""
    with ledger.run("nightly", "clean"):
        pass


@dramatiq.actor
def album_ready(album):
    """Tell the customer that an album is ready."""
    with ledger.run("album", album):
        pass


def produce(thumbnails, mails, albums):
    """Send everything. While the server is away, each call keeps trying."""
    for n in range(max(thumbnails, mails)):
        if n < thumbnails:
            trying(thumbnail.send, f"{n}.png")
        if n < mails:
            trying(mail.send, f"{n}@example.org")
        if n % 100 == 50 and n // 100 < albums:
            trying(send_album, f"album-{n // 100}")
        time.sleep(0.02)


def send_album(album):
    """Send the thumbnails of an album as a group with a callback."""
    group = dramatiq.group(thumbnail.message(f"{album}/{n}.png") for n in range(20))
    group.add_completion_callback(album_ready.message(album))
    group.run()


def trying(send, argument):
    """Send, again and again while the server is away."""
    while True:
        try:
            return send(argument)
        except (dramatiq.errors.ConnectionError, redis.RedisError):
            time.sleep(0.5)


def schedule():
    """Let the server push a message of `nightly` again and again: Dramatiq has no scheduler of its own."""
    # A studio would say cron="30 2 * * *", tz="Europe/Berlin".
    queue = broker.queues["default"]
    queue.schedule("nightly", nightly.message().encode(), every_ms=2000)


if __name__ == "__main__":
    if sys.argv[1:] == ["schedule"]:
        schedule()
    else:
        produce(*map(int, sys.argv[1:]))
