"""What is between two programs: a link that can be slow, cut and reset, and a proxy, which is one with an address.

A `Link` works in an event loop, and a `Proxy` has a thread for its own. network.py has many links in one thread.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine

PIECE_BYTES = 65536
# How many pieces are under way in one direction. A sender that is faster must wait, as on a real link.
PIECES = 64
# Closing with this option sends RST instead of FIN: the other side gets "connection reset".
RESET = struct.pack("ii", 1, 0)


class Link:
    """Listens on `host` and `port`, a free one if it is 0, and forwards everything to a port of 127.0.0.1, in order.

    `delay_s` is for each piece and direction. While the link is cut, bytes wait in it, new connections too, and nobody
    is told: a network that drops packets looks like this to programs. What waited goes on when the link is healed.
    All methods are called in its event loop.
    """

    def __init__(self, target: int, *, host: str = "127.0.0.1", port: int = 0, delay_s: float = 0.0):
        self.host, self.port, self.target, self.delay_s = host, port, target, delay_s
        self._passes = asyncio.Event()
        self._passes.set()
        self._connections: dict[asyncio.Task, list[asyncio.StreamWriter]] = {}

    async def open(self) -> None:
        """Begin to listen."""
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening, and close all connections."""
        self._server.close()
        served = list(self._connections)
        for task in served:
            task.cancel()
        await asyncio.gather(*served, return_exceptions=True)

    def cut(self) -> None:
        """Let nothing through from now on."""
        self._passes.clear()

    def heal(self) -> None:
        """Let everything through again, first what waited."""
        self._passes.set()

    def reset(self) -> None:
        """Break off all connections, on both sides. What was under way is gone; new ones are served."""
        for task, ends in self._connections.items():
            for end in ends:
                end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                end.transport.abort()
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        ends = self._connections[task] = [writer]
        try:
            await self._passes.wait()
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
            ends.append(back)
            await self._forward((reader, back), (there, writer))
        except (asyncio.CancelledError, OSError):
            pass  # closed from here, or there is no server
        finally:
            del self._connections[task]
            for end in ends:
                end.close()

    async def _forward(self, *directions: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        """Pass on both directions until both have ended, or nothing can be written to one of them."""
        try:
            async with asyncio.TaskGroup() as both:
                for reader, writer in directions:
                    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(PIECES)
                    both.create_task(self._take(reader, under_way))
                    both.create_task(self._give(under_way, writer))
        except* OSError:
            pass

    async def _take(self, reader: asyncio.StreamReader, under_way: asyncio.Queue) -> None:
        data = b"-"
        while data:
            try:
                data = await reader.read(PIECE_BYTES)
            except OSError:
                data = b""  # a reset goes on as an end
            await under_way.put((asyncio.get_running_loop().time() + self.delay_s, data))

    async def _give(self, under_way: asyncio.Queue, writer: asyncio.StreamWriter) -> None:
        """Each piece goes on after the delay, and the next ones are read meanwhile."""
        loop = asyncio.get_running_loop()
        while True:
            at, data = await under_way.get()
            await asyncio.sleep(max(0.0, at - loop.time()))
            await self._passes.wait()
            if not data:
                return writer.write_eof()
            writer.write(data)
            await writer.drain()


class LoopThread:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, what: Coroutine) -> object:
        """Run a coroutine there, and return its result."""
        return asyncio.run_coroutine_threadsafe(what, self.loop).result(timeout=10)

    def end(self) -> None:
        """Stop the loop and the thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class Proxy:
    """`with Proxy(server.port, delay_s=0.05) as proxy:` listens on `proxy.host` and `proxy.port`, a free one."""

    def __init__(self, target: int, *, host: str = "127.0.0.1", port: int = 0, delay_s: float = 0.0):
        self._where = {"target": target, "host": host, "port": port, "delay_s": delay_s}

    def __enter__(self) -> Proxy:
        self._thread = LoopThread()
        self._link: Link = self._thread.run(self._open())
        self.host, self.port = self._link.host, self._link.port
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.run(self._link.close())
        self._thread.end()

    async def _open(self) -> Link:
        link = Link(**self._where)
        await link.open()
        return link

    def cut(self) -> None:
        """Let nothing through until `heal`."""
        self._thread.run(self._do("cut"))

    def heal(self) -> None:
        """Let everything through again, first what waited."""
        self._thread.run(self._do("heal"))

    def reset(self) -> None:
        """Break off all connections."""
        self._thread.run(self._do("reset"))

    async def _do(self, what: str) -> None:
        getattr(self._link, what)()
