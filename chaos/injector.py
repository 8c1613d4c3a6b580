"""What does a fault, and which of a profile's faults a run does for certain."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

from harness.server import Installed

from chaos.history import MARKS
from chaos.stage import Stage

# So many runs with seeds in a row have all faults of a profile: one on each server that the product supports.
ROUND = 4


@dataclass(frozen=True, eq=False)
class Injector:
    """Does one thing to the topology of a stage.

    - `kinds`: what the history calls its faults. Each call leaves one fault of each kind there.
    - `is_command`: whether it is what an operator asks for, and no mishap.
    - `is_final`: whether there is no way back, so that a run does it once.
    - `only_on`: which servers can do it; None for all.
    """

    act: Callable[[Stage], None]
    kinds: tuple[str, ...]
    is_command: bool = False
    is_final: bool = False
    only_on: Callable[[Installed], bool] | None = None

    def __call__(self, stage: Stage) -> None:
        """Do it, and note as a problem of the run if the history doesn't have what it does."""
        before = len(stage.faults)
        self.act(stage)
        happened = {fault.kind for fault in stage.faults[before:]}
        stage.problems += [f"{kind} did not happen" for kind in self.kinds if kind not in happened]

    @property
    def is_mark(self) -> bool:
        """Whether it is no fault, but looks at the servers."""
        return set(self.kinds) <= set(MARKS)

    def runs_on(self, installed: Installed) -> bool:
        """Whether a server can do it."""
        return self.only_on is None or self.only_on(installed)


def injector(
    *kinds: str,
    is_command: bool = False,
    is_final: bool = False,
    only_on: Callable[[Installed], bool] | None = None,
) -> Callable[[Callable[[Stage], None]], Injector]:
    """A decorator that makes a function one that injects faults of these kinds."""
    return lambda act: Injector(act, kinds, is_command, is_final, only_on)


def share(faults: Collection[Injector], installed: Installed, seed: int, is_whole: bool) -> list[Injector]:
    """Which of these faults a run with this seed does for certain.

    It is a quarter of them, so that four seeds in a row have all, on whichever servers; all with `is_whole`. What not
    every server can do is done in each run on those that can. Marks are not among them.
    """
    rare = [one for one in faults if one.only_on and one.only_on(installed)]
    common = [one for one in faults if not one.only_on and not one.is_mark]
    count = len(common) if is_whole else math.ceil(len(common) / ROUND)
    return rare + [common[(seed * count + number) % len(common)] for number in range(count)]
