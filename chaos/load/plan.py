"""What the load consists of: its queues and their settings, and how much of what comes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

# The kinds of queues. Each shows other rules.
PLAIN, RICH, GROUPS, FLOW = "plain", "rich", "groups", "flow"
RESULTS, NOACK, TIED, LIBRARY, IDLE = "results", "noack", "tied", "library", "idle"
KINDS = (PLAIN, RICH, GROUPS, FLOW, RESULTS, NOACK, TIED, LIBRARY, IDLE)
# The queues that raw workers claim from with leases.
LEASED = (PLAIN, RICH, GROUPS, FLOW, RESULTS)

# A lease of TIED is so much longer than others: it is the end of the connection that should end it.
TIED_LEASES = 6

# Hash tags whose slots are at different primaries of a cluster of three.
TAGS = ("a", "b", "c")
GROUP_NAMES = tuple(f"g{number}" for number in range(6))
# The name of the function that workers of the libraries run.
FUNCTION = "work"


@dataclass(frozen=True)
class Options:
    """What a profile may choose about its load. All of it goes to the processes as JSON.

    `rate` is the number of pushes a second of all producers together. `tags` are the hash tags of the queues: one queue
    of each kind for each tag. `keeping` producers keep the connection to a server that doesn't answer, instead of
    looking for its successor. `confirmed` is the share of pushes after which a producer asks by WAIT whether a replica
    has them. `node` and `library` can leave out the clients of Node and of the libraries.
    """

    rate: float = 300.0
    tags: tuple[str, ...] = ("a",)
    kinds: tuple[str, ...] = KINDS
    lease_ms: int = 1500
    producers: int = 2
    workers: int = 2
    keeping: int = 0
    confirmed: float = 0.0
    node: bool = True
    library: bool = True
    # A worker's process is killed, and another one started, about this often, in seconds; 0 for never.
    kill_each_s: float = 0.0
    weights: dict[str, float] = field(default_factory=lambda: dict(WEIGHTS))

    @staticmethod
    def read(values: dict[str, Any]) -> Options:
        """The options of a profile, or of a process, from JSON."""
        lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list | tuple)}
        return Options(**{**values, **lists})

    def plain(self) -> dict[str, Any]:
        """The same for JSON."""
        return asdict(self)

    def queues(self, kinds: Sequence[str] = KINDS) -> list[str]:
        """The keys of the queues of these kinds, as far as the profile has them."""
        return [key(tag, kind) for tag in self.tags for kind in self.kinds if kind in kinds]


def at_turn(tags: Sequence[str], turn: int) -> str:
    """The tag of a thread, by its place among the others, so that each tag has some."""
    return tags[turn % len(tags)]


# How many of the pushes go to a queue of each kind.
WEIGHTS: dict[str, float] = {
    PLAIN: 5,
    RICH: 5,
    GROUPS: 3,
    FLOW: 3,
    RESULTS: 2,
    NOACK: 1,
    TIED: 2,
    LIBRARY: 4,
    IDLE: 0.04,
}


def key(tag: str, kind: str) -> str:
    """The key of a queue."""
    return f"{{{tag}}}:{kind}"


def kind_of(name: str) -> str:
    """The kind of a queue, by its key."""
    return name.rpartition(":")[2]


def tag_of(name: str) -> str:
    """The hash tag of a queue, by its key."""
    return name[1 : name.index("}")]


def setup(options: Options) -> list[tuple[str | int, ...]]:
    """The commands that prepare the queues. They can be sent again."""
    commands: list[tuple[str | int, ...]] = []
    for name in options.queues():
        base = ("backoff-base", 30, "backoff-max", 400, "attempts", 4, "stalls", 20)
        commands.append(("TASK.CONFIG", name, "SET", "lease", options.lease_ms, *base))
        if kind_of(name) == GROUPS:
            commands += [
                ("TASK.CONFIG", name, "SET", "concurrency", 40, "group-concurrency", 4),
                ("TASK.GROUP", name, "SET", "g0", "RATE", 30, "PER", 1000),
                ("TASK.GROUP", name, "SET", "g1", "CONCURRENCY", 1),
                ("TASK.GROUP", name, "SET", "g2", "ORDERED", "YES"),
            ]
    return commands
