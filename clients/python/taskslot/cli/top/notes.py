"""What `taskslot top` says below its table: what is wrong with servers, and what the table does not show."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from ...figures import plural
from ...overview import Seen, Severity, node_concerns
from ...overview.tones import OF_SEVERITY
from ...printable import printable
from .columns import STYLES

# So many servers are named in one note.
MOST_NAMED = 3


def notes(seen: Seen, limit: int) -> list[Text]:
    """All notes: what is wrong with the servers first, the most urgent of it first."""
    return [*of_nodes(seen), *(Text(note, style="yellow") for note in of_table(seen, limit))]


def of_nodes(seen: Seen) -> list[Text]:
    """What is wrong with the servers. Servers with the same concern share a note."""
    found: dict[tuple[Severity, str], list[str]] = {}
    for node in seen.nodes:
        for concern in node_concerns(node):
            if concern.severity > Severity.KNOW:
                found.setdefault((concern.severity, concern.text), []).append(node.address)
    if seen.away:
        found[Severity.ACT, "no answer"] = seen.away
    made = []
    for (severity, text), places in sorted(found.items(), key=lambda one: -one[0][0]):
        more = f" and {len(places) - MOST_NAMED} more" if len(places) > MOST_NAMED else ""
        where = printable(", ".join(places[:MOST_NAMED])) + more
        made.append(Text(f"{where}: {text}", style=STYLES[OF_SEVERITY[severity]]))
    return made


def of_table(seen: Seen, limit: int) -> Iterator[str]:
    """What the table does not show, and why."""
    if seen.was_cut:
        yield f"there are more than {plural(limit, 'queue')}: use --limit to show more"
    if not seen.is_whole:
        yield "still searching the keys for queues"
    if seen.unread:
        yield f"{plural(seen.unread, 'queue')} could not be read in time"
    if seen.oversized:
        yield f"{plural(seen.oversized, 'queue')} with very long names left out"
    if seen.unreadable:
        key, why = next(iter(seen.unreadable.items()))
        more = f" and {len(seen.unreadable) - 1} more" if len(seen.unreadable) > 1 else ""
        yield f"can't read {printable(key)}{more}: {printable(why)}"
    for what, why in seen.refused.items():
        if not what.startswith("INFO "):  # the node itself says that
            yield f"{what}: {printable(why)}"
