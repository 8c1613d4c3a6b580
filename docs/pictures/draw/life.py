"""Draws the life of a task: its states, and the commands and events that change them."""

from __future__ import annotations

from svg import Picture

TITLE = "The life of a task"
DESCRIPTION = (
    "TASK.PUSH makes a task ready, delayed with DELAY or AT, or held with AFTER. A delayed task becomes ready when it "
    "is due, a held one when the tasks that it waits for have ended. "
    "TASK.CLAIM leases a ready task to a worker, and TASK.EXTEND keeps the lease. TASK.ACK ends the task: it is done "
    "if its result is retained, otherwise it is removed. TASK.REQUEUE or a first stall makes it ready again. "
    "TASK.FAIL, REQUEUE with DELAY and further stalls delay it. At the limit of failures or stalls, or with FAIL DEAD, "
    "it is dead until TASK.RETRY makes it ready or it is removed. "
    "CANCEL, PURGE and an expired TTL remove a waiting task."
)

BOX_WIDTH, BOX_HEIGHT = 136, 60
# The centres of the boxes. "Removed" is not a state. It is drawn where tasks leave the queue.
HELD, DELAYED, READY = (-96, 74), (222, 74), (222, 226)
LEASED, DONE, DEAD = (478, 226), (746, 226), (478, 388)
PUSHED, REMOVED_WAITING, REMOVED_ENDED = (62, 226), (62, 388), (720, 388)


def life() -> Picture:
    """Draws the picture."""
    picture = Picture(1010, 436, TITLE, DESCRIPTION, left=180)
    key(picture, 600, 30)
    waiting(picture)
    working(picture)
    ending(picture)
    state(picture, HELD, "amber", "held", "waits for others")
    state(picture, DELAYED, "amber", "delayed", "not due yet")
    state(picture, READY, "blue", "ready", "waits for a worker")
    state(picture, LEASED, "purple", "leased", "a worker has it")
    state(picture, DONE, "green", "done", "result is retained")
    state(picture, DEAD, "red", "dead", "kept until you act")
    outside(picture, PUSHED, "PUSH", "mono")
    outside(picture, REMOVED_WAITING, "removed", "small")
    outside(picture, REMOVED_ENDED, "removed", "small")
    return picture


def state(picture: Picture, centre: tuple[int, int], hue: str, name: str, meaning: str) -> None:
    """Draws a state: its name, and its meaning in three words."""
    x, y = centre
    picture.rect(
        x - BOX_WIDTH / 2, y - BOX_HEIGHT / 2, BOX_WIDTH, BOX_HEIGHT, f"f-{hue}-soft s-{hue} box", 10
    )
    picture.text(x, y - 2, name, f"f-{hue} title middle")
    picture.text(x, y + 17, meaning, "f-muted small middle")


def outside(picture: Picture, centre: tuple[int, int], name: str, font: str) -> None:
    """Draws a point where tasks enter or leave the queue."""
    x, y = centre
    picture.rect(x - 38, y - 15, 76, 30, "f-faint s-border", 15)
    picture.text(x, y + 4.5, name, f"f-{'ink' if font == 'mono' else 'muted'} {font} middle")


def command(picture: Picture, x: float, y: float, name: str, classes: str = "middle") -> None:
    """Writes a command on an arrow."""
    picture.text(x, y, name, f"f-ink mono halo {classes}")


def note(picture: Picture, x: float, y: float, texts: list[str], classes: str = "middle") -> None:
    """Writes what the server does, or when it does so."""
    picture.lines(x, y, texts, f"f-muted small halo {classes}", 16)


def waiting(picture: Picture) -> None:
    """Draws the arrows of tasks that wait: push, the end of the wait, and removal before a claim."""
    picture.path("M100 226H152", "ink")
    picture.path("M62 211V106Q62 74 94 74H152", "ink")
    command(picture, 74, 146, "DELAY", "")
    note(picture, 74, 163, ["or AT"], "")
    picture.path("M24 226H-20Q-56 226 -56 194V106", "ink")
    command(picture, -46, 163, "AFTER", "")
    note(picture, -46, 180, ["or BATCH OPEN"], "")
    picture.path("M-128 104V236Q-128 272 -92 272H116Q150 272 156 258", "muted", "dashed")
    note(picture, -120, 292, ["the others have ended"], "bold")
    note(picture, -120, 309, ["or RETRY"], "")
    picture.path("M222 104V194", "muted", "dashed")
    note(picture, 232, 146, ["due"], "bold")
    note(picture, 232, 163, ["or RETRY"], "")
    picture.path("M178 256C174 340 150 388 102 388", "ink")
    command(picture, 152, 300, "CANCEL", "end")
    note(picture, 152, 317, ["PURGE, TTL over", "(delayed, held: the", "first two, too)"], "end")


def working(picture: Picture) -> None:
    """Draws the arrows of a lease: claim, extension, and the ways back into the queue."""
    picture.path("M290 212H408", "ink")
    command(picture, 350, 203, "CLAIM")
    picture.path("M410 236H292", "ink")
    command(picture, 350, 253, "REQUEUE")
    picture.path("M448 256C436 312 284 312 262 258", "muted", "dashed")
    note(picture, 353, 314, ["first stall"], "bold middle")
    note(picture, 353, 330, ["the lease ran out"])
    picture.path("M462 196C462 112 400 74 292 74", "ink")
    command(picture, 466, 94, "FAIL", "")
    note(picture, 506, 94, ["or REQUEUE DELAY"], "")
    note(picture, 466, 112, ["tried again after a backoff", "(a second stall, too)"], "")
    picture.path("M498 196C490 158 540 158 532 193", "ink")
    command(picture, 542, 176, "EXTEND", "")


def ending(picture: Picture) -> None:
    """Draws the arrows to the ends, and the one back from dead."""
    picture.path("M546 226H676", "ink")
    command(picture, 564, 219, "ACK")
    note(picture, 642, 219, ["retained"])
    picture.path("M596 226C600 300 630 340 686 376", "ink")
    note(picture, 626, 292, ["otherwise"], "")
    picture.path("M720 256V371", "muted", "dashed")
    note(picture, 728, 306, ["retention over", "or PURGE"], "")
    picture.path("M478 256V356", "ink")
    note(picture, 488, 302, ["its limit of", "failures or stalls,", "or FAIL DEAD"], "")
    picture.path("M546 388H680", "ink")
    command(picture, 612, 380, "PURGE")
    note(picture, 612, 406, ["dead-ttl, dead-max"])
    picture.path("M410 388C300 388 214 350 206 258", "ink")
    command(picture, 330, 405, "RETRY")


def key(picture: Picture, x: float, y: float) -> None:
    """Draws the legend: the meaning of the two kinds of arrows."""
    picture.path(f"M{x} {y}h34", "ink")
    picture.text(x + 44, y + 4, "a client sends a command", "f-muted small")
    picture.path(f"M{x} {y + 22}h34", "muted", "dashed")
    picture.text(x + 44, y + 26, "the server, by its clock", "f-muted small")
