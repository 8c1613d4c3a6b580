"""What a process of the load is told: a file of JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chaos.load.addresses import Addresses

# How long a process waits for its threads once it is told to stop, in seconds. The runner kills it after that.
PATIENCE_S = 2.0


@dataclass(frozen=True)
class Spec:
    """What a process of the load does. `role` is one of process.py, or of node/process.mjs."""

    name: str
    role: str
    seed: str
    addresses: Addresses
    options: dict[str, Any]
    folder: str
    keeps: bool = False
    # Its first thread works for the tag at this place, the second for the next.
    turn: int = 0

    def write(self) -> Path:
        """Write it to a file in the folder of the run."""
        path = Path(self.folder) / f"{self.name}.spec"
        path.write_text(json.dumps(vars(self)))
        return path
