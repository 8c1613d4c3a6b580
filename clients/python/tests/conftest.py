"""Fixtures of the library's tests: sync and asyncio clients and queues on a new real server."""

import asyncio
import threading

import pytest
import redis
import valkey
from harness.blocking import Blocking
from harness.server import PATIENCE_S
from harness.worker_thread import WorkerClock
from taskslot import AsyncQueue, AsyncShardedQueue, Queue, ShardedQueue


@pytest.fixture
def server(start):
    """A new server with the module, which also listens on a port."""
    return start(port=True)


@pytest.fixture
def worker_clock(monkeypatch):
    """The clock by which workers extend leases, turned on by the test."""
    return WorkerClock(monkeypatch)


@pytest.fixture
def web(server, monkeypatch):
    """Makes browsers of a web page of the server: `web()` reads only, `web(write=True)` has signed in to change things.

    Other options are those of `create_app`.
    """
    from harness.web import PASSWORD, FormClient, create_app
    from taskslot.web import Write, site
    from taskslot.web.live import sampler

    # A busy machine is not a server that is away.
    monkeypatch.setattr(sampler, "PATIENCE_S", PATIENCE_S)
    monkeypatch.setattr(site, "PATIENCE_S", PATIENCE_S)
    made = []

    def make(write=False, at=None, signed_in=True, **options):
        if write is True:
            write = Write.by_password(PASSWORD)
        app = create_app(at or f"redis://127.0.0.1:{server.port}", write=write or None, **options)
        made.append(FormClient(app))
        return made[-1].sign_in() if write and write.secret and signed_in else made[-1]

    yield make
    for browser in made:
        browser.app.state.site.close()


@pytest.fixture
def loop():
    """An event loop on a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(params=["redis-py", "valkey-py", "redis-py asyncio", "valkey-py asyncio"])
def library(request):
    """The kind of client: sync or asyncio."""
    return request.param


@pytest.fixture
def make(library, server, loop):
    """Makes queues with a client of that library, usable without `await`: `make("q")`, `make("q", shards=4)`."""
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
