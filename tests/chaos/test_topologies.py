"""One run of each topology of several nodes, under load and faults: the rules find nothing wrong."""

import shutil

import pytest

from chaos.older import SAME_FORMATS
from chaos.profiles import PROFILES
from chaos.rules import check
from chaos.run import Order, run

SECONDS = 8
SEED = 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "profile", ["replicas", "promoted", "sentinel-stopped", "cluster-replaced", "upgrade"]
)
def test_a_sound_build_raises_no_alarm(installed, profile):
    """Faults happen, each run is drained, and the history has no finding."""
    if profile == "upgrade" and not SAME_FORMATS.is_built():
        pytest.skip("the older build is not there: make older")
    order = Order(PROFILES[profile], installed, SEED, SECONDS)
    shutil.rmtree(order.folder, ignore_errors=True)
    outcome = run(order)
    assert outcome.problems == []
    assert outcome.history.faults and outcome.history.digests
    assert [str(finding) for finding in check(outcome.history)] == []
    shutil.rmtree(order.folder)
