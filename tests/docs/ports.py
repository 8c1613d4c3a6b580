"""Private ports for the processes of a page: each page has its own 6379. See ports.c."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

from harness.server import build_shim, wait_until

SOURCE = Path(__file__).with_name("ports.c")
PORTS = 65536


class Ports:
    """The ports of a group of processes. A process belongs to it if `environment()` is in its environment."""

    def __init__(self, folder: Path):
        self._file = folder / "ports"
        self._file.write_bytes(bytes(2 * PORTS))

    def environment(self, with_clock: bool = False) -> dict[str, str]:
        """The variables for a process of the group. `with_clock`: for a server whose clock the test can set."""
        libraries = [build_shim(SOURCE), *([build_shim()] if with_clock else [])]
        return {"LD_PRELOAD": ":".join(map(str, libraries)), "PORTS_FILE": str(self._file)}

    def real(self, port: int) -> int:
        """Returns the real port for a port of the documents. 0 if no process listens on it."""
        with open(self._file, "rb") as file:
            file.seek(2 * port)
            return struct.unpack("=H", file.read(2))[0]

    def connect(self, port: int) -> socket.socket:
        """Connect to a port of the documents."""
        real = self.real(port)
        if not real:
            raise ConnectionRefusedError(f"no server of this page listens on port {port}")
        return socket.create_connection(("127.0.0.1", real), timeout=15)

    def wait_served(self, port: int) -> None:
        """Wait until a process listens on a port."""

        def is_served() -> bool:
            try:
                self.connect(port).close()
                return True
            except ConnectionError:
                return False

        wait_until(is_served, f"somebody serves port {port}", 10)
