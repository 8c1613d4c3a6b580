"""What a run needs to know of the servers under test.

A topology knows how to start, find, compare and end its servers. Faults do things to them, and say what that permits.
topologies/ has them all.
"""

from __future__ import annotations

from typing import Any, Protocol

from harness.server import Server

from chaos.history import Digest, Exit

Addresses = dict[str, Any]


class Topology(Protocol):
    """Servers under test. The run calls its methods from one thread; only `addresses` is for others too."""

    def start(self) -> None:
        """Start all servers, and wait until they serve."""

    def addresses(self) -> Addresses:
        """Where clients find the servers, in a form of chaos/load/addresses.py. It holds for the whole run."""

    def nodes(self) -> list[Server]:
        """All servers with queues, in a fixed order, whether they run or not. Faults name a node by its place here."""

    def primaries(self) -> list[Server]:
        """The nodes that clients may write to now."""

    def settle(self) -> None:
        """End all faults: every node runs and serves, every link is up, replicas have what their primary has."""

    def compared(self) -> list[Digest]:
        """The digests of all queues on all nodes, and after a reload of their files. After `settle`, without load."""

    def exits(self) -> list[Exit]:
        """Servers that ended or crashed though no fault ended them."""

    def stop(self) -> None:
        """End all servers, and remove their data."""
