"""A worker program for tests that send signals: worker_program.py PORT GRACE_MS LEASE_MS TOLD_S.

TOLD_S is how long the worker waits for functions that were asked to stop. The functions set a key when they begin, and
wait until the test sets another key.
"""

import asyncio
import signal
import sys

import redis
import taskslot.worker.runner
from taskslot import Queue, Worker, current

PORT, GRACE_MS, LEASE_MS, taskslot.worker.runner.TOLD_S = map(int, sys.argv[1:])

client = redis.Redis(port=PORT)
worker = Worker(Queue(client, "mail"), concurrency=2, grace_ms=GRACE_MS, lease_ms=LEASE_MS)


def goes_on():
    """Whether the test lets the functions continue."""
    return client.get("go") is not None


@worker.task("waits")
def waits():
    """Wait until the test lets it continue, or it should stop."""
    client.incr("came")
    while not goes_on() and not current().wait(0.01):
        pass
    client.incr("went")
    current().check()


@worker.task("waits_async")
async def waits_async():
    """Like `waits`, but as a coroutine, which cleans up at the end."""
    client.incr("came")
    try:
        while not goes_on():
            await asyncio.sleep(0.01)
    finally:
        await asyncio.sleep(0.1)  # cleaning up takes a while
        client.incr("went")


@worker.task("hangs")
def hangs():
    """Ignore all requests to stop."""
    client.incr("came")
    while not goes_on():
        pass


async def serve():
    """Run the worker beside other tasks of an event loop."""
    return await worker.serve()


if __name__ == "__main__":
    before = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)]
    status = asyncio.run(serve()) if client.get("serve") else worker.run()
    assert [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)] == before
    print("ended", flush=True)
    sys.exit(status)
