"""Workers of the project's own library, on redis-py: the class `Worker`, and a program on `AsyncQueue`."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.cluster import ClusterNode as AsyncNode
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.retry import Retry
from redis.sentinel import Sentinel
from taskslot import AsyncQueue, Fail, GiveBack, Queue, TaskslotError, Worker, current

from chaos.load.addresses import PASSING, Addresses, primary_of
from chaos.load.plan import FUNCTION, LIBRARY, Options, key
from chaos.load.stopping import Stop

Run = Callable[[], None]
CONCURRENCY = 4
BLOCK_MS = 400
SOCKET: dict[str, Any] = {"protocol": 2, "socket_timeout": 2, "socket_connect_timeout": 1}


def sync_client(addresses: Addresses, name: str) -> Any:
    """A client as an application would make it for these servers."""
    retry: dict[str, Any] = {"retry": Retry(NoBackoff(), 0)}
    if addresses["kind"] == "sentinel":
        watched = Sentinel([tuple(place) for place in addresses["sentinels"]], socket_timeout=1, protocol=2)
        return watched.master_for(addresses["name"], **SOCKET, **retry)
    if addresses["kind"] == "cluster":
        return redis.RedisCluster(
            startup_nodes=[ClusterNode(*place) for place in addresses["nodes"]], **SOCKET
        )
    place = primary_of(addresses, name)
    return redis.Redis(host=place[0], port=place[1], **SOCKET, **retry) if place else None


def async_client(addresses: Addresses, name: str) -> Any:
    """The same for asyncio."""
    retry: dict[str, Any] = {"retry": AsyncRetry(NoBackoff(), 0)}
    if addresses["kind"] == "sentinel":
        watched = AsyncSentinel(
            [tuple(place) for place in addresses["sentinels"]], socket_timeout=1, protocol=2
        )
        return watched.master_for(addresses["name"], **SOCKET, **retry)
    if addresses["kind"] == "cluster":
        nodes = [AsyncNode(*place) for place in addresses["nodes"]]
        return redis.asyncio.RedisCluster(startup_nodes=nodes, **SOCKET)
    place = primary_of(addresses, name)
    return redis.asyncio.Redis(host=place[0], port=place[1], **SOCKET, **retry) if place else None


def moves(addresses: Addresses) -> bool:
    """Whether a client of redis-py can't follow the primary by itself: then it is made anew now and then."""
    return addresses["kind"] in ("nodes", "pointed")


def outcome(rng: random.Random) -> float:
    """End a task as a function does: with a value, or an exception. Returns how long it works, in seconds."""
    drawn = rng.random()
    if drawn < 0.06:
        raise Fail("the load says so", delay_ms=rng.choice((None, 50)))
    if drawn < 0.1:
        raise GiveBack(delay_ms=rng.choice((None, 50)))
    return rng.uniform(0, 0.03) if drawn < 0.4 else 0.0


# ---- the class Worker


def worker(name: str, addresses: Addresses, options: Options, seed: str, stop: Stop, tag: str) -> list[Run]:
    """A `Worker` with sync and async functions, until told to stop."""
    logging.getLogger("taskslot").setLevel(logging.CRITICAL)
    rng = random.Random(f"{seed} {name}")
    queue = key(tag, LIBRARY)

    def run() -> None:
        while not stop.is_set():
            try:
                work_for_a_while(name, addresses, queue, options, rng, stop)
            except (TaskslotError, *PASSING):
                stop.wait(0.1)

    return [run]


def work_for_a_while(
    name: str, addresses: Addresses, queue: str, options: Options, rng: random.Random, stop: Stop
) -> None:
    """Run a worker until the load stops; one that can't follow the primary, until the primary is another."""
    client = sync_client(addresses, queue)
    if client is None:
        stop.wait(0.1)
        return
    made = Worker(
        Queue(client, queue), concurrency=CONCURRENCY, name=name, lease_ms=options.lease_ms, grace_ms=1000
    )

    @made.task(FUNCTION)
    def work(uid: str) -> str:
        current().wait(outcome(rng))
        return f"result of {uid}"

    ended = threading.Event()
    first = primary_of(addresses, queue) if moves(addresses) else None

    def watch() -> None:
        while not stop.wait(0.1) and not ended.is_set():
            if first and is_another(addresses, queue, first):
                break
        made.stop()

    threading.Thread(target=watch, daemon=True).start()
    try:
        made.run(signals=False)
    finally:
        ended.set()
        client.close()


def is_another(addresses: Addresses, queue: str, first: tuple[str, int]) -> bool:
    """Whether there is a primary now, and it isn't this one."""
    try:
        return (primary_of(addresses, queue) or first) != first
    except PASSING:
        return False


# ---- a program on AsyncQueue


def asyncio_worker(
    name: str, addresses: Addresses, options: Options, seed: str, stop: Stop, tag: str
) -> list[Run]:
    """Claims, acks and pushes by `AsyncQueue`, until told to stop."""
    rng, numbers = random.Random(f"{seed} {name}"), itertools.count(1)
    queue = key(tag, LIBRARY)

    async def until_stopped() -> None:
        while not stop.is_set():
            client = async_client(addresses, queue)
            if client is None:
                await asyncio.sleep(0.1)
                continue
            try:
                await turns(
                    name, addresses, AsyncQueue(client, queue, patience_ms=2000), options, rng, numbers, stop
                )
            finally:
                await client.aclose()

    return [lambda: asyncio.run(until_stopped())]


async def turns(
    name: str,
    addresses: Addresses,
    queue: AsyncQueue,
    options: Options,
    rng: random.Random,
    numbers: Iterator[int],
    stop: Stop,
) -> None:
    """Work until the load stops, or until the queue's client can't find the primary any more."""
    looked, first = time.monotonic(), None
    if moves(addresses):
        first = primary_of(addresses, queue.name)
    while not stop.is_set():
        if first and time.monotonic() > looked + 0.5:
            looked = time.monotonic()
            if is_another(addresses, queue.name, first):
                return
        try:
            await turn(name, next(numbers), queue, options, rng)
        except (TaskslotError, *PASSING):
            await asyncio.sleep(0.05)


async def turn(name: str, number: int, queue: AsyncQueue, options: Options, rng: random.Random) -> None:
    """Claim some tasks, and end them in one of the ways that the library has."""
    tasks = await queue.claim(rng.randint(1, 4), block_ms=BLOCK_MS, worker=name, lease_ms=options.lease_ms)
    if not tasks:
        return
    how = rng.random()
    if how < 0.5:
        await queue.ack_many(tasks)
    elif how < 0.6:
        await queue.fail_many(tasks, error="the load says so")
    elif how < 0.7:
        await queue.extend_many(tasks)
        await queue.requeue_many(tasks)
    elif how < 0.85:
        for task in tasks:
            await queue.ack(task, result=f"result of {number}")
    else:
        payload = json.dumps({"task": FUNCTION, "args": [f"uid:{name}:{number}"]})
        await queue.push(payload)
        more = await queue.next(tasks, 2, block_ms=50, worker=name, lease_ms=options.lease_ms)
        await queue.ack_many(more.tasks)


ROLES: dict[str, Callable[[str, Addresses, Options, str, Stop, str], list[Run]]] = {
    "library": worker,
    "asyncio": asyncio_worker,
}
