"""Fixtures of the library's tests: sync and asyncio clients and queues on a new real server."""

import asyncio
import threading
from pathlib import Path
from zlib import crc32

import pytest
import redis
import valkey
from harness.blocking import Blocking
from harness.fixtures import chosen
from harness.server import PATIENCE_S
from harness.worker_thread import WorkerClock
from taskslot import AsyncQueue, AsyncShardedQueue, Queue, ShardedQueue

HERE = Path(__file__).parent
# Sync and asyncio, redis-py and valkey-py.
ENOUGH = ("redis-py", "valkey-py asyncio")
OF_THE_FIRST = ("test_web", "test_metrics", "test_prometheus", "test_serve", "test_top", "test_doctor")
ON_CLUSTERS = ("test_library", "test_command_line", "test_worker_on_a_cluster")


@pytest.hookimpl(tryfirst=True)  # before the slow ones are left out
def pytest_collection_modifyitems(config, items):
    """Run all tests of the library on the first two selected servers, and a part of them on the others.

    On the others, the tests of each command run with two of the clients, and a fixed quarter of all other tests runs.
    The tests with the other two clients count as slow. The page, the metrics and `serve` hardly depend on the server:
    of their tests, that quarter runs on the second one too.
    """
    for item in items:
        if is_library(item) and client_of(item) not in (None, *ENOUGH):
            item.add_marker(pytest.mark.slow)
    full = [server.name for server in chosen(config)[:2]]
    dropped = {
        item
        for item in items
        if is_library(item)
        and server_of(item) not in [None, *full[: 1 if item.path.stem.startswith(OF_THE_FIRST) else 2]]
        and not is_enough(item)
    }
    config.hook.pytest_deselected(items=list(dropped))
    items[:] = [item for item in items if item not in dropped]


def is_library(item):
    """Whether a test is one of the library's, in this folder or in tests/cluster."""
    return HERE in item.path.parents or item.path.stem in ON_CLUSTERS


def server_of(item):
    """The server of a test. None if it needs none."""
    return getattr(item.callspec.params.get("installed"), "name", None) if hasattr(item, "callspec") else None


def client_of(item):
    """The kind of client that a test in this folder is run with. None if it is run with one only."""
    is_here = HERE in item.path.parents and hasattr(item, "callspec")
    return item.callspec.params.get("library") if is_here else None


def is_enough(item):
    """Whether a test also runs on servers between the newest and the oldest."""
    client = client_of(item)
    return client in ENOUGH if client else crc32(item.nodeid.encode()) % 4 == 0


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
