"""Fixtures for all Python tests: a fresh real server for each test, on each chosen version.

A plugin that pyproject.toml loads, so that all folders of tests share it.
`pytest tests/server --server valkey-9.1,redis-6.2` chooses; a path to a redis-server tries another one.
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
    """The servers asked for; one that is not here is an error, never a silent gap."""
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
    """Start servers of the version under test: `start(appendonly="yes", port=True)`; options as for `Server`.

    All are ended with the test, which fails if one of them crashed or ended unasked.
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
    """Of many like cases, in their order: all on the first two of the servers asked for, a quarter on the others.

    For what our own code makes of bytes and words, which is the same code on every server. The quarter is drawn at
    random from all cases, always the same for a server and another for each.
    """

    def share_of(cases: Sequence) -> list:
        if installed in chosen(request.config)[:2]:
            return list(cases)
        drawn = random.Random(installed.name).sample(range(len(cases)), len(cases) // 4)
        return [cases[n] for n in sorted(drawn)]

    return share_of


@pytest.fixture
def server(start):
    """A fresh server with the module, in memory only."""
    return start()


@pytest.fixture
def r(server):
    """A client of `server`: bytes, RESP2, one connection, no retries."""
    return server.client()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Show the end of each server's log with a failure, while the server is still there."""
    report = yield
    if report.failed and report.when == "call":
        for server in item.stash.get(STARTED, []):
            state = "runs" if server.alive() else f"ended with {server._process.returncode}"
            report.sections.append((f"log of {server.name}, which {state}", server.log_tail(30)))
    return report
