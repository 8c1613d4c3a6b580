"""Wraps an asyncio object so that it can be used without `await`: one test then covers sync and asyncio classes."""

import asyncio
import inspect


class Blocking:
    """Runs the coroutines of `inner` on another thread's loop, and waits for them. Async iterators become lists."""

    def __init__(self, inner, loop):
        self.inner = inner
        self._loop = loop

    def __getattr__(self, name):
        value = getattr(self.inner, name)
        if not callable(value):
            return value

        def call(*args, **options):
            result = value(*args, **options)
            if inspect.isasyncgen(result):
                result = collected(result)
            if inspect.iscoroutine(result):
                return asyncio.run_coroutine_threadsafe(result, self._loop).result(timeout=30)
            return result

        return call


async def collected(items):
    """All items of an async iterator."""
    return [item async for item in items]
