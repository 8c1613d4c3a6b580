"""The example of a batch, as users run it."""

import os
import subprocess
import sys

import pytest
from harness.programs import OF_THIS_TREE
from harness.server import MODULE, ROOT


@pytest.mark.slow
def test_the_pipeline_publishes_once_though_a_worker_a_picture_and_the_primary_die(server):
    """The counts are right after the failover, and the dead picture says why."""
    env = {**os.environ, **OF_THIS_TREE, "TASKSLOT_MODULE": str(MODULE)}
    command = [sys.executable, ROOT / "examples/pipeline.py", server.name]
    ended = subprocess.run(command, env=env, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "batch-dead 1, batch-done 20" in ended.stdout
    assert "published once" in ended.stdout
