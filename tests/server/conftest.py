"""Fixtures of the tests of one server, or of a few: connections to it."""

import pytest
from harness.talk import Talk
from harness.waiting import Floor


@pytest.fixture
def protocol():
    """RESP2; tests that want RESP3 too parametrize it, or make it a fixture of their file's own."""
    return 2


@pytest.fixture
def c(server, protocol):
    """A connection to `server`."""
    return Talk(server, protocol)


@pytest.fixture
def floor(server):
    """`server` with somebody who gives orders, and workers that wait."""
    return Floor(server)
