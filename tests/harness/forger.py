"""Forged effects for tests: a story that produces real effects, and a forger that changes them at random."""

import copy
import random
from collections.abc import Iterator

from harness.effects import as_5, pack_as_3, unpack
from harness.server import Server
from harness.talk import Talk

DAY = 86_400_000
EDGES = [
    *[n + d for n in (0, 2**8, 2**16, 2**31, 2**32, 2**48, 2**53, 2**63) for d in (0, 1)],
    *[2**64 - 1, -1, -(2**31), -(2**63), None, True, 1.5, b"", b"x" * 300, "x", [], {}],
    *[{"r": 5}, {"d": {"c": 9}}, {"d": {"w": 9}}, {"x": 5}, {"nothing": []}],
]


def story(server: Server, c: Talk) -> list[list[bytes]]:
    """Do everything that can be done to a queue. Returns the effects, each with its payloads and a checksum for `q`."""
    c("TASK.CONFIG", "q", "SET", "backoff-base", 1, "stalls", 3, "backoff", "fixed")
    for n in range(8):
        c.push("q", f"p{n}", "PRIORITY", n % 2, "HEADERS", 1, "h", "v")
    c("TASK.MPUSH", "q", "ATTEMPTS", 2, "LEASE", DAY, "REQUEST", "t", "TASKS", 3, *"abc")
    c("TASK.MPUSH", "q", "DELAY", DAY, "TASKS", 2, *"de")
    c.push("q", "f", "AT", 9 * 10**12)
    claimed = c("TASK.CLAIM", "q", "COUNT", 4, "WORKER", "w", "REQUEST", "u", "LEASE", DAY)
    claimed += c("TASK.CLAIM", "q", "COUNT", 2, "WORKER", "v", "LEASE", 1)
    handles = [task[0] for task in claimed]
    server.wait_until(lambda: c.map("TASK.INFO", "q")[b"stalled"] == 2, "two leases have ended")
    c("TASK.EXTEND", "q", handles[0], "LEASE", DAY)
    c("TASK.ACK", "q", handles[0])
    c("TASK.FAIL", "q", handles[1], "ERROR", "boo", "DELAY", DAY)
    c("TASK.REQUEUE", "q", handles[2], "BACK")
    c("TASK.CANCEL", "q", handles[3].split(b"@")[0])
    c("TASK.ACK", "q", handles[4])
    for _ in range(3):
        c("TASK.FAIL", "q", c.claim(), "DEAD", "ERROR", "x")
    c("TASK.RETRY", "q", "COUNT", 1)
    c("TASK.CLAIM", "q", "NOACK")
    c("TASK.PAUSE", "q", "ALL", "FOR", DAY)
    c("TASK.RESUME", "q", "ALL")
    c("TASK.REQUEUE", "q", c.claim("q", "WORKER", "k"), "DELAY", DAY)
    c("TASK.CONFIG", "q", "SET", "dead-max", 1)
    server.wait_until(lambda: c("TASK.LEN", "q", "dead") == 1, "the oldest dead task is dropped")
    c("TASK.PURGE", "q", "delayed", "COUNT", 1)
    c.push()
    c.claim("q", "TIED", "LEASE", DAY)
    return [words[2:] for words in server.propagated() if words[0] == b"TASK._APPLY"]


def places(value: object, at: tuple = ()) -> Iterator[tuple]:
    """The paths of all parts of a decoded value."""
    yield at
    inside = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else []
    for key, child in inside:
        yield from places(child, (*at, key))


def lookup(value: object, at: tuple) -> object:
    """The part of a value at a path."""
    for key in at:
        value = value[key]
    return value


class Forger:
    """Changes effects at random, also with parts of other effects."""

    def __init__(self, seed: int, real: list[list[bytes]]):
        self.rng = random.Random(seed)
        decoded = [events for effect, *_ in real for _, _, events in [unpack(effect)]]
        self.pool = [lookup(events, at) for events in decoded for at in places(events) if at]

    def bytes(self, text: bytes) -> bytes:
        """Change, add or remove a few bytes, or cut off the end."""
        forged, rng = bytearray(text), self.rng
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(forged) + 1)
            match rng.randrange(8):
                case 0:
                    del forged[at:]
                case 1 | 2:
                    del forged[at : at + 1]
                case 3 | 4:
                    forged.insert(at, rng.randrange(256))
                case _:
                    forged[at : at + 1] = bytes([rng.randrange(256)])
        return bytes(forged)

    def value(self, value: object) -> object:
        """Change a few fields: numbers by a little, lists in their order, anything into something else."""
        rng = self.rng
        for _ in range(rng.randrange(1, 4)):
            at = rng.choice(list(places(value)))
            old = lookup(value, at)
            if type(old) is int and rng.random() < 0.6:
                new = old + rng.choice([-1, 1, 2, -1000, 1000, 10**6])
            elif isinstance(old, list) and old and rng.random() < 0.6:
                new = rng.choices(old, k=len(old) + rng.choice([-1, 0, 1]))
            else:
                new = rng.choice(self.pool if rng.random() < 0.4 else EDGES)
            new = copy.deepcopy(new)
            if at:
                lookup(value, at[:-1])[at[-1]] = new
            else:
                value = new
        return value

    def effect(self, real: list[bytes]) -> list[bytes]:
        """Change an effect, now and then with one payload too many or too few.

        It becomes one of a version without checksum, because otherwise only that would be tested.
        """
        effect, *payloads = real
        if self.rng.random() < 0.25:
            effect = self.bytes(as_5(effect))
        else:
            try:
                number, at, events = unpack(effect)
                # Version 3 has a place for every value, so fields can become anything.
                effect = pack_as_3(number, at, self.value(events))
            except OverflowError:
                effect = as_5(effect)  # beyond 64 bits: the format has no such number
        if self.rng.random() < 0.1:
            payloads = self.rng.choice([payloads[1:], [*payloads, b"more"]])
        return [effect, *payloads]
