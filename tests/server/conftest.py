"""Fixtures for tests of one server or a few: connections to it."""

import pytest
from harness.talk import Talk
from harness.waiting import Floor


@pytest.fixture
def protocol():
    """RESP2. A test that also wants RESP3 parametrizes it, or its file has a fixture of this name."""
    return 2


@pytest.fixture
def c(server, protocol):
    """A connection to `server`."""
    return Talk(server, protocol)


@pytest.fixture
def floor(server):
    """`server` with a connection for commands, and workers that wait."""
    return Floor(server)
