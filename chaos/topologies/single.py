"""One server, whose disk and wall clock can fail."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from harness.server import Installed, Server, wait_until

from chaos.disk import Disk
from chaos.history import Digest, Exit
from chaos.topologies.compare import digests, exited
from chaos.topology import Addresses

# Longer than the digests take.
PAUSED_MS = 60_000


class Single:
    """One server with an append-only file, which is only rewritten when a fault says so.

    `settings` are the server's. `disk` puts it on a disk whose writes and syncs are known, and `clock` on a wall clock
    that can be set.
    """

    def __init__(self, installed: Installed, *, clock: bool = False, disk: bool = False, **settings: object):
        self.installed, self._clock = installed, clock
        self.settings: dict[str, Any] = {
            "appendonly": "yes",
            "appendfsync": "always",
            "auto_aof_rewrite_percentage": 0,
            **settings,
        }
        self._folder = tempfile.TemporaryDirectory(prefix="taskslot-disk-")
        self.disk = Disk(Path(self._folder.name)) if disk else None
        self.server: Server

    def start(self) -> None:
        """Start the server."""
        env = self.disk.environment if self.disk else None
        self.server = Server(self.installed, port=True, clock=self._clock, env=env, **self.settings)

    def addresses(self) -> Addresses:
        """Its port."""
        return {"kind": "single", "host": "127.0.0.1", "port": self.server.port}

    def nodes(self) -> list[Server]:
        """The server."""
        return [self.server]

    def primaries(self) -> list[Server]:
        """The server, if it runs."""
        return [self.server] if self.server.alive() else []

    def settle(self) -> None:
        """Start it if it is down, and wait until it writes again."""
        if self.disk:
            self.disk.free()
        if self.server.clock:
            self.server.clock.shift = 0
        if not self.server.alive():
            self.server.start()

        def writes() -> bool:
            with self.server.client() as client:
                return bool(client.info("persistence")["aof_last_write_status"] == "ok")

        wait_until(writes, "the server writes again")

    def compared(self) -> list[Digest]:
        """Its queues as they are, as the AOF keeps them, and as an RDB does.

        A primary moves due tasks while time passes. It does not while writes are paused, and a replica never does.
        """
        with self.server.client() as client:
            client.execute_command("CLIENT", "PAUSE", PAUSED_MS, "WRITE")
        found = digests("live, AOF, RDB", [(0, self.server)])
        self.server.restart(replicaof="127.0.0.1 1")
        found += digests("live, AOF, RDB", [(0, self.server)])
        with self.server.client() as client:
            client.execute_command("DEBUG", "RELOAD")
        return found + digests("live, AOF, RDB", [(0, self.server)])

    def exits(self) -> list[Exit]:
        """Its end, if it ended or crashed by itself."""
        return exited(0, self.server)

    def stop(self) -> None:
        """End the server, and remove its data."""
        self.server.discard()
        self._folder.cleanup()
