# Generated from taskslot/_async/pause.py by make_sync.py: make changes there.
"""A sleep that lets other work go on: asyncio's here, a thread's in the sync half."""

import time


def pause(seconds: float) -> None:
    """Sleep. The function is looked up at each call, because gevent can replace it after this file was imported."""
    time.sleep(seconds)
