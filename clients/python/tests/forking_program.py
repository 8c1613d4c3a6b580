"""A worker program whose functions fork: forking_program.py PORT run, or forking_program.py PORT serve."""

import asyncio
import multiprocessing
import os
import sys
import threading
import time

import redis
from taskslot import Queue, Worker, current

PORT, HOW = int(sys.argv[1]), sys.argv[2]

client = redis.Redis(port=PORT)
worker = Worker(Queue(client, "mail"), concurrency=4, lease_ms=10_000)


# Python's multiprocessing reaps the children of all threads whenever it starts one, so two functions that use it at the
# same time can take each other's exit status.
MULTIPROCESSING = threading.Lock()


def child_ended(pid):
    """Wait for a child, and return its exit status."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def exits():
    """The child calls sys.exit."""
    if (pid := os.fork()) == 0:
        sys.exit(3)
    return child_ended(pid)


def returns():
    """The child returns from the function."""
    if (pid := os.fork()) == 0:
        return "child"
    return child_ended(pid)


def raises():
    """The child raises an exception."""
    if (pid := os.fork()) == 0:
        raise ValueError("in the child")
    return child_ended(pid)


def says():
    """The child prints. Its last output is not lost."""
    if (pid := os.fork()) == 0:
        print("from the child")
        sys.exit("over")
    return child_ended(pid)


def outlives():
    """The child is still running when the parent has finished the task."""
    client.incr("came")
    if os.fork() == 0:
        while not client.exists("go"):
            time.sleep(0.01)
        sys.exit(0)
    return "parent"


def tells_progress():
    """The child can't report progress and gets an error. It can check and wait."""
    if (pid := os.fork()) == 0:
        try:
            current().progress("half")
        except RuntimeError:
            sys.exit(0 if not current().wait(0.01) and current().task.id else 4)
    return child_ended(pid)


def is_terminated():
    """A signal ends a child of multiprocessing, because it doesn't have the worker's handlers."""
    with MULTIPROCESSING:
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        child.start()
        child.terminate()
        child.join()
        return child.exitcode


def maps():
    """A pool of processes works."""
    with MULTIPROCESSING, multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(abs, [-1, -2, -3])


def pushes():
    """The child uses its parent's queue, with its own connections."""
    if (pid := os.fork()) == 0:
        worker.queue.push("not a call", delay_ms=3_600_000)
        sys.exit(0)
    return child_ended(pid)


async def exits_async():
    """The child of a coroutine calls sys.exit."""
    return exits()


async def returns_async():
    """The child of a coroutine returns."""
    await asyncio.sleep(0)
    return returns()


async def awaits():
    """The child awaits, and would continue in the event loop."""
    later = asyncio.get_running_loop().create_future()
    if (pid := os.fork()) == 0:
        await later
    return await asyncio.to_thread(child_ended, pid)


FUNCTIONS = [
    exits, returns, raises, says, outlives, tells_progress, is_terminated, maps, pushes, exits_async, returns_async,
    awaits,
]  # fmt: skip

if __name__ == "__main__":
    multiprocessing.set_start_method("fork")
    for one in FUNCTIONS:
        worker.task(one.__name__)(one)
    status = worker.run() if HOW == "run" else asyncio.run(worker.serve())
    print("ended", flush=True)
    sys.exit(status)
