"""What Dramatiq's tests import from their own common.py, which its sources don't contain."""

import os
import platform
from contextlib import contextmanager

import dramatiq
import pika
import pytest

RABBITMQ_USERNAME, RABBITMQ_PASSWORD = "guest", "guest"
RABBITMQ_CREDENTIALS = pika.credentials.PlainCredentials(RABBITMQ_USERNAME, RABBITMQ_PASSWORD)

skip_unless_rabbit_mq = pytest.mark.skip(reason="needs RabbitMQ itself")
skip_in_ci = pytest.mark.skipif("CI" in os.environ, reason="depends on the time that things take")
skip_on_windows = pytest.mark.skipif(platform.system() == "Windows", reason="not on Windows")
skip_on_pypy = pytest.mark.skipif(platform.python_implementation() == "PyPy", reason="not on PyPy")


@contextmanager
def worker(*args, **kwargs):
    """A worker that runs during the block."""
    started = dramatiq.Worker(*args, **kwargs)
    started.start()
    try:
        yield started
    finally:
        started.stop()
