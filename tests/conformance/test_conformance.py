"""The conformance test lets a right worker pass, and finds each mistake of a wrong one."""

import asyncio
import sys
from pathlib import Path

import pytest
from conformance import cases  # noqa: F401  (registers them)
from conformance.case import CASES, run_all

sys.path.insert(0, str(Path(__file__).parent))  # for the file that the plain worker reads too
from mistakes import MISTAKES  # noqa: E402

# Enough for a right worker, so that a wrong one that sends nothing is not waited for too long.
SHORT_PATIENCE_S = 8.0
PLAIN = [sys.executable, str(Path(__file__).with_name("plain_worker.py"))]
SCRIPTED = [case for case in CASES if not case.needs_server]


@pytest.mark.slow
def test_a_plain_worker_that_keeps_the_rules_passes_all_cases():
    """It is written by the page, without the library."""
    found = asyncio.run(run_all([(case, PLAIN) for case in SCRIPTED]))
    assert {one.case.name: one.failures for one in found if one.failures} == {}


@pytest.mark.slow
def test_each_mistake_is_found_by_the_case_that_is_for_it():
    """A tiny wrong worker for each: what is not found would pass in other languages too."""
    by_name = {case.name: case for case in CASES}
    pairs = [(by_name[name], [*PLAIN, *mistake.split()]) for mistake, (name, _) in MISTAKES.items()]
    found = asyncio.run(run_all(pairs, at_a_time=16, patience_s=SHORT_PATIENCE_S))
    unseen = {
        mistake: one.failures
        for (mistake, (_, says)), one in zip(MISTAKES.items(), found, strict=True)
        if not any(says in failure for failure in one.failures)
    }
    assert unseen == {}


def test_each_case_finds_some_mistake():
    """A case that no mistake fails could be empty."""
    assert {case.name for case in SCRIPTED} == {name for name, _ in MISTAKES.values()}
