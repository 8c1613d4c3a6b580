"""Fixtures of the cluster tests: real clusters, and servers under sentinels, on each chosen version.

`pytest tests/cluster --server valkey-9.1,redis-6.2` chooses, as in tests/server.
"""

from collections.abc import Callable, Iterator

import pytest
from harness.cluster import Cluster
from harness.fixtures import STARTED
from harness.sentinel import Sentinel


@pytest.fixture
def keep(request) -> Iterator[Callable]:
    """Takes a cluster or the like, which is checked and ended with the test, its logs shown if that fails."""
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
    """Start clusters of the version under test: `start_cluster(primaries=2, appendonly="yes")`; as for `Cluster`."""
    return lambda *sizes, **options: keep(Cluster(installed, *sizes, **{"clock": "shared", **options}))


@pytest.fixture
def cluster(start_cluster):
    """A fresh cluster of three primaries, each with a replica."""
    return start_cluster()


@pytest.fixture
def start_sentinel(installed, keep):
    """Start a primary and a replica under three sentinels; options as for `Sentinel`."""
    return lambda **options: keep(Sentinel(installed, **options))
