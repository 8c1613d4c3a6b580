"""Figures for people, as short texts: counts, rates, spans, sizes and instants, whatever the number."""

from __future__ import annotations

from datetime import datetime

# The units of spans, in ms.
SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000

UNKNOWN = "–"


def count(number: float) -> str:
    """At most five characters: 999, 12.3k, 123k, 1.2M, 12G."""
    if abs(number) < 10_000:
        return str(round(number))
    for unit in "kMGT":
        number /= 1000
        if abs(number) < 99.95:
            return f"{number:.1f}{unit}"
        if abs(number) < 999.5:
            return f"{number:.0f}{unit}"
    return f"{number:.0f}T"


def rate(per_second: float) -> str:
    """Tasks a second: 0, 0.02, 4.2, 137, 12.3k."""
    if per_second <= 0:
        return "0"
    if per_second < 0.095:
        return f"{per_second:.2f}" if per_second >= 0.005 else "<.01"
    if per_second < 99.95:
        return f"{per_second:.1f}"
    return count(per_second)


def span(ms: float) -> str:
    """A span in at most five characters: 850ms, 1.2s, 45s, 3m20, 2h05, 4d; – if it is unknown (negative)."""
    if ms < 0:
        return UNKNOWN
    if ms < SECOND:
        return f"{int(ms)}ms"
    if ms < 10 * SECOND:
        # Cut, not rounded: 9.99 s is less than ten seconds.
        return f"{int(ms / 100) / 10:.1f}s"
    if ms < MINUTE:
        return f"{int(ms / SECOND)}s"
    if ms < HOUR:
        return f"{int(ms / MINUTE)}m{int(ms % MINUTE / SECOND):02}"
    if ms < DAY:
        return f"{int(ms / HOUR)}h{int(ms % HOUR / MINUTE):02}"
    return f"{int(ms / DAY)}d" if ms < 9999 * DAY else "ever"


def size(number: int) -> str:
    """Bytes in powers of 1024: 512 B, 1.5 KiB, 12 MiB."""
    value = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def instant(unix_ms: int) -> str:
    """A unix time in ms as local date and time."""
    return datetime.fromtimestamp(unix_ms / 1000).isoformat(" ", "milliseconds")


def age(ms: float) -> str:
    """A span in words, for a sentence: 45 s, 4 min, 2 h, 3 d. It is cut, not rounded."""
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min")):
        if ms >= unit:
            return f"{int(ms / unit)} {name}"
    return f"{int(ms / SECOND)} s"


def plural(number: int, what: str, many: str = "") -> str:
    """`1 queue`, `2 queues`; `many` is a plural that is not made by an s."""
    return f"{number} {what if number == 1 else many or what + 's'}"
