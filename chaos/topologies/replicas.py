"""A primary, its replica, and a replica of that one. An operator, here the faults, promotes them and tells clients."""

from __future__ import annotations

import tempfile
from pathlib import Path

from harness.server import MODULE, Installed, Server, wait_synced

from chaos.disk import Disk
from chaos.load.addresses import point, pointed
from chaos.topologies.several import Several
from chaos.topology import Addresses


class Replicas(Several):
    """A chain of three nodes. Each has a machine and a clock of its own. They start with `module`.

    With `disk`, each has a disk whose writes and syncs are known.
    """

    SIZE = 3

    def __init__(self, installed: Installed, module: Path = MODULE, disk: bool = False, **settings: object):
        super().__init__(installed, **settings)
        self.module, self._has_disks = module, disk
        self._folder = tempfile.TemporaryDirectory(prefix="taskslot-disks-")
        self.disks: dict[Server, Disk] = {}
        self._nodes: list[Server] = []
        # The primary comes first, and each node copies from the one before it.
        self.chain: list[Server] = []

    def begin(self) -> None:
        """Start the nodes, and build the chain."""
        for _ in range(self.SIZE):
            server = Server(
                self.installed,
                module=self.module,
                port=True,
                clock=True,
                env=self._environment,
                **self.settings,
            )
            self._nodes.append(server)
        self.follow(self._nodes)

    def addresses(self) -> Addresses:
        """A file that `lead` writes."""
        return pointed(self._path())

    def nodes(self) -> list[Server]:
        """All three, in the order of their start."""
        return list(self._nodes)

    def shards(self) -> list[list[Server]]:
        """The chain."""
        return [self.chain]

    def make_well(self) -> None:
        """Build the chain anew, as it was last."""
        self.follow(self.chain)

    def discard(self) -> None:
        """End all servers, and remove their data."""
        for node in self._nodes:
            node.discard()
        self._folder.cleanup()

    # ---- what an operator does

    def lead(self, primary: Server) -> None:
        """Tell clients where the primary is. Those that are connected to another node stay until it refuses them."""
        point(self._path(), primary.port)

    def follow(self, chain: list[Server]) -> None:
        """Make a chain of the nodes, and wait until each has its copy. The first one is a primary already, or alone."""
        self.chain = list(chain)
        for before, node in zip(chain, chain[1:], strict=False):
            with node.client() as client:
                client.execute_command("REPLICAOF", "127.0.0.1", before.port)
        for before, node in zip(chain, chain[1:], strict=False):
            wait_synced(before, node, 60)
        self.lead(chain[0])

    def restart(self, node: Server, kill: bool = True) -> None:
        """Start a replica again, as a replica, and wait until it has what its primary has."""
        before = self.chain[self.chain.index(node) - 1]
        node.restart(kill=kill, replicaof=f"127.0.0.1 {before.port}")
        wait_synced(before, node, 60)

    def _environment(self, server: Server) -> dict[str, str]:
        links = self.network.environment(server)
        if not self._has_disks:
            return links
        if server not in self.disks:
            self.disks[server] = Disk(Path(tempfile.mkdtemp(dir=self._folder.name)))
        files = self.disks[server].environment(server)
        return {**links, **files, "LD_PRELOAD": f"{links['LD_PRELOAD']}:{files['LD_PRELOAD']}"}

    def _path(self) -> Path:
        return self._nodes[0].dir / "primary.json"
