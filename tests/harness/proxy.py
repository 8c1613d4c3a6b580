"""A proxy with an address of its own: it forwards everything to a server, after a delay, in order."""

import asyncio
import threading
from contextlib import suppress


class Proxy:
    """`with Proxy(server.port, delay_s=0.05) as proxy:` listens on `proxy.host` and `proxy.port`, a free one."""

    def __init__(self, target, *, host="127.0.0.1", port=0, delay_s=0.0):
        self.host, self.port = host, port
        self._target, self._delay_s = target, delay_s
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self):
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._serve, self.host, self.port))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_):
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, what):
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(timeout=10)

    async def _end(self):
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader, writer):
        with suppress(asyncio.CancelledError):
            there = await asyncio.open_connection("127.0.0.1", self._target)
            await asyncio.gather(self._forward(reader, there[1]), self._forward(there[0], writer))

    async def _forward(self, reader, writer):
        """Each piece goes on after the delay, and the next is read meanwhile."""
        try:
            while data := await reader.read(65536):
                self._loop.call_later(self._delay_s, writer.write, data)
        except OSError:
            pass
        self._loop.call_later(self._delay_s, writer.close)
