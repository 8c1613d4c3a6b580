"""Spans as people type them: 250ms, 30s, 5m, 1h30m, 2d. Pure functions."""

from __future__ import annotations

import re

UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
# The longest span that the server takes anywhere.
HUNDRED_YEARS_MS = 100 * 365 * UNITS_MS["d"]
PART = re.compile(r"([0-9]{1,15})(ms|s|min|m|h|d)")


def span_of(text: str) -> int | None:
    """A span in ms, of one part or of several; None for a text that is none."""
    compact = "".join(text.lower().split())
    if compact == "0":
        return 0
    parts = PART.findall(compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        return None
    return sum(int(number) * UNITS_MS[unit] for number, unit in parts)


def typed_span(ms: int) -> str:
    """A span as `span_of` reads it, without loss: 90s, 5m, 250ms."""
    unit = next((unit for unit in ("d", "h", "m", "s") if ms and not ms % UNITS_MS[unit]), "ms")
    return f"{ms // UNITS_MS[unit]}{unit}"
