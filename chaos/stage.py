"""What a fault acts on: the servers, the random bits of the run, and the faults that become part of the history.

A fault is a function `fault(stage)`, decorated with its name. It does one thing to the topology, waits until that is
over, and says with `stage.fault(...)` from when to when it lasted, and what it permits. What isn't said there is not
permitted.

    @injector("SIGSTOP")
    def stop(stage: Stage) -> None:
        node, server = stage.any_node()
        with stage.fault("SIGSTOP", node):
            server.freeze()
            stage.wait(stage.random.uniform(0.2, 1.2))
            server.thaw()
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.server import Server

from chaos.history import Fault, Journal, Record
from chaos.load import Load
from chaos.topology import Topology


class Stage:
    """The topology under a run, with its seeded random bits. Only one fault at a time uses it.

    `folder` is the run's, and `load` what runs on the servers meanwhile, if there is any.
    """

    def __init__(self, topology: Topology, seed: int, folder: Path, load: Load | None = None):
        self.topology, self.folder, self.load = topology, folder, load
        self.random = random.Random(f"faults {seed}")
        self.faults: list[Fault] = []
        # What a fault has seen that must not be, and that is not in the history.
        self.problems: list[str] = []
        self._journal = Journal(folder / "faults.jsonl")
        self._over = threading.Event()

    @contextmanager
    def fault(self, kind: str, node: int | str = 0) -> Iterator[Fault]:
        """The span of one fault. `node` is the number of a node in the topology, or a name for several.

        The block fills in `permits` and `details`. When it ends, the fault is in the history, also if it fails.
        """
        fault = Fault(kind, str(node), time.monotonic(), 0.0)
        try:
            yield fault
        finally:
            fault.ended = time.monotonic()
            self.faults.append(fault)
            self._journal.write(fault)

    def note(self, record: Record) -> None:
        """Put something that was seen into the history."""
        self._journal.write(record)

    def any_node(self) -> tuple[int, Server]:
        """One of the nodes, with its number."""
        return self.random.choice(list(enumerate(self.topology.nodes())))

    def any_primary(self) -> tuple[int, Server]:
        """One of the primaries, with its number."""
        server = self.random.choice(self.topology.primaries())
        return self.topology.nodes().index(server), server

    def wait(self, seconds: float) -> None:
        """Let a fault last: how long it lasts is what is tested. It ends early after `break_off`."""
        self._over.wait(seconds)

    def break_off(self) -> None:
        """End the wait of a fault that goes on, and all later ones."""
        self._over.set()

    def close(self) -> None:
        """Close the file of faults."""
        self._journal.close()
