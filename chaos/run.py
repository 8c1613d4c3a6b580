"""One run: servers up, load on, faults from a seed, faults off, everything drained, the history judged."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.server import ROOT, Installed

from chaos.faults.takeover import permit_unasked
from chaos.history import History, Journal, Record, Run, read
from chaos.injector import share
from chaos.load import Load
from chaos.profiles.profile import Profile
from chaos.stage import Stage
from chaos.topology import Topology

OUTPUT = ROOT / ".run/chaos"
# How many of the gaps between faults are so long that the rules can ask whether all goes on, and how long they are.
CALM, CALM_S = 0.1, 5.0


@dataclass(frozen=True)
class Order:
    """What is to be run: a profile on a server, with a seed, for so many seconds of load."""

    profile: Profile
    installed: Installed
    seed: int
    seconds: float
    output: Path = OUTPUT

    @property
    def folder(self) -> Path:
        """Where its history is kept."""
        return self.output / self.installed.name / f"{self.profile.name}-{self.seed}"


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its history, and what went wrong in the run itself, apart from findings."""

    order: Order
    history: History
    problems: list[str]


def run(order: Order) -> Outcome:
    """Do one run. Its folder is empty or doesn't exist before."""
    order.folder.mkdir(parents=True, exist_ok=True)
    topology = order.profile.topology(order.installed)
    problems: list[str] = []
    is_up = False
    try:
        topology.start()
        is_up = True
        problems += under_load(order, topology)
    except Exception:
        problems.append(traceback.format_exc())
        if is_up:
            keep_logs(topology, order.folder)
    finally:
        topology.stop()
    return Outcome(order, read(order.folder), problems)


def under_load(order: Order, topology: Topology, compares: bool = True) -> list[str]:
    """The run once the servers serve. Returns what went wrong. Servers may be others after comparing them."""
    load = Load(topology.addresses(), order.seed, order.folder, order.profile.load)
    stage = Stage(topology, order.seed, order.folder, load)
    wall_ms = time.time() * 1000 - time.monotonic() * 1000
    since = time.monotonic()
    try:
        try:
            load.start()
            began = time.monotonic()
            inject(order, stage)
            topology.settle()
        finally:
            ended = time.monotonic()
            load.stop()
        load.drain()
        permit_unasked(stage, since)
    finally:
        stage.close()
    ran = Run(
        order.seed,
        order.installed.name,
        order.profile.name,
        began,
        ended,
        wall_ms,
        load.settings,
        load.groups,
        {"seconds": order.seconds, "lacks": [load.lacks_node] if load.lacks_node else []},
    )
    write(order.folder / "run.jsonl", [ran, *(topology.compared() if compares else []), *topology.exits()])
    if topology.exits():
        keep_logs(topology, order.folder)
    return load.problems() + stage.problems


def inject(order: Order, stage: Stage) -> None:
    """Do the faults that are this run's share, then others until the time is over, with gaps between them."""
    profile = order.profile
    faults = {one: weight for one, weight in profile.faults.items() if one.runs_on(order.installed)}
    due = share(profile.faults, order.installed, order.seed, profile.must_lose)
    stage.random.shuffle(due)
    end = time.monotonic() + order.seconds
    while due or time.monotonic() < end:
        is_calm = order.seconds >= 2 * CALM_S and stage.random.random() < CALM
        gap_s = CALM_S if is_calm else stage.random.uniform(*profile.gap_s)
        # What is due comes though the time is over, as soon as it can.
        stage.wait(min(gap_s, max(profile.gap_s[0] if due else 0.0, end - time.monotonic())))
        if due:
            fault = due.pop()
        elif faults and time.monotonic() < end:
            (fault,) = stage.random.choices(list(faults), list(faults.values()))
        else:
            continue
        fault(stage)
        if fault.is_final:
            del faults[fault]


def write(path: Path, records: Iterable[Record]) -> None:
    """Write records into a file of the history."""
    with Journal(path) as journal:
        for record in records:
            journal.write(record)


def keep_logs(topology: Topology, folder: Path) -> None:
    """Copy the servers' logs beside the history."""
    for number, server in enumerate(topology.nodes()):
        (folder / f"server-{number}.log").write_text(server.log())
