"""The five forms of the application: how their processes are started.

In a command, {folder} is the folder in which it runs, and {number} is another one for each process.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from harness import node_client

PYTHON = sys.executable


@dataclass(frozen=True)
class Form:
    """One form of the application."""

    name: str
    worker: list[str]
    producer: list[str]
    # Processes that run once beside the workers.
    beside: list[list[str]] = field(default_factory=list)
    missing: Callable[[], str | None] = lambda: None

    # Prepares the folder in which its processes run, which has a copy of the apps.
    prepare: Callable[[Path], None] = lambda folder: None


def lacks(package: str) -> Callable[[], str | None]:
    """A check that a package of Python can be imported."""
    return lambda: None if importlib.util.find_spec(package) else f"the package {package} is not installed"


def own(app: str) -> Form:
    """A form with taskslot's own worker."""
    worker = [PYTHON, "-m", "taskslot", "worker", f"{app}_app:app", "--concurrency", "4"]
    return Form(app, [*worker, "--lease-ms", "3000"], [PYTHON, f"{app}_app.py"])


def no_node() -> str | None:
    """Why the form for Node can't run; None if it can."""
    return None if shutil.which("node") and shutil.which("npm") else "node and npm are not installed"


def with_packages(folder: Path) -> None:
    """Give a folder the packages of the form for Node. An ES module looks for them beside itself only."""
    built, modules = node_client.built(), folder / "node_modules"
    modules.mkdir()
    (modules / "taskslot").symlink_to(built)
    (modules / "ioredis").symlink_to(built / "node_modules/ioredis")


FORMS = {
    form.name: form
    for form in (
        own("sync"),
        own("asyncio"),
        Form(
            "celery",
            [
                PYTHON,
                "-m",
                "celery",
                "-A",
                "celery_app",
                "worker",
                "--concurrency",
                "4",
                "-n",
                "worker{number}@%h",
            ],
            [PYTHON, "celery_app.py"],
            beside=[[PYTHON, "-m", "celery", "-A", "celery_app", "beat", "-s", "{folder}/beat"]],
            missing=lacks("celery"),
        ),
        Form(
            "dramatiq",
            [PYTHON, "-m", "dramatiq", "dramatiq_app", "--processes", "1", "--threads", "4"],
            [PYTHON, "dramatiq_app.py"],
            beside=[[PYTHON, "dramatiq_app.py", "schedule"]],
            missing=lacks("dramatiq"),
        ),
        Form(
            "node",
            ["node", "node_app.mjs", "worker"],
            ["node", "node_app.mjs"],
            missing=no_node,
            prepare=with_packages,
        ),
    )
}
