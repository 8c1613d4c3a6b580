"""The columns of the table of queues, in `taskslot top` and on the page: the same words in the same order. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..figures import UNKNOWN, count, rate, span
from ..replies import Info, Load
from .attention import one_line
from .tones import Tone, of_dead, of_drain, of_known, of_places, of_span, of_utilisation
from .words import known, paused


@dataclass(frozen=True)
class Column:
    """A figure of a queue: a name for URLs, the heading, what it means, and its value, text and tone.

    `value` is what one sorts by. `is_rare` says that most queues have nothing there, so a narrow screen leaves it out.
    """

    name: str
    head: str
    title: str
    value: Callable[[Info], Any]
    text: Callable[[Info], str]
    tone: Callable[[Info], Tone]
    is_rare: bool = False

    @property
    def is_number(self) -> bool:
        """Whether it is a figure, and not words."""
        return self.name not in ("held_by", "paused")

    def in_full(self, info: Info) -> str:
        """A count that the text shortens, in full; empty otherwise."""
        value, text = self.value(info), self.text(info)
        return f"{value:,}" if isinstance(value, int) and text == count(value) != str(value) else ""


def number(name: str, title: str, value: Callable[[Info], int], is_rare: bool = False) -> Column:
    """A column of tasks or batches, with its name as its heading."""
    return Column(
        name, name, title, value, lambda info: count(value(info)), lambda info: of_known(value(info)), is_rare
    )


def speed(name: str, head: str, title: str, value: Callable[[Info], float]) -> Column:
    """A column of tasks a second."""
    return Column(
        name, head, title, value, lambda info: rate(value(info)), lambda info: of_known(value(info))
    )


def time(name: str, head: str, title: str, value: Callable[[Info], int]) -> Column:
    """A column of spans."""
    return Column(name, head, title, value, lambda info: span(value(info)), lambda info: of_span(value(info)))


def utilisation(info: Info) -> str:
    """ρ in at most four characters."""
    value = info.load.utilisation
    if value < 0:
        return UNKNOWN
    return f"{value:.2f}" if value < 9.995 else f"{min(value, 9999):.0f}"


def places(load: Load) -> str:
    """The places of workers: busy, free, and needed for the load."""
    needed = known(load.places_needed)
    return "/".join(
        one if isinstance(one, str) else count(one) for one in (load.places_busy, load.places_free, needed)
    )


def drain(load: Load) -> str:
    """The time until no task is ready; `never` if the backlog doesn't shrink."""
    return UNKNOWN if not load.backlog else "never" if load.drain_ms < 0 else span(load.drain_ms)


def drained_after(load: Load) -> float:
    """The time until no task is ready, to sort by: a backlog that doesn't shrink is the longest."""
    return -1 if not load.backlog else float("inf") if load.drain_ms < 0 else load.drain_ms


COLUMNS = (
    Column(
        "ready", "ready", "tasks that a worker can claim now", lambda info: info.ready,
        lambda info: count(info.ready), lambda info: Tone.STRONG if info.ready else Tone.DIM,
    ),
    time("oldest", "oldest", "how long the oldest ready task has waited", lambda info: info.oldest_ready_ms),
    number("delayed", "tasks that become ready later", lambda info: info.delayed, is_rare=True),
    number("held", "tasks that wait for others or for a batch", lambda info: info.held, is_rare=True),
    number("leased", "tasks that workers hold", lambda info: info.leased),
    Column(
        "dead", "dead", "tasks that failed too often", lambda info: info.dead,
        lambda info: count(info.dead), lambda info: of_dead(info.dead), is_rare=True,
    ),
    speed("in", "in/s", "tasks pushed a second, over the last minute", lambda info: info.in_per_second_1m),
    speed("out", "out/s", "tasks finished a second, over the last minute", lambda info: info.out_per_second_1m),
    time("wait", "wait p95", "95 % of the tasks waited less than this", lambda info: info.wait_p95_ms),
    time("run", "run p95", "95 % of the tasks ran for less than this", lambda info: info.run_p95_ms),
    Column(
        "load", "ρ", "utilisation: the share of the places that work needs", lambda info: info.load.utilisation,
        utilisation, lambda info: of_utilisation(info.load.utilisation),
    ),
    Column(
        "places", "places", "busy / free / needed places of workers", lambda info: info.load.places_needed,
        lambda info: places(info.load), lambda info: of_places(info.load),
    ),
    Column(
        "drain", "drain", "how long until no task is ready, at the pace of now",
        lambda info: drained_after(info.load), lambda info: drain(info.load), lambda info: of_drain(info.load),
        is_rare=True,
    ),
    number(
        "batches", "batches whose callbacks have not ended",
        lambda info: info.batches_open + info.batches_closed, is_rare=True,
    ),
    Column(
        "held_by", "held by", "the limit that stops claims now; groups: that of each ready task",
        lambda info: info.held_by, lambda info: one_line(info.held_by), lambda info: Tone.PLAIN, is_rare=True,
    ),
    Column(
        "paused", "paused", "what a person has stopped", lambda info: (bool(info.paused_out), bool(info.paused_in)),
        paused, lambda info: Tone.PLAIN, is_rare=True,
    ),
)  # fmt: skip
BY_NAME = {column.name: column for column in COLUMNS}
