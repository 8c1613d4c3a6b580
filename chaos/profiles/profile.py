"""A profile: which servers, under which load, meet which faults, and what may be lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from harness.server import Installed

from chaos.injector import Injector
from chaos.topology import Topology


@dataclass(frozen=True)
class Profile:
    """One row of the table of faults.

    - `what`: what happens, in the words of the table.
    - `topology`: makes the servers, which are not started yet.
    - `faults`: how often each happens beside the others. A run does those of its `share`, then draws until its time is
      over.
    - `window`: what may be lost, in the words of the table. The history says exactly which seconds.
    - `gap_s`: the seconds between two faults, at least and at most. In long gaps liveness can be judged.
    - `load`: options of the load; see chaos/load.
    - `must_lose`: the positive control. If its faults permitted nothing, the rules must find losses in its runs. Each
      run has all its faults.
    - `runs_on`: whether it can run on a server.
    - `lacks`: gets what it needs besides servers, and says why that can't be had here, if so. It is asked once, before
      the first run.
    """

    name: str
    what: str
    topology: Callable[[Installed], Topology]
    faults: Mapping[Injector, float]
    window: str = "none"
    gap_s: tuple[float, float] = (0.5, 2.0)
    load: Mapping[str, object] = field(default_factory=dict)
    must_lose: bool = False
    runs_on: Callable[[Installed], bool] = lambda installed: True
    lacks: Callable[[], str | None] = lambda: None
