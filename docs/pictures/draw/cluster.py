"""Draws a sharded queue in a cluster: three primaries with replicas, producers, and workers with home shards."""

from __future__ import annotations

from svg import Picture

TITLE = "A queue over the nodes of a cluster"
DESCRIPTION = (
    "The queue orders has eight shards over three primaries, each with a replica. A producer sends a task with a group "
    "or a token to the shard of that name, and any other task to the less loaded of two shards. A worker waits on its "
    "home shard and takes tasks from the others while its own is empty. When a primary fails, its replica takes over "
    "its slots with the shards and their leases, and clients follow."
)

SHARDS = 8
# The first slot of each primary, as `redis-cli --cluster create` assigns them, and the end.
SLOTS = (0, 5461, 10923, 16384)
NAMES = "ABC"
LEFT, WIDTH, TOP, ROW = 262, 306, 58, 136
FAILED = 2
# A group whose shard, CRC16(group) mod 8, is shard 0.
GROUP = "acme"


def home(shard: int) -> int:
    """The index of the primary that has a shard. The slot is the 14 bits of the shard's number in reverse."""
    slot = int(f"{shard:014b}"[::-1], 2)
    return next(primary for primary in range(3) if slot < SLOTS[primary + 1])


def cluster() -> Picture:
    """Draws the picture."""
    picture = Picture(830, 478, TITLE, DESCRIPTION)
    heads(picture)
    for primary in range(3):
        node(picture, primary)
    producers(picture)
    workers(picture)
    return picture


def heads(picture: Picture) -> None:
    """Draws the heading of each column."""
    picture.text(94, 34, "producers", "f-ink bold middle")
    picture.text(LEFT + WIDTH / 2, 34, "queue “orders”, 8 shards on 3 primaries", "f-ink bold middle")
    picture.text(736, 34, "workers", "f-ink bold middle")


def shards(picture: Picture, primary: int, y: float, hue: str, ink: str) -> None:
    """Draws the shards of a primary in a row."""
    for at, shard in enumerate(one for one in range(SHARDS) if home(one) == primary):
        x = LEFT + 16 + at * 94
        picture.rect(x, y, 84, 26, f"f-{hue} s-{ink}", 6)
        picture.text(x + 42, y + 17.5, f"shard {shard}", f"f-{ink} small middle")


def node(picture: Picture, primary: int) -> None:
    """Draws a primary with its shards, and its replica below. If the primary failed, the replica has the shards."""
    y = TOP + primary * ROW
    name, slots = NAMES[primary], f"slots {SLOTS[primary]}–{SLOTS[primary + 1] - 1}"
    if primary != FAILED:
        picture.rect(LEFT, y, WIDTH, 68, "f-faint s-border", 10)
        picture.text(LEFT + 16, y + 20, f"primary {name}", "f-ink small bold")
        picture.text(LEFT + WIDTH - 16, y + 20, slots, "f-muted tiny end")
        shards(picture, primary, y + 30, "blue-soft", "blue")
        picture.path(f"M{LEFT + 153} {y + 68}V{y + 82}", "muted")
        picture.rect(LEFT, y + 84, WIDTH, 28, "f-paper s-border dashed", 8)
        picture.text(LEFT + 16, y + 102, f"replica {name}′", "f-muted small")
        picture.text(LEFT + WIDTH - 16, y + 102, "receives every change", "f-muted tiny end")
        return
    picture.rect(LEFT, y, WIDTH, 40, "f-red-soft s-red dashed", 10)
    picture.text(LEFT + 16, y + 25, f"primary {name}", "f-red small bold")
    picture.text(LEFT + 98, y + 25, "fails", "f-red small")
    picture.text(LEFT + WIDTH - 16, y + 25, slots, "f-red tiny end")
    picture.path(f"M{LEFT + 153} {y + 40}V{y + 54}", "muted")
    picture.text(LEFT + 164, y + 52, "takes over", "f-muted tiny")
    picture.rect(LEFT, y + 56, WIDTH, 68, "f-faint s-green", 10)
    picture.text(LEFT + 16, y + 76, f"replica {name}′, now primary", "f-green small bold")
    shards(picture, primary, y + 86, "blue-soft", "blue")


def person(picture: Picture, x: float, y: float, name: str, what: str) -> None:
    """Draws a client as a rounded box with two lines of text."""
    picture.rect(x - 62, y - 22, 124, 44, "f-paper s-ink", 22)
    picture.text(x, y - 2, name, "f-ink small bold middle")
    picture.text(x, y + 13, what, "f-muted tiny middle")


def producers(picture: Picture) -> None:
    """Draws the producers, and how they choose a shard."""
    person(picture, 94, 100, "PUSH", f"GROUP {GROUP}")
    picture.path("M156 100H276", "ink")
    picture.lines(32, 146, ["always goes to the", f"shard of {GROUP}"], "f-muted small", 16)
    person(picture, 94, 372, "PUSH", "no group")
    picture.path("M156 372C215 372 215 429 276 429", "ink")
    picture.path("M148 358C220 330 200 240 276 240", "muted", "dashed")
    picture.lines(32, 418, ["goes to the less", "loaded of two shards"], "f-muted small", 16)


def workers(picture: Picture) -> None:
    """Draws the workers, each with a home shard."""
    person(picture, 736, 100, "worker 1", "home: shard 4")
    picture.path("M674 100H562", "ink")
    person(picture, 736, 236, "worker 2", "home: shard 6")
    picture.path("M674 236H562", "ink")
    picture.path("M678 246C610 276 612 392 462 424", "muted", "dashed")
    picture.lines(
        682,
        286,
        ["waits at home; if that", "is empty, takes tasks", "from other shards"],
        "f-muted small",
        16,
    )
    person(picture, 736, 424, "worker 3", "home: shard 7")
    picture.path("M674 432C620 446 540 446 462 436", "ink")
    picture.text(736, 464, "has followed its shard", "f-muted small middle")
