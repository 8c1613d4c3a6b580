"""Fixtures of the cluster tests: real clusters, and servers under sentinels, on each selected version.

`pytest tests/cluster --server valkey-9.1,redis-6.2` selects the servers, as in tests/server.
"""

from collections.abc import Callable, Iterator

import pytest
from harness.cluster import Cluster
from harness.fixtures import STARTED
from harness.sentinel import Sentinel


@pytest.fixture
def keep(request) -> Iterator[Callable]:
    """Takes a cluster or the like. It is checked and stopped at the end of the test. A failure shows its logs."""
    kept: list[Cluster | Sentinel] = []

    def take(one):
        kept.append(one)
        request.node.stash.setdefault(STARTED, []).extend(one.nodes)
        return one

    yield take
    try:
        for one in kept:
            one.check()
    finally:
        for one in kept:
            one.discard()


@pytest.fixture
def start_cluster(installed, keep):
    """Start clusters of the version under test: `start_cluster(primaries=2, appendonly="yes")`, see `Cluster`."""
    return lambda *sizes, **options: keep(Cluster(installed, *sizes, **{"clock": "shared", **options}))


@pytest.fixture
def cluster(start_cluster):
    """A new cluster of three primaries, each with a replica."""
    return start_cluster()


@pytest.fixture
def start_sentinel(installed, keep):
    """Start a primary and a replica under three sentinels. The options are those of `Sentinel`."""
    return lambda **options: keep(Sentinel(installed, **options))
