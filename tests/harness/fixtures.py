"""Fixtures for all Python tests: a new real server for each test, on each selected version.

pyproject.toml loads this plugin for all folders of tests. `pytest tests/server --server valkey-9.1,redis-6.2` selects
the servers; a path to a redis-server works too.
"""

import random
from collections.abc import Callable, Sequence

import pytest

from harness.server import SERVERS, Installed, Server, identify

DEFAULT = "valkey-9.1,redis-6.2"
STARTED = pytest.StashKey[list[Server]]()


def pytest_addoption(parser):
    here = ", ".join(SERVERS)
    parser.addoption("--server", default=DEFAULT, help=f"servers to test on, by name or path; here: {here}")


def chosen(config) -> list[Installed]:
    """The selected servers. One that is not installed is an error, so that no server is left out silently."""
    servers = []
    for name in config.getoption("--server").split(","):
        if "/" in name:
            servers.append(identify(name))
        elif name in SERVERS:
            servers.append(SERVERS[name])
        else:
            raise pytest.UsageError(f"--server {name}: not installed; here are {', '.join(SERVERS)}")
    return servers


def pytest_generate_tests(metafunc):
    if "installed" in metafunc.fixturenames:
        servers = chosen(metafunc.config)
        metafunc.parametrize("installed", servers, ids=[s.name for s in servers])


@pytest.fixture
def start(request, installed):
    """Start servers of the version under test: `start(appendonly="yes", port=True)`. The options are those of `Server`.

    All are stopped at the end of the test. The test fails if one of them crashed or ended by itself.
    """
    servers = request.node.stash.setdefault(STARTED, [])

    def start_one(**options) -> Server:
        servers.append(Server(installed, **options))
        return servers[-1]

    yield start_one
    try:
        for server in servers:
            server.check()
    finally:
        for server in servers:
            server.discard()


@pytest.fixture
def share(request, installed) -> Callable[[Sequence], list]:
    """Select from many similar cases: all of them on the first two of the selected servers, a quarter on the others.

    This is for tests of our own parsing code, which is the same on every server. The quarter is random, always the same
    for one server, and different for each server.
    """

    def share_of(cases: Sequence) -> list:
        if installed in chosen(request.config)[:2]:
            return list(cases)
        drawn = random.Random(installed.name).sample(range(len(cases)), len(cases) // 4)
        return [cases[n] for n in sorted(drawn)]

    return share_of


@pytest.fixture
def server(start):
    """A new server with the module, without files."""
    return start()


@pytest.fixture
def r(server):
    """A client of `server`: bytes, RESP2, one connection, no retries."""
    return server.client()


@pytest.fixture
def client(server):
    """A client of redis-py as a user makes one. Its `server` listens on a port."""
    import redis

    with redis.Redis(port=server.port) as client:
        yield client


@pytest.fixture
def queue(client):
    """An empty queue."""
    from taskslot import Queue

    with Queue(client, "mail") as queue:
        yield queue


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Add the end of each server's log to the report of a failure, while the server still exists."""
    report = yield
    if report.failed and report.when == "call":
        for server in item.stash.get(STARTED, []):
            state = "runs" if server.alive() else f"ended with {server._process.returncode}"
            report.sections.append((f"log of {server.name}, which {state}", server.log_tail(30)))
    return report
