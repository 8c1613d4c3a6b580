"""What about a queue or a server needs a person, in words and in order. Pure functions.

`taskslot top`, `taskslot info` and the web page say the same words and sort by the same order.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple, Protocol

from ..figures import MINUTE, age, count, plural, size
from ..printable import printable
from ..replies import Info
from .node_info import UNREACHED, NodeInfo
from .words import paused, stopped_groups

# Tasks that wait longer than this for a worker are worth a look.
LONG_WAIT_MS = MINUTE
# A worker that polls is not seen between two claims, and places are few for a moment at each burst. So a queue on which
# somebody works gets no word about either while its oldest task has waited for less than this.
UNATTENDED_MS, BURST_MS = 10_000, 1000
# A clock that is this far off makes spans and due times wrong enough to see.
CLOCK_OFF_MS = 1000
# Timed work that is later than this has an effect on people (docs/observability.md, "Alerts to set").
LATE_MS, VERY_LATE_MS = 1000, 10_000
# The share of `maxmemory` from which a server is short of memory, and from which pushes will soon be refused.
MEMORY_SHORT, MEMORY_FULL = 0.8, 0.95
# A text of the server's is cut to this length.
MOST_TEXT = 80


class Severity(IntEnum):
    """How soon a person is needed."""

    KNOW = 0  # it is as somebody wanted it, and fine to know
    LOOK = 1
    ACT = 2


class Concern(NamedTuple):
    """Something that a person should know: how soon, a name for programs, and a short text without control characters.

    The names are those that `concerns` and `node_concerns` list, in the order of their weight.
    """

    severity: Severity
    name: str
    text: str


class Ranked(Protocol):
    """What `attention` sorts: a row."""

    @property
    def queue(self) -> str:
        """The queue's name."""

    @property
    def info(self) -> Info:
        """Its state."""

    @property
    def concerns(self) -> tuple[Concern, ...]:
        """What needs a person."""


def concerns(info: Info, long_wait_ms: int = LONG_WAIT_MS) -> tuple[Concern, ...]:
    """What a person should know about a queue, the most urgent first: in this order.

    `broken`: it takes no changes. `unattended`: tasks are ready, and no worker holds a task or waits for one, since ten
    seconds or ever; to act on once they have waited for `long_wait_ms` and nothing was finished in the last minute.
    `late`: the oldest ready task has waited for `long_wait_ms`. `places`: tasks wait, and there are fewer places than
    the load needs. `dead`: tasks died. `paused`: claims or pushes are stopped by a person. `groups`: groups are paused,
    or stopped by limits of their own; worth a look if no ready task may be claimed therefore. `held`: a limit stops
    claims now.
    """
    load = info.load
    places = load.places_busy + load.places_free
    waited_ms = info.oldest_ready_ms
    waits_long = waited_ms >= long_wait_ms
    is_attended = bool(places) or (info.claimed and waited_ms < UNATTENDED_MS)
    found: list[Concern] = []
    if info.broken:
        found.append(Concern(Severity.ACT, "broken", f"broken: {one_line(info.broken)}"))
    if info.ready and not is_attended and not info.paused_out and not info.held_by:
        is_over = waits_long and info.out_per_second_1m <= 0
        text = f"{count(info.ready)} ready and nobody works"
        found.append(Concern(Severity.ACT if is_over else Severity.LOOK, "unattended", text))
    if waits_long and info.ready and not info.paused_out:
        found.append(Concern(Severity.LOOK, "late", f"oldest ready waits {age(info.oldest_ready_ms)}"))
    if info.ready and 0 < places < load.places_needed and waited_ms >= BURST_MS and not info.paused_out:
        text = f"{plural_places(load.places_needed)} needed, {count(places)} there"
        found.append(Concern(Severity.LOOK, "places", text))
    if info.dead:
        found.append(Concern(Severity.LOOK, "dead", f"{count(info.dead)} dead"))
    if info.paused_out or info.paused_in:
        # Somebody wanted that; but tasks that wait for it are easily forgotten.
        severity = Severity.LOOK if info.paused_out and info.ready else Severity.KNOW
        found.append(Concern(severity, "paused", f"paused: {paused(info)}"))
    if text := stopped_groups(info):
        severity = Severity.LOOK if info.held_by == "groups" else Severity.KNOW
        found.append(Concern(severity, "groups", text))
    if info.held_by:
        found.append(Concern(Severity.KNOW, "held", f"held by {one_line(info.held_by)}"))
    return tuple(found)


def node_concerns(node: NodeInfo) -> tuple[Concern, ...]:
    """What a person should know about a server, the most urgent first: in this order.

    `module`: it has none. `broken`: queues of it are broken. `lag`: timed work is late. `link`: a replica has lost its
    primary. `memory`: it is short of memory. The warnings of the module by their names: `eviction`, `durability`,
    `aof_cut`, `queue_size`. `clock`: its clock is off. `unknown`: its INFO could not be read; that is fine of a
    replica that only this machine can't reach.
    """
    if node.trouble == UNREACHED:
        return (
            Concern(
                Severity.KNOW, "unknown", "can't be reached from this machine; its primary says it is online"
            ),
        )
    if node.trouble:
        return (Concern(Severity.LOOK, "unknown", f"INFO can't be read: {one_line(node.trouble)}"),)
    found: list[Concern] = []
    if not node.module:
        found.append(Concern(Severity.ACT, "module", "no taskslot module"))
    if node.broken_queues > 0:
        found.append(Concern(Severity.ACT, "broken", plural(node.broken_queues, "broken queue")))
    if node.due_lag_ms > LATE_MS:
        severity = Severity.ACT if node.due_lag_ms > VERY_LATE_MS else Severity.LOOK
        found.append(Concern(severity, "lag", f"due work is {node.due_lag_ms / 1000:.1f} s late"))
    if node.link and node.link != "up":
        found.append(Concern(Severity.ACT, "link", f"the link to its primary is {one_line(node.link)}"))
    if node.memory_share >= MEMORY_SHORT:
        severity = Severity.ACT if node.memory_share >= MEMORY_FULL else Severity.LOOK
        text = f"{node.memory_share:.0%} of {size(node.maxmemory)} memory used"
        found.append(Concern(severity, "memory", text))
    for name, text in node.warnings.items():
        found.append(Concern(Severity.LOOK, name, printable(text)))
    if clock_off_ms(node) > CLOCK_OFF_MS:
        found.append(Concern(Severity.LOOK, "clock", clock_text(node)))
    return tuple(sorted(found, key=lambda concern: -concern.severity))


def clock_off_ms(node: NodeInfo) -> int:
    """How far a server's clock is off from this machine's, less what the measurement can be wrong; or the module's."""
    ahead = 0 if node.ahead_ms is None else max(0, abs(node.ahead_ms) - max(0, node.took_ms))
    return max(ahead, abs(node.clock_skew_ms))


def clock_text(node: NodeInfo) -> str:
    """Which clock of a server is off from which, and which way."""
    ahead_ms, skew_ms = node.ahead_ms or 0, node.clock_skew_ms
    if abs(ahead_ms) - max(0, node.took_ms) > CLOCK_OFF_MS:
        return f"clock {abs(ahead_ms) / 1000:.1f} s {'ahead of' if ahead_ms > 0 else 'behind'} this machine's"
    return (
        f"module's clock {abs(skew_ms) / 1000:.1f} s {'ahead of' if skew_ms > 0 else 'behind'} the server's"
    )


def attention(row: Ranked) -> tuple[object, ...]:
    """The sort key of "what needs a person first": severity, weight of the concern, tasks that wait, name."""
    first = row.concerns[0] if row.concerns else None
    severity, weight = (-first.severity, WEIGHTS[first.name]) if first else (1, 0)
    return severity, weight, -row.info.ready, -row.info.leased, row.queue


# The names of a queue's concerns, in the order of their weight.
NAMES = ("broken", "unattended", "late", "places", "dead", "paused", "groups", "held")
WEIGHTS = {name: weight for weight, name in enumerate(NAMES)}


def plural_places(number: int) -> str:
    """`1 place`, `12.3k places`."""
    return f"{count(number)} place{'' if number == 1 else 's'}"


def one_line(text: str) -> str:
    """A text of the server's on one line, cut."""
    text = printable(text)
    return text if len(text) <= MOST_TEXT else text[: MOST_TEXT - 1] + "…"
