"""Fixtures for pytest. Put this into your conftest.py: `pytest_plugins = ["taskslot.testing.pytest"]`.

- `taskslot_server`: a real server with the module, one for the whole run. Tests are skipped if none is installed.
- `taskslot_app`: an app on that server, which is empty at the start of each test. It is the one that the setting
  `taskslot_app` names, such as `taskslot_app = "shop.tasks:app"`; without the setting, a new one.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..app import App
from ..cli.target import load
from .connected import connected
from .server import Server


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting."""
    parser.addini("taskslot_app", "the App that the fixture taskslot_app connects, such as shop.tasks:app")


@pytest.fixture(scope="session")
def taskslot_server() -> Iterator[Server]:
    """A real server with the module: `taskslot_server.url`, `.client`, `.clear()`."""
    try:
        server = Server()
    except FileNotFoundError as error:
        pytest.skip(f"no server for taskslot: {error}")
    with server:
        yield server


@pytest.fixture
def taskslot_app(taskslot_server: Server, pytestconfig: pytest.Config) -> Iterator[App]:
    """An app on an empty server: the one that the setting `taskslot_app` names, or a new one."""
    taskslot_server.clear()
    target = pytestconfig.getini("taskslot_app")
    found = load(target) if target else App(taskslot_server.url)
    if not isinstance(found, App):
        raise pytest.UsageError(f"the setting taskslot_app names {target}, which is no App")
    with connected(found, taskslot_server) as app:
        yield app
