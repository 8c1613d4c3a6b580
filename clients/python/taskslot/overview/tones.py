"""How a figure stands out where there is colour. `top` and the page ask the same functions. Pure."""

from __future__ import annotations

from enum import StrEnum

from ..replies import Load
from .attention import CLOCK_OFF_MS, LATE_MS, MEMORY_SHORT, Severity

# From this utilisation on, waits grow; from the other on, the backlog does.
BUSY, OVERLOADED = 0.8, 1.0


class Tone(StrEnum):
    """How a figure stands out. The values are the page's CSS classes."""

    PLAIN = ""
    STRONG = "strong"  # what one looks for first
    DIM = "zero"  # nothing, or unknown
    LOOK = "look"
    BAD = "bad"


OF_SEVERITY = {Severity.KNOW: Tone.DIM, Severity.LOOK: Tone.LOOK, Severity.ACT: Tone.BAD}


def of_known(value: float) -> Tone:
    """A figure that is dim if it is 0, or unknown (-1)."""
    return Tone.PLAIN if value > 0 else Tone.DIM


def of_span(ms: float) -> Tone:
    """A span that is dim if it is unknown (-1)."""
    return Tone.PLAIN if ms >= 0 else Tone.DIM


def of_dead(number: int) -> Tone:
    """Dead tasks are worth a look, as `concerns` says."""
    return Tone.LOOK if number else Tone.DIM


def of_utilisation(value: float) -> Tone:
    """ρ: worth a look from 0.8, where waits grow; bad from 1, where the backlog grows."""
    return Tone.BAD if value >= OVERLOADED else Tone.LOOK if value >= BUSY else of_known(value)


def of_places(load: Load) -> Tone:
    """Fewer places than the load needs are worth a look."""
    there = load.places_busy + load.places_free
    return Tone.LOOK if load.places_needed > there else of_known(there)


def of_drain(load: Load) -> Tone:
    """A backlog that does not shrink is bad."""
    return Tone.DIM if not load.backlog else Tone.BAD if load.drain_ms < 0 else Tone.PLAIN


def of_lag(ms: int) -> Tone:
    """Work that is late enough for people to notice is bad."""
    return Tone.BAD if ms > LATE_MS else of_span(ms)


def of_memory(share: float) -> Tone:
    """A server that is short of memory is worth a look."""
    return Tone.LOOK if share >= MEMORY_SHORT else of_span(share)


def of_clock(off_ms: int) -> Tone:
    """A clock that is off is worth a look."""
    return Tone.LOOK if off_ms > CLOCK_OFF_MS else Tone.PLAIN
