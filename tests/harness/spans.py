"""Tasks that have one hour of each kind of span, and checks of how much is left."""

from __future__ import annotations

from harness.queues import HOUR
from harness.server import Server
from harness.talk import Talk

# The time that links, restarts on a busy machine and clock slewing can add to a span, in ms.
SLACK = 20_000


def left(talk: Talk, id_: bytes, what: bytes, key: str = "q") -> int:
    """The time until an instant of a task, in ms, by the clock of the queue's node."""
    seconds, micros = talk("TIME")
    skew = int(talk("INFO", "taskslot").split(b"clock_skew_ms:")[1].split(b"\r")[0])
    return talk.map("TASK.GET", key, id_)[what] - (int(seconds) * 1000 + int(micros) // 1000 + skew)


def spans(talk: Talk, key: str = "q") -> dict[str, bytes]:
    """Create tasks with an hour of each span: a delay, a lease, a time to live, a held token."""
    found = {
        "delay": talk.push(key, "delayed", "DELAY", HOUR),
        "lease": talk.push(key, "leased", "LEASE", HOUR, "PRIORITY", 1),
        "token": talk("TASK.PUSH", key, "held", "DELAY", HOUR, "UNIQUE", "t", "FOR", HOUR, "KEEP")[0],
    }
    assert len(talk("TASK.CLAIM", key)) == 1
    found["ttl"] = talk.push(key, "expires", "TTL", HOUR)
    return found


def check_spans(server: Server, talk: Talk, found: dict[str, bytes], passed: int = 0, key: str = "q") -> None:
    """Check that an hour of each span is left, minus the time that has passed."""
    # First let the server process its due tasks.
    server.wait_until(lambda: talk.push(f"{key}other", "x"), "it takes writes")
    assert talk("TASK.LEN", key, "delayed") == 2 and talk("TASK.LEN", key, "leased") == 1
    assert talk("TASK.LEN", key, "ready") == 1, "the time to live isn't over"
    for id_, what in ((found["delay"], b"due"), (found["lease"], b"deadline"), (found["ttl"], b"expires")):
        rest = left(talk, id_, what, key)
        assert abs(rest - (HOUR - passed)) < SLACK, (what, rest)
    assert talk("TASK.PUSH", key, "again", "UNIQUE", "t")[1] == 0, "the token is held"


def check_moved_spans(talk: Talk, found: dict[str, bytes]) -> None:
    """Check that an hour of each span is left by the queue's own clock, known from the deadline of a new lease."""
    talk.push("q", "new", "PRIORITY", 9)
    handle = talk.claim("q", "LEASE", HOUR)
    now = talk("TASK.EXTEND", "q", handle, "LEASE", HOUR) - HOUR
    assert talk("TASK.ACK", "q", handle) == 1
    assert talk("TASK.LEN", "q", "delayed") == 2 and talk("TASK.LEN", "q", "leased") == 1
    assert talk("TASK.LEN", "q", "ready") == 1, "the time to live isn't over"
    for id_, what in ((found["delay"], b"due"), (found["lease"], b"deadline"), (found["ttl"], b"expires")):
        rest = talk.map("TASK.GET", "q", id_)[what] - now
        assert abs(rest - HOUR) < SLACK, (what, rest)
    assert talk("TASK.PUSH", "q", "again", "UNIQUE", "t")[1] == 0, "the token is held"
