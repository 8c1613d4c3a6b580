"""Puts the transport of taskslot in the place of Kombu's for Redis, and gives each test an empty server."""

import os

import pytest
import redis
import taskslot.integrations.celery  # noqa: F401  the address taskslot://
from kombu.transport import TRANSPORT_ALIASES

if os.environ.get("TASKSLOT_BESIDE") != "redis":
    TRANSPORT_ALIASES["redis"] = TRANSPORT_ALIASES["taskslot"]


def pytest_configure(config):
    """The marks of the suite."""
    config.addinivalue_line("markers", "env: what a test needs")


@pytest.fixture(autouse=True)
def empty_server():
    """No test sees what another left."""
    with redis.Redis() as client:
        client.flushall()
