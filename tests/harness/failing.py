"""Calls of a server to the system that fail: the nth one about its data files, as failing.c makes it."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.server import Server, build_shim

SHIM = Path(__file__).with_name("failing.c")
CONTROL = struct.Struct("=8q")
KINDS = ("open", "write", "sync", "folder", "cut", "rename", "fork")


class Failing:
    """The calls of one server. `environment` is for `Server(env=…)`."""

    def __init__(self) -> None:
        self._control: mmap.mmap | None = None

    def environment(self, server: Server) -> dict[str, str]:
        """The environment of the server's process. Nothing fails from its start on."""
        path = server.dir / "failing"
        path.write_bytes(bytes(CONTROL.size))
        with open(path, "r+b") as file:
            self._control = mmap.mmap(file.fileno(), CONTROL.size)
        return {"LD_PRELOAD": str(build_shim(SHIM)), "FAILING_CONTROL": str(path)}

    @contextmanager
    def nth(
        self,
        n: int,
        kinds: tuple[str, ...] = KINDS,
        *,
        lasts: bool = False,
        torn: bool = False,
        network: bool = False,
    ) -> Iterator[None]:
        """Let the nth call of these kinds fail: once or, with `lasts`, with all later ones, until the block is left.

        With `torn`, a write that fails has written half. With `network`, writes to TCP connections are counted instead.
        """
        bits = sum(1 << KINDS.index(kind) for kind in kinds)
        self._control[:] = CONTROL.pack(n, bits, lasts, torn, network, 0, 0, 0)
        try:
            yield
        finally:
            self._control[:8] = bytes(8)

    @property
    def failed(self) -> int:
        """How many calls have failed since the last `nth` began."""
        return CONTROL.unpack(self._control[:])[6]

    @property
    def kind(self) -> str:
        """What the last call was that failed."""
        return KINDS[CONTROL.unpack(self._control[:])[7]]
