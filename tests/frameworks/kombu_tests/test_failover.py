"""The part of Kombu's common tests that its tests of Redis leave out."""

import kombu
import pytest

from .common import BaseFailover


@pytest.fixture
def failover_connection():
    """A connection whose first server does not exist."""
    return kombu.Connection("redis://localhost:12345;redis://localhost:6379", connect_timeout=3)


@pytest.fixture(params=[None, {"global_keyprefix": "_prefixed_"}])
def connection(request):
    """A connection without and with a prefix."""
    return kombu.Connection("redis://localhost:6379", transport_options=request.param)


@pytest.fixture
def invalid_connection():
    """A connection to no server."""
    return kombu.Connection("redis://localhost:12345")


class test_Failover(BaseFailover):
    """As it is."""
