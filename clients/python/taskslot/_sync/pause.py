# Generated from taskslot/_async/pause.py by make_sync.py: make changes there.
"""A sleep that lets other work go on: asyncio's here, a thread's in the sync half."""

from time import sleep as pause

__all__ = ["pause"]
