"""Random histories: all commands that change queues, generated from a seed, while leases end and delays pass."""

from __future__ import annotations

import random
import socket

from harness.server import Server, wait_synced
from harness.talk import Error, Talk

KEYS = ["{h}a", "{h}b", "{h}c"]
REFUSALS = {"STALE", "CANCELLED", "PAUSED", "QFULL"}
SETTINGS = {
    "lease": (1, 5, 50),
    "attempts": (1, 3, -1),
    "stalls": (1, 2, 5),
    "backoff": ("exponential", "linear", "fixed"),
    "backoff-base": (1, 5, 20),
    "backoff-max": (1, 10, 100),
    "backoff-jitter": (0, 50),
    "max-len": (100, 1000, -1),
    "max-bytes": (20_000, -1),
    "dead-max": (3, 20, -1),
    "dead-ttl": (10, 100, -1),
    "run-max": (10, 100, -1),
    "concurrency": (0, 5, 30, -1),
    "rate": (0, 3, 50, -1),
    "rate-per": (5, 20),
    "group-concurrency": (1, 3, -1),
    "group-rate": (1, 4, -1),
    "group-rate-per": (5, 20, 60),
    "groups-max": (2, 100),
}
GROUPS = ["red", "green", "blue", "pink", "grey"]
# The commands of one wave are sent together; the next wave uses the handles from its replies.
WAVE = 25


class History:
    """Sends commands to a server, the same ones for the same seed. The replies depend on time."""

    def __init__(self, server: Server, seed: int):
        self.server, self.dice = server, random.Random(seed)
        self.talk, self.workers = Talk(server), [Talk(server) for _ in range(3)]
        self.waiting: dict[int, str] = {}  # waiting workers, by number, and the queue that they wait for
        self.handles: dict[str, list[bytes]] = {key: [] for key in KEYS}
        self.ids: dict[str, list[bytes]] = {key: [] for key in KEYS}
        self.replies: dict[str, int] = {}

    def run(self, steps: int) -> None:
        """Send this many commands."""
        for _ in range(steps // WAVE):
            commands = [self.command() for _ in range(WAVE)]
            for command, reply in zip(commands, self.talk.many(commands), strict=True):
                self.learn(command, reply)
            self.workers_act()

    def learn(self, command: list, reply: object) -> None:
        """Remember the handles and ids in a reply. If it is an error, check that it is an expected one."""
        verb, key = command[:2]
        if isinstance(reply, Error):
            word = reply.split(" ")[0]
            assert word in REFUSALS or reply == Error("ERR no such key"), (command, reply)
            verb = word
        elif verb in ("TASK.PUSH", "TASK.MPUSH"):
            self.ids[key] += reply if isinstance(reply, list) else [reply]
        elif verb == "TASK.CLAIM" and "NOACK" not in command:
            self.handles[key] += [handle for handle, *_ in reply]
        self.replies[verb] = self.replies.get(verb, 0) + 1

    def workers_act(self) -> None:
        """Let workers claim on their own connections, tied or waiting, and close some of these."""
        for place in range(len(self.workers)):
            key = self.waiting.pop(place, None)
            if key is not None:
                reply = self.workers[place].read()
                assert isinstance(reply, list), reply
                self.handles[key] += [handle for handle, *_ in reply]
            if self.dice.random() < 0.2:
                self.workers[place]._socket.shutdown(socket.SHUT_RDWR)
                self.workers[place] = Talk(self.server)
            key = self.dice.choice(KEYS)
            options = [*self.some(0.6, "TIED"), *self.group(0.3)]
            block = self.dice.randint(1, 4)
            self.workers[place].send(["TASK.CLAIM", key, "BLOCK", block, "COUNT", 2, *options])
            self.waiting[place] = key

    def command(self) -> list:
        """The next command."""
        key = self.dice.choice(KEYS)
        kinds = [self.push, self.claim, self.answer, self.change, self.steer, self.move]
        return self.dice.choices(kinds, [30, 25, 30, 6, 8, 1])[0](key)

    def some(self, chance: float, *words: object) -> list:
        """The words, or nothing, at random."""
        return list(words) if self.dice.random() < chance else []

    def group(self, chance: float) -> list:
        return self.some(chance, "GROUP", self.dice.choice(GROUPS))

    def token(self) -> list:
        return self.some(0.1, "REQUEST", f"token {self.dice.randrange(20)}")

    def push(self, key: str) -> list:
        roll = self.dice.randrange
        options = [
            *self.some(0.3, "PRIORITY", roll(-3, 4)),
            *self.some(0.3, "DELAY", roll(30)),
            *self.some(0.2, "LEASE", 1 + roll(20)),
            *self.some(0.2, "ATTEMPTS", roll(1, 4)),
            *self.some(0.1, "HEADERS", 1, "name", roll(10)),
            *self.group(0.5),
            *self.token(),
        ]
        payload = bytes(roll(256) for _ in range(roll(40))) * (200 if roll(100) == 0 else 1)
        if roll(5) == 0:
            count = roll(1, 30)
            return ["TASK.MPUSH", key, *options, "TASKS", count, *[payload] * count]
        return ["TASK.PUSH", key, payload, *options]

    def claim(self, key: str) -> list:
        roll = self.dice.randrange
        if roll(12) == 0:
            return ["TASK.CLAIM", key, "NOACK", "COUNT", roll(1, 4), *self.group(0.2)]
        return [
            "TASK.CLAIM",
            key,
            *self.some(0.5, "COUNT", roll(1, 20)),
            *self.some(0.3, "LEASE", 1 + roll(30)),
            *self.some(0.5, "WORKER", f"worker {roll(10)}"),
            *self.some(0.1, "BYTES", roll(1, 100)),
            *self.some(0.1, "TIED"),
            *self.group(0.2),
            *self.token(),
        ]

    def answer(self, key: str) -> list:
        held = self.handles[key]
        if not held:
            return self.claim(key)
        verb = self.dice.choice(["TASK.ACK", "TASK.ACK", "TASK.FAIL", "TASK.REQUEUE", "TASK.EXTEND"])
        options = {
            "TASK.ACK": [],
            "TASK.FAIL": [
                *self.some(0.5, "ERROR", f"error {self.dice.randrange(5)}"),
                *self.some(0.2, "DEAD"),
            ],
            "TASK.REQUEUE": [*self.some(0.3, "BACK"), *self.some(0.3, "DELAY", self.dice.randrange(20))],
            "TASK.EXTEND": self.some(0.5, "LEASE", self.dice.randrange(1, 60)),
        }[verb]
        if self.dice.random() < 0.3:
            count = min(len(held), self.dice.randint(1, 10))
            return [verb, key, "HANDLES", count, *self.dice.sample(held, count), *options]
        # Usually a recent one, rarely an old one. Sometimes it stays in the list, to be used again.
        at = max(0, len(held) - 1 - int(self.dice.expovariate(0.1)))
        return [verb, key, held[at] if self.dice.random() < 0.2 else held.pop(at), *options]

    def change(self, key: str) -> list:
        ids = self.ids[key][-50:] or [b"1-1"]
        return self.dice.choice(
            [
                ["TASK.SET", key, self.dice.choice(ids), *self.edit()],
                ["TASK.SET", key, "IDS", 2, self.dice.choice(ids), self.dice.choice(ids), *self.edit()],
                ["TASK.CANCEL", key, self.dice.choice(ids)],
                ["TASK.CANCEL", key, "IDS", 2, self.dice.choice(ids), self.dice.choice(ids)],
                ["TASK.RETRY", key, self.dice.choice(ids)],
                ["TASK.RETRY", key, "COUNT", self.dice.randint(1, 10)],
                [
                    "TASK.PURGE",
                    key,
                    self.dice.choice(["ready", "delayed", "dead"]),
                    "COUNT",
                    self.dice.randint(1, 5),
                    *self.some(0.3, "OLDER", self.dice.randint(0, 100)),
                ],
                ["TASK.PURGE", key, "IDS", 2, self.dice.choice(ids), self.dice.choice(ids)],
                ["TASK.RETRY", key, "COUNT", self.dice.randint(1, 10), "GROUP", self.dice.choice(GROUPS)],
            ]
        )

    def edit(self) -> list:
        """What a SET changes."""
        return [
            *("PRIORITY", self.dice.randrange(-2, 3)),
            *self.some(0.3, "DELAY", self.dice.randrange(30)),
            *self.some(0.3, "GROUP", self.dice.choice(["", *GROUPS])),
            *self.some(0.3, "PAYLOAD", f"changed {self.dice.randrange(9)}"),
            *self.some(0.2, "HEADERS", 1, "n", "v"),
        ]

    def steer(self, key: str) -> list:
        if self.dice.random() < 0.3:
            return self.steer_group(key)
        name, values = self.dice.choice(list(SETTINGS.items()))
        gate = self.dice.choice(["IN", "OUT", "ALL"])
        return self.dice.choice(
            [
                ["TASK.CONFIG", key, "SET", name, self.dice.choice(values)],
                ["TASK.CONFIG", key, "RESET", name],
                ["TASK.PAUSE", key, gate, "FOR", self.dice.randint(1, 10)],
                ["TASK.RESUME", key, gate],
                ["TASK.RESUME", key, "ALL"],
            ]
        )

    def steer_group(self, key: str) -> list:
        group = self.dice.choice(GROUPS)
        if self.dice.random() < 0.3:
            return ["TASK.GROUP", key, "DEL", group]
        if self.dice.random() < 0.3:
            return ["TASK.PAUSE", key, "GROUP", group, *self.some(0.9, "FOR", self.dice.randint(1, 30))]
        if self.dice.random() < 0.2:
            return ["TASK.RESUME", key, "GROUP", group]
        options = [
            *self.some(0.5, "WEIGHT", self.dice.randint(1, 5)),
            *self.some(0.3, "CONCURRENCY", self.dice.choice([0, 1, 4, -1])),
            *self.some(0.3, "RATE", self.dice.choice([0, 1, 5, -1]), "PER", self.dice.choice([3, 20, 100])),
        ]
        ordered = ["ORDERED", self.dice.choice(["yes", "no"])]
        return [
            "TASK.GROUP",
            key,
            "SET",
            group,
            *(options or ordered),
            *(options and self.some(0.3, *ordered)),
        ]

    def move(self, key: str) -> list:
        other = self.dice.choice(KEYS)
        names = self.dice.choice(["COPY", "RENAME", "DEL", "PEXPIRE"])
        if names == "DEL":
            return self.dice.choice([["DEL", key], ["UNLINK", key]])
        if names == "PEXPIRE":
            return ["PEXPIRE", key, 10_000_000]
        return ["COPY", key, other + "'", "REPLACE"] if names == "COPY" else ["RENAME", key, other]


def queues(c: Talk) -> list[bytes]:
    """The keys of all queues, in order."""
    return sorted(c("KEYS", "*"))


def state(c: Talk) -> dict[bytes, str]:
    """The digest of every queue, none of which is broken; and that of all keys together."""
    found = {key: c.digest(key) for key in queues(c)}
    for key in found:
        assert c.map("TASK.INFO", key)[b"broken"] == b"", key
    return {**found, b"all": c("DEBUG", "DIGEST")}


def pause(primary: Server, *replicas: Server) -> Talk:
    """Pause the primary's writes, including those of its timers, and wait until each replica has caught up."""
    c = Talk(primary)
    assert c("CLIENT", "PAUSE", 60_000, "WRITE") == "OK"
    for replica in replicas:
        wait_synced(primary, replica)
    return c
