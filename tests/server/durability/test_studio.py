"""The studio: one application in five forms, each tried with a killed worker and a killed server."""

import os
import shutil
import subprocess
import sys

import pytest
from harness.programs import OF_THIS_TREE
from harness.server import MODULE, ROOT

# The last needs node and npm.
FORMS = ["sync", "asyncio", "celery", "dramatiq", "node"]
SMALL = ["--thumbnails", "120", "--mails", "60", "--albums", "1", "--gone", "2"]


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_an_application_loses_nothing_though_its_worker_and_its_server_are_killed(server, form):
    """All tasks end, the callback of the album runs, and what ran twice has a reason."""
    if form == "node" and not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not installed")
    env = {**os.environ, **OF_THIS_TREE, "TASKSLOT_MODULE": str(MODULE)}
    command = [sys.executable, ROOT / "examples/studio", form, *SMALL, "--server", server.name]
    ended = subprocess.run(command, env=env, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "1 of 1" in ended.stdout
