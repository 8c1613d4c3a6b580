"""Fixtures of the library's tests: clients and queues on a fresh real server, sync ones and asyncio ones alike."""

import asyncio
import threading

import pytest
import redis
import valkey
from blocking import Blocking
from taskslot import AsyncQueue, AsyncShardedQueue, Queue, ShardedQueue


def pytest_collection_modifyitems(config, items):
    """Every client is tried on the newest and the oldest server, two of them on those between."""
    between, enough = ("redis-7.0", "redis-8.2"), ("redis-py", "valkey-py asyncio")
    dropped = [
        item
        for item in items
        if (values := getattr(item, "callspec", None))
        and getattr(values.params.get("installed"), "name", "") in between
        and values.params.get("library", "redis-py") not in enough
    ]
    config.hook.pytest_deselected(items=dropped)
    items[:] = [item for item in items if item not in set(dropped)]


@pytest.fixture
def server(start):
    """A fresh server with the module that listens on a port, too."""
    return start(port=True)


@pytest.fixture
def client(server):
    """A client of redis-py as a user makes one."""
    with redis.Redis(port=server.port) as client:
        yield client


@pytest.fixture
def queue(client):
    """An empty queue."""
    with Queue(client, "mail") as queue:
        yield queue


@pytest.fixture
def loop():
    """An event loop that runs in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(params=["redis-py", "valkey-py", "redis-py asyncio", "valkey-py asyncio"])
def library(request):
    """Which client, sync or asyncio."""
    return request.param


@pytest.fixture
def make(library, server, loop):
    """Makes queues over a client of that library, all without `await`: `make("q")`, `make("q", shards=4)`."""
    made = []
    if library.endswith("asyncio"):
        kind = redis.asyncio.Redis if library.startswith("redis") else valkey.asyncio.Valkey
        client = Blocking(kind(port=server.port), loop)
    else:
        client = (redis.Redis if library.startswith("redis") else valkey.Valkey)(port=server.port)

    def make_one(name="mail", **options):
        if library.endswith("asyncio"):
            kind = AsyncShardedQueue if "shards" in options else AsyncQueue
            made.append(Blocking(kind(client.inner, name, **options), loop))
        else:
            made.append((ShardedQueue if "shards" in options else Queue)(client, name, **options))
        return made[-1]

    yield make_one
    for queue in made:
        queue.close()
    client.aclose() if library.endswith("asyncio") else client.close()
