"""What `top` and the page say of a server (`node_concerns`): why it matters, and what mends it."""

from __future__ import annotations

from collections.abc import Iterator

from ...overview import Concern, node_concerns
from ...overview.node_info import UNREACHED
from ...overview.seen import Seen
from ...printable import printable
from ..facts import Facts, Node
from ..finding import Finding, set_to

# The broken queues that are named.
NAMED = 5
# Why a concern matters, and what mends it, by its name.
EXPLAINED = {
    "away": ("its queues, or its copy of them, are away", "start it; look at its log and at the network"),
    "module": (
        "it has no TASK commands; a replica without it holds no task, yet WAIT counts it",
        'start it with --loadmodule "$(taskslot path)", or `loadmodule /path/to/libtaskslot.so` in redis.conf',
    ),
    "broken": (
        "they can be read but not changed",
        "docs/operations.md#broken-queues; TASK.INFO key has the reason",
    ),
    "lag": (
        "something blocks the server",
        "LATENCY LATEST and SLOWLOG GET show what (docs/operations.md#tasks-start-late)",
    ),
    "link": (
        "it falls behind, and a failover to it would lose tasks",
        "look at both logs and at the network",
    ),
    "memory": (
        "pushes get OOM when it is full",
        "add workers, purge dead and done tasks (taskslot purge QUEUE dead --all), or raise maxmemory",
    ),
    "eviction": (
        "a full server removes any queue, with all tasks and leases",
        set_to("maxmemory-policy", "noeviction"),
    ),
    "durability": ("a crash loses every task since the last snapshot", set_to("appendonly", "yes")),
    "aof_cut": (
        "Redis can cut it in the wrong place: what is written from now on can be lost at the next start",
        "BGREWRITEAOF, before the server stops (docs/operations.md#after-an-aof-was-cut)",
    ),
    "clock": (
        "due times (AT) and cron schedules follow the server's clock",
        "synchronise all machines by NTP (chronyc tracking, timedatectl)",
    ),
    "unknown": (
        "nothing is known of it: it may have another address for its primary than for you",
        "run taskslot doctor where it can be reached",
    ),
}
# Warnings of a later module have a name that is not known here.
OTHER = ("the module says so", "docs/operations.md#memory")


def check(facts: Facts) -> Iterator[Finding]:
    """What is said of each server. What could not be read is no finding: the report says that by itself."""
    for node in facts.nodes:
        for concern in node_concerns(node.info):
            if concern.name != "unknown" or node.info.trouble == UNREACHED:
                yield found(node.address, named(concern, node, facts.seen))


def found(address: str, concern: Concern) -> Finding:
    """A concern as a finding."""
    why, mend = EXPLAINED.get(concern.name, OTHER)
    return Finding(concern.severity, concern.name, address, concern.text, why, mend)


def named(concern: Concern, node: Node, seen: Seen | None) -> Concern:
    """The concern of broken queues with some of their names."""
    if concern.name != "broken" or seen is None:
        return concern
    keys = sorted(
        key for key, info in seen.infos.items() if info.broken and seen.places.get(key) == node.address
    )
    texts = [printable(key)[:80] for key in keys[:NAMED]] + ["…"] * (len(keys) > NAMED)
    return concern._replace(text=f"{concern.text} ({', '.join(texts)})") if texts else concern
