"""`python -m chaos prove`: runs the simulated queue with each bug, and shows which rules found it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable

from chaos.rules import check
from chaos.rules.redelivery import redeliveries
from chaos.simulated.bugs import AT_CRASH, BUGS
from chaos.simulated.play import simulate
from chaos.simulated.world import Scene
from chaos.timeline import Timeline


def scene_of(bug: str, seed: int, load_s: float = 20.0) -> Scene:
    """A run in which this bug can be seen."""
    return Scene(seed, bug, load_s, crashes=3 if bug in AT_CRASH else 0)


def caught_by(bug: str, seed: int) -> set[str]:
    """The rules that found something in a run with this bug."""
    return {finding.rule for finding in check(simulate(scene_of(bug, seed)))}


def sound(seed: int) -> Timeline:
    """A run of the sound queue; every second one has crashes that undo half a second, and say so."""
    return Timeline(simulate(Scene(seed, undone_s=0.5 if seed % 2 else 0.0)))


def prove(seeds: int) -> int:
    """Print the table. Returns 1 if a bug was never found, or if the sound queue raised an alarm."""
    alarms, redelivered, explained = 0, 0, 0
    for seed in range(seeds):
        timeline = sound(seed)
        alarms += len(check(timeline))
        causes = [found.cause for found in redeliveries(timeline)]
        redelivered, explained = redelivered + len(causes), explained + len(causes) - causes.count(None)
    print(f"sound: {alarms} alarms in {seeds} seeds, {explained} of {redelivered} redeliveries explained\n")
    print(f"{'bug':22} {'found':>9}  by")
    missed = 0
    for bug, rules in BUGS.items():
        found: Counter[str] = Counter()
        times = 0
        for seed in range(seeds):
            caught = caught_by(bug, seed)
            found.update(caught)
            times += bool(caught & set(rules))
        missed += times == 0
        print(f"{bug:22} {times:3} of {seeds:2}  {_told(found.items())}", flush=True)
    return 1 if missed or alarms else 0


def _told(found: Iterable[tuple[str, int]]) -> str:
    """The rules that found it, the most frequent first."""
    ordered = sorted(found, key=lambda each: -each[1])
    return ", ".join(f"{rule} {times}" for rule, times in ordered[:4])


if __name__ == "__main__":
    sys.exit(prove(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
