"""Numbers, spans and instants as the page writes them: the texts of `taskslot info` and `top`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ... import figures


def grouped(number: float) -> str:
    """A number in full: 12,345."""
    return f"{round(number):,}"


def iso(unix_ms: float) -> str:
    """An instant for `<time datetime>`. Empty if it is beyond what a calendar knows."""
    made = at(unix_ms)
    return made.isoformat(timespec="milliseconds").replace("+00:00", "Z") if made else ""


def instant(unix_ms: float) -> str:
    """An instant for people, in UTC. The page's script shows it in the browser's zone."""
    made = at(unix_ms)
    return made.strftime("%Y-%m-%d %H:%M:%S UTC") if made else f"{unix_ms:.0f} ms"


def at(unix_ms: float) -> datetime | None:
    """A unix time in ms as a datetime."""
    try:
        return datetime.fromtimestamp(unix_ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return None


FILTERS: dict[str, Callable[..., Any]] = {
    "count": figures.count,
    "grouped": grouped,
    "rate": figures.rate,
    "span": figures.span,
    "age": figures.age,
    "size": figures.size,
    "iso": iso,
    "instant": instant,
}
