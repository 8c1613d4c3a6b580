"""The event loop of async functions: the user's, or one on a thread of its own, that is started when it is needed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

# How long the end of the own loop is waited for: a function may block it.
CLOSE_S = 1.0


class Loop:
    """Where async functions run."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self._loop = loop
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closes = False

    def call(self, callback: Callable[[], object]) -> bool:
        """Have something called on the loop, from any thread: whether the loop is there."""
        try:
            self._open().call_soon_threadsafe(callback)
        except RuntimeError:  # it is closed
            return False
        return True

    def close(self) -> None:
        """End the own loop, with all that runs on it; a user's stays."""
        if self._thread is None or self._loop is None:
            return
        self._closes = True
        self.call(self._loop.stop)
        self._thread.join(CLOSE_S)

    def _open(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._live, args=(self._loop,), daemon=True, name="taskslot-loop"
                )
                self._thread.start()
            return self._loop

    def _live(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            while not self._closes:
                # A SystemExit or KeyboardInterrupt in a task that a function made comes out here, and so does the loop
                # where one stops it: the others run on. Whoever awaits that task has the exception, too.
                with suppress(SystemExit, KeyboardInterrupt):
                    loop.run_forever()
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            loop.close()
