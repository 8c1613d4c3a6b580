"""The worker of the library for Node passes the conformance test of workers."""

import asyncio
import shutil

import pytest
from conformance import cases  # noqa: F401  (registers them)
from conformance.case import CASES, run_all
from harness import node_client

# The first build downloads packages.
pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(not shutil.which("npm"), reason="npm is not installed"),
]


@pytest.fixture
def worker(request):
    """The command line of its worker, with a client."""
    return ["node", str(node_client.built() / "tests/conformance_worker.mjs"), request.param]


def failures(worker, **options):
    """What the worker does wrong, by case."""
    chosen = [(case, worker) for case in CASES if case.needs_server == ("server" in options)]
    assert chosen
    return {one.case.name: one.failures for one in asyncio.run(run_all(chosen, **options)) if one.failures}


@pytest.mark.slow
@pytest.mark.parametrize("worker", ["ioredis", "redis"], indirect=True)
def test_the_worker_for_node_keeps_the_protocol_in_all_hard_cases(worker):
    """The conformance test plays the server's part."""
    assert failures(worker) == {}


@pytest.mark.slow
@pytest.mark.parametrize("worker", ["redis"], indirect=True)
def test_the_worker_for_node_keeps_the_protocol_on_a_real_server(worker, start):
    """Workers are killed, connections break, the server hangs."""
    assert failures(worker, server=f"redis://127.0.0.1:{start(port=True).port}") == {}
