"""What `taskslot top` says below its table: what is wrong with servers, and what the table does not show."""

from __future__ import annotations

from rich.text import Text

from ...overview import Seen, Severity, node_concerns
from ...overview.notes import AWAY, left_out
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
        found[AWAY.severity, AWAY.text] = seen.away
    made = []
    for (severity, text), places in sorted(found.items(), key=lambda one: -one[0][0]):
        more = f" and {len(places) - MOST_NAMED} more" if len(places) > MOST_NAMED else ""
        where = printable(", ".join(places[:MOST_NAMED])) + more
        made.append(Text(f"{where}: {text}", style=STYLES[OF_SEVERITY[severity]]))
    return made


def of_table(seen: Seen, limit: int) -> list[str]:
    """What the table does not show, and why."""
    return left_out(seen, limit) + ["--limit shows more queues"] * seen.was_cut
