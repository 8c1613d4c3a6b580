"""The event loop of async functions: the user's, or one on a thread of its own, started when it is first needed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

# How long `close` waits for the worker's own loop, which a function may block.
CLOSE_S = 1.0


class Loop:
    """The event loop on which async functions run."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self._loop = loop
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closes = False

    def call(self, callback: Callable[[], object]) -> bool:
        """Call something on the loop, from any thread. Returns False if the loop is closed, or can't be started."""
        try:
            self._open().call_soon_threadsafe(callback)
        except RuntimeError:  # it is closed, or has no thread
            return False
        return True

    def close(self) -> None:
        """Stop the worker's own loop and cancel its tasks. A user's loop is left alone."""
        if self._thread is None or self._loop is None:
            return
        self._closes = True
        self.call(self._loop.stop)
        self._thread.join(CLOSE_S)

    def _open(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                thread = threading.Thread(target=self._live, args=(loop,), daemon=True, name="taskslot-loop")
                try:
                    thread.start()
                except RuntimeError:  # the process can't start another thread
                    loop.close()
                    raise
                self._loop, self._thread = loop, thread
            return self._loop

    def _live(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            while not self._closes:
                # run_forever ends if a task raises SystemExit or KeyboardInterrupt, or if a function stops the loop.
                # The other tasks have to go on. The exception also reaches the code that awaits that task.
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
