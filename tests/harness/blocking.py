"""An asyncio object to be used without `await`, so that one test serves the sync classes and the asyncio ones."""

import asyncio
import inspect


class Blocking:
    """Runs coroutines of `inner` on a loop of another thread, and waits for them; async iterators come as lists."""

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
