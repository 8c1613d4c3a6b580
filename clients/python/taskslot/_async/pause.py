"""A sleep that lets other work go on: asyncio's here, a thread's in the sync half."""

from asyncio import sleep as pause

__all__ = ["pause"]
