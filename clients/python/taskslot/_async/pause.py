"""A sleep that lets other work go on: asyncio's here, a thread's in the sync half."""

import asyncio


async def pause(seconds: float) -> None:
    """Sleep. The function is looked up at each call, because gevent can replace it after this file was imported."""
    await asyncio.sleep(seconds)
