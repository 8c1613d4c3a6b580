"""What a look left out, in words for `top`, the page and `doctor`. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping

from ..figures import plural
from ..printable import printable
from .attention import Concern, Severity, one_line
from .seen import Seen

# A server that does not reply.
AWAY = Concern(Severity.ACT, "away", "no answer")


def left_out(seen: Seen, limit: int) -> list[str]:
    """What a look could not see of the queues, and why: a line for each reason."""
    found = []
    if seen.was_cut:
        found.append(f"there are more than {plural(limit, 'queue')}: the others are left out")
    unsearched = [address for command, address in seen.refused if command == "SCAN"]
    if not seen.is_whole and not unsearched:
        found.append("not all keys have been searched for queues yet")
    if seen.unread:
        found.append(f"{plural(seen.unread, 'queue')} could not be read in time")
    if seen.oversized:
        found.append(f"{plural(seen.oversized, 'queue')} with very long names left out")
    if seen.unreadable:
        key, why = next(iter(seen.unreadable.items()))
        more = f" and {len(seen.unreadable) - 1} more" if len(seen.unreadable) > 1 else ""
        found.append(f"can't read {one_line(key)}{more}: {one_line(why)}")
    return found + refusals({("SCAN", address): seen.refused["SCAN", address] for address in unsearched})


def shut(seen: Seen) -> str:
    """Why no queue could be read, though servers answered; empty if one was, or if there is none."""
    reasons = [*seen.unreadable.values(), *(why for (what, _), why in seen.refused.items() if what == "SCAN")]
    return one_line(reasons[0]) if reasons and not seen.infos else ""


def refusals(refused: Mapping[tuple[str, str], str]) -> list[str]:
    """What servers refuse: a line for each command and address."""
    return [
        f"{command} on {printable(address)}: {one_line(why)}" for (command, address), why in refused.items()
    ]
