"""The fixtures of Dramatiq's tests, which its sources don't contain."""

import logging
import subprocess
import sys

import dramatiq
import pytest
from dramatiq.brokers.stub import _StubMessageProxy
from dramatiq.rate_limits import backends as of_rate_limits
from dramatiq.results import backends as of_results
from taskslot.integrations.dramatiq import TaskslotMessage

from .brokers import InPlaceOfRabbit, InPlaceOfRedis, InPlaceOfStub, empty_server

logging.basicConfig(level=logging.DEBUG)


def in_use(broker):
    """The broker, for actors that name none."""
    broker.emit_after("process_boot")
    dramatiq.set_broker(broker)
    return broker


def at_work(broker, **options):
    """Yields a running worker."""
    worker = dramatiq.Worker(broker, **options)
    worker.start()
    yield worker
    worker.stop()


@pytest.fixture
def stub_broker(monkeypatch):
    """Our broker in the place of the stub, whose messages keep their exceptions. A test takes that back."""
    keep = lambda message: _StubMessageProxy.clear_exception(message)  # noqa: E731
    monkeypatch.setattr(TaskslotMessage, "clear_exception", keep)
    broker = in_use(InPlaceOfStub(empty_server()))
    yield broker
    broker.close()


@pytest.fixture
def stub_worker(stub_broker):
    """A worker of that broker."""
    yield from at_work(stub_broker, worker_timeout=100, worker_threads=32)


@pytest.fixture
def redis_broker():
    """Our broker in the place of the Redis broker."""
    broker = in_use(InPlaceOfRedis(client=empty_server()))
    yield broker
    broker.close()


@pytest.fixture
def redis_worker(redis_broker):
    """A worker of that broker."""
    yield from at_work(redis_broker, worker_threads=32)


@pytest.fixture
def rabbitmq_broker():
    """Our broker in the place of the RabbitMQ broker."""
    broker = in_use(InPlaceOfRabbit(empty_server()))
    yield broker
    broker.close()


@pytest.fixture
def rabbitmq_worker(rabbitmq_broker):
    """A worker of that broker."""
    yield from at_work(rabbitmq_broker, worker_threads=32)


@pytest.fixture
def start_cli():
    """Starts `dramatiq module …`, and ends it with the test."""
    started = []

    def start(module, *, extra_args=(), **options):
        command = [sys.executable, "-m", "dramatiq", module, *extra_args]
        started.append(subprocess.Popen(command, **options))
        return started[-1]

    yield start
    for process in started:
        process.terminate()
        process.wait()


@pytest.fixture(params=["redis", "stub"])
def rate_limiter_backend(request):
    """Dramatiq's backends of rate limits for which no other server is needed."""
    if request.param == "stub":
        return of_rate_limits.StubBackend()
    return of_rate_limits.RedisBackend(client=empty_server())


@pytest.fixture
def redis_result_backend():
    """Dramatiq's results in Redis."""
    return of_results.RedisBackend(client=empty_server())


@pytest.fixture(params=["redis", "stub"])
def result_backend(request):
    """Dramatiq's backends of results for which no other server is needed."""
    return (
        of_results.StubBackend()
        if request.param == "stub"
        else of_results.RedisBackend(client=empty_server())
    )
