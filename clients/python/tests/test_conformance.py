"""The library's worker passes the conformance test of workers."""

import asyncio
import sys
from pathlib import Path

import pytest
from conformance import cases  # noqa: F401  (registers them)
from conformance.case import CASES, run_all
from harness.programs import OF_THIS_TREE

PROGRAM = Path(__file__).with_name("conformance_worker.py")
# `env` runs a program with these variables, which name the library of this tree.
WORKER = ["env", *(f"{name}={value}" for name, value in OF_THIS_TREE.items()), sys.executable, str(PROGRAM)]


def failures(**options):
    """What the worker does wrong, by case."""
    chosen = [(case, WORKER) for case in CASES if case.needs_server == ("server" in options)]
    assert chosen
    return {one.case.name: one.failures for one in asyncio.run(run_all(chosen, **options)) if one.failures}


@pytest.mark.slow
def test_the_worker_keeps_the_protocol_in_all_hard_cases():
    """The conformance test plays the server's part."""
    assert failures() == {}


@pytest.mark.slow
def test_the_worker_keeps_the_protocol_on_a_real_server(server):
    """Workers are killed, connections break, the server hangs."""
    assert failures(server=f"redis://127.0.0.1:{server.port}") == {}
