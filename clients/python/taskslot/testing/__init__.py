"""Tests of your own code: run the tasks of an app in the test itself, on a server of the test's own.

    def test_an_order_sends_a_mail(taskslot_app):       # a fixture of taskslot.testing.pytest
        order("book")
        run_all(taskslot_app)
        assert outbox == ["bob: your book"]

`docs/testing.md` explains them.
"""

from .connected import connected
from .context import FakeContext, current
from .memory import in_memory
from .run import Ran, arun_all, run_all
from .server import Server

__all__ = ["FakeContext", "Ran", "Server", "arun_all", "connected", "current", "in_memory", "run_all"]
