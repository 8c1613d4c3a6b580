"""A naive queue in simulated time, which can be made wrong on purpose: it proves the rules, not the product.

It does what docs/concepts.md says with lists and dictionaries. `bugs.py` lists what can be wrong with it.
"""

from __future__ import annotations

import copy
import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Reply = Callable[[str, dict[str, Any], str], None]

ATTEMPTS, STALLS, BACKOFF_S = 2, 5, 0.1
LIVE = ("ready", "delayed", "held", "leased")


@dataclass(slots=True)
class Entry:
    """A task in the queue."""

    id: str
    uid: str
    options: dict[str, Any]
    state: str
    order: int
    due: float = 0.0
    deadline: float = 0.0
    lease_s: float = 0.0
    handle: str = ""
    connection: tuple[str, int] | None = None
    attempt: int = 0
    failures: int = 0
    stalls: int = 0
    waits: set[str] = field(default_factory=set)
    result: str | None = None
    counted: bool = False


@dataclass(slots=True)
class Waiter:
    """A claim that waits."""

    asked: dict[str, Any]
    connection: tuple[str, int]
    reply: Reply


@dataclass
class Data:
    """What a crash restores."""

    tasks: dict[str, Entry] = field(default_factory=dict)
    number: int = 0
    order: int = 0
    requests: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)


class Queue:
    """One queue of a server that can crash. All times are given."""

    def __init__(self, rng: random.Random, bug: str = "", limit: int = 2) -> None:
        self.data = Data()
        self.rng = rng
        self.bug = bug
        self.limit = limit
        self.waiters: list[Waiter] = []
        self._due: list[tuple[float, str]] = []
        self._after_crash = False

    def wrong(self, bug: str, chance: float = 1.0) -> bool:
        """Whether to be wrong in this way now."""
        return self.bug == bug and self.rng.random() < chance

    def saved(self) -> Data:
        """A copy of everything that a crash can go back to."""
        return copy.deepcopy(self.data)

    def restore(self, data: Data | None, now: float, outage_s: float) -> None:
        """Start anew with these data, or with all that there were; overdue leases have a grace."""
        if data is not None:
            self.data = data
        self.waiters.clear()
        self._due = []
        self._after_crash = True
        for entry in self.data.tasks.values():
            entry.connection = None
            if entry.state == "leased" and entry.deadline < now and not self.wrong("grace forgotten"):
                entry.deadline = now + outage_s
            self._plan(entry)

    def next_due(self) -> float | None:
        """When something is due, if anything is."""
        return self._due[0][0] if self._due else None

    def _plan(self, entry: Entry) -> None:
        at = {"delayed": entry.due, "leased": entry.deadline}.get(entry.state)
        if entry.state == "ready" and entry.attempt == 0 and "ttl_ms" in entry.options:
            at = entry.due
        if at is not None:
            heapq.heappush(self._due, (at, entry.id))

    def tick(self, now: float) -> None:
        """Do what is due."""
        while self._due and self._due[0][0] <= now:
            _, name = heapq.heappop(self._due)
            entry = self.data.tasks.get(name)
            if entry is None:
                continue
            if entry.state == "delayed" and entry.due <= now:
                if not self.wrong("delay never", 0.05):
                    self._make_ready(entry, now)
            elif entry.state == "leased" and entry.deadline <= now:
                if not self.wrong("never expire", 0.2):
                    self._stall(entry, now)
            elif (
                entry.state == "ready"
                and entry.attempt == 0
                and "ttl_ms" in entry.options
                and entry.due <= now
            ):
                if self.bug != "expired delivered":
                    self._end(entry, now, "expired")
        self._serve(now)

    def _make_ready(self, entry: Entry, now: float) -> None:
        entry.state = "ready"
        self.data.order += 1
        entry.order = self.data.order
        if "ttl_ms" in entry.options:
            entry.due = now + entry.options["ttl_ms"] / 1000
        self._plan(entry)

    def _stall(self, entry: Entry, now: float) -> None:
        entry.stalls += 1
        if entry.stalls >= STALLS:
            self._end(entry, now, "dead")
        elif entry.stalls == 1:
            entry.state = "ready"
        else:
            self._delay(entry, now + self.rng.random() * BACKOFF_S)

    def _delay(self, entry: Entry, due: float) -> None:
        entry.state, entry.due = "delayed", due
        self._plan(entry)

    def _end(self, entry: Entry, now: float, state: str) -> None:
        """A task has ended: what waits for it goes on."""
        if entry.options.get("unique") and self.bug != "token never free":
            if self.data.tokens.get(entry.options["unique"]) == entry.id:
                del self.data.tokens[entry.options["unique"]]
        kept = state == "dead" or (state == "done" and entry.options.get("retain_ms"))
        entry.state = state
        if not kept or self.wrong("result forgotten", 0.2):
            self.data.tasks.pop(entry.id, None)
        if state != "dead":
            for other in self.data.tasks.values():
                if other.state == "held" and entry.id in other.waits:
                    other.waits.discard(entry.id)
                    if not other.waits:
                        self._make_ready(other, now)
        name = entry.options.get("batch")
        if name in self.data.batches and not entry.counted:
            entry.counted = True
            self.data.batches[name]["open"] -= 1
            self._complete(name, now)

    def _complete(self, name: str, now: float) -> None:
        batch = self.data.batches[name]
        early = self.wrong("batch early") and batch["open"] <= 1
        if batch["told"] or not batch["closed"] or (batch["open"] > 0 and not early):
            return
        batch["told"] = True
        callback = self.data.tasks.get(batch["callback"])
        if callback is None or self.wrong("batch never"):
            return
        self._make_ready(callback, now)
        if self.wrong("batch twice"):
            self._add(callback.uid, {"lease_ms": 400}, now)

    # What clients ask.

    def execute(
        self, call: str, asked: dict[str, Any], connection: tuple[str, int], now: float, reply: Reply
    ) -> None:
        """Do a call, and reply now or, for a claim that waits, later."""
        self.tick(now)
        if call == "claim":
            self._claim(asked, connection, now, reply)
        else:
            answer = getattr(self, f"_{call}")(asked, now)
            if isinstance(answer, str):
                reply("refused", {}, answer)
            else:
                reply("ok", answer, "")
        self._serve(now)

    def _add(self, uid: str, options: dict[str, Any], now: float, held: bool = False) -> Entry:
        self.data.order += 1
        name = f"{int(now * 1000)}-{self.data.order}"
        entry = Entry(
            name, uid, options, "ready", self.data.order, lease_s=options.get("lease_ms", 400) / 1000
        )
        self.data.tasks[name] = entry
        waits = {other for other in options.get("after", []) if other in self.data.tasks}
        waits = {other for other in waits if self.data.tasks[other].state in (*LIVE, "dead")}
        if held or (waits and not self.wrong("after early")):
            entry.state, entry.waits = "held", waits
        elif options.get("delay_ms"):
            self._delay(entry, now + options["delay_ms"] / 1000 * (0.3 if self.bug == "delay early" else 1))
        else:
            entry.due = now + options.get("ttl_ms", 0) / 1000
            self._plan(entry)
        return entry

    def _push(self, asked: dict[str, Any], now: float) -> dict[str, Any]:
        token = asked.get("request")
        if token in self.data.requests and self.bug != "request ignored":
            return self.data.requests[token][1]
        unique = asked.get("unique")
        if unique in self.data.tokens and not self.wrong("unique forgotten", 0.5):
            answer: dict[str, Any] = {"ids": [self.data.tokens[unique]], "new": False}
        else:
            entry = self._add(asked["uids"][0], asked, now)
            answer = {"ids": [entry.id]} | ({"new": True} if unique else {})
            if unique:
                self.data.tokens[unique] = entry.id
            if asked.get("batch") in self.data.batches:
                self.data.batches[asked["batch"]]["open"] += 1
            if self.wrong("lost push", 0.02):
                del self.data.tasks[entry.id]
            if self.wrong("phantom", 0.02):
                self._add(f"phantom-{self.data.order}", {"lease_ms": 400}, now)
        if token:
            self.data.requests[token] = ("push", answer)
        return answer

    def _batch(self, asked: dict[str, Any], now: float) -> dict[str, Any] | str:
        name = asked["name"]
        if asked["what"] == "open":
            if name in self.data.batches:
                return {"ids": [self.data.batches[name]["callback"]], "new": False}
            entry = self._add(asked["uids"][0], asked, now, held=True)
            self.data.batches[name] = {"callback": entry.id, "open": 0, "closed": False, "told": False}
            return {"ids": [entry.id], "new": True}
        if name not in self.data.batches:
            return "ERR there is no batch of this name"
        was = self.data.batches[name]["closed"]
        self.data.batches[name]["closed"] = True
        self._complete(name, now)
        return {"closed": 0 if was else 1}

    def _claim(self, asked: dict[str, Any], connection: tuple[str, int], now: float, reply: Reply) -> None:
        token = asked.get("request")
        if token in self.data.requests:
            handles = self.data.requests[token][1]["tasks"]
            if any(self._holds(claimed["handle"]) for claimed in handles):
                return reply("ok", self.data.requests[token][1], "")
        tasks = self._take(asked, connection, now)
        if tasks or "block_ms" not in asked:
            return reply("ok", {"tasks": tasks}, "")
        self.waiters.append(Waiter(asked, connection, reply))
        return None

    def _holds(self, handle: str) -> Entry | None:
        entry = self.data.tasks.get(handle.split("@", 1)[0])
        return entry if entry and entry.handle == handle and entry.state == "leased" else None

    def _take(self, asked: dict[str, Any], connection: tuple[str, int], now: float) -> list[dict[str, Any]]:
        """Claim up to `count` tasks."""
        taken: list[dict[str, Any]] = []
        while len(taken) < asked.get("count", 1):
            entry = self._best()
            if entry is None:
                break
            entry.state = "leased"
            entry.attempt += 0 if self.wrong("attempt not counted", 0.3) else 1
            entry.lease_s = (asked.get("lease_ms") or entry.options.get("lease_ms", 400)) / 1000
            entry.deadline = now + entry.lease_s * (0.4 if self.bug == "early expiry" else 1)
            entry.connection = connection if asked.get("tied") else None
            entry.handle = f"{entry.id}@{self._number(now)}-{self.rng.getrandbits(32):08x}"
            self._plan(entry)
            taken.append({"uid": entry.uid, "handle": entry.handle, "attempt": entry.attempt})
        if taken and "request" in asked:
            self.data.requests[asked["request"]] = ("claim", {"tasks": taken})
        return taken

    def _number(self, now: float) -> int:
        if self.wrong("number twice", 0.05) and self.data.number:
            return self.data.number
        if self.bug == "number restarts" and self._after_crash:
            self._after_crash = False
            self.data.number = 0
        clock = 0 if self.bug == "number restarts" else int(now * 1e6)
        self.data.number = max(self.data.number + 1, clock)
        return self.data.number

    def _best(self) -> Entry | None:
        """The task that is next."""
        tasks = self.data.tasks.values()
        held = sum(1 for e in tasks if e.state == "leased" and e.options.get("group") == "narrow")
        full = held >= self.limit and not self.wrong("limit exceeded", 0.5)
        ready = [e for e in tasks if e.state == "ready" and not (full and e.options.get("group") == "narrow")]
        if self.wrong("double delivery", 0.05):
            ready = [e for e in tasks if e.state == "leased"] or ready
        if not ready:
            return None
        if self.bug == "last in first out":
            return max(ready, key=lambda e: (e.options.get("priority", 0), e.order))
        by_priority = self.bug != "priority ignored"
        return min(ready, key=lambda e: (-e.options.get("priority", 0) if by_priority else 0, e.order))

    def _serve(self, now: float) -> None:
        """Give ready tasks to those that wait."""
        while self.waiters and self.bug != "wake-up lost":
            waiter = self.waiters[0]
            tasks = self._take(waiter.asked, waiter.connection, now)
            if not tasks:
                return
            self.waiters.remove(waiter)
            waiter.reply("ok", {"tasks": tasks}, "")

    def _answer(
        self, asked: dict[str, Any], fenced: bool, late: bool, do: Callable[[Entry], int]
    ) -> dict[str, Any] | str:
        """Do something with a handle: 0 if its task is gone, STALE if it is not the holder's."""
        handle = asked["handles"][0]
        entry = self.data.tasks.get(handle.split("@", 1)[0])
        if entry is None or entry.state == "done":
            return {"codes": [0]}
        is_holders = entry.handle == handle and (entry.state == "leased" or (late and entry.state != "held"))
        if self.wrong("holder refused", 0.03) or (fenced and not is_holders):
            return "STALE the lease has ended and the handle is no longer valid"
        return {"codes": [do(entry)]}

    def _ack(self, asked: dict[str, Any], now: float) -> dict[str, Any] | str:
        def do(entry: Entry) -> int:
            if self.wrong("zombie", 0.05):
                entry.state, entry.deadline = "leased", now + 0.2
                self._plan(entry)
                return 1
            results = [e.result for e in self.data.tasks.values() if e.result is not None]
            mixed = bool(results) and self.wrong("result mixed up", 0.3)
            entry.result = self.rng.choice(results) if mixed else asked.get("result")
            self._end(entry, now, "done")
            entry.handle = ""
            return 1

        return self._answer(asked, self.bug != "fence of ack", True, do)

    def _fail(self, asked: dict[str, Any], now: float) -> dict[str, Any] | str:
        def do(entry: Entry) -> int:
            entry.failures += 1
            entry.handle = ""
            limit = {"above attempts": ATTEMPTS + 2, "dead too early": ATTEMPTS - 1}.get(self.bug, ATTEMPTS)
            if entry.failures >= limit or asked.get("dead"):
                self._end(entry, now, "dead")
                return -1
            delay = asked.get("delay_ms") or int(BACKOFF_S * 1000)
            self._delay(entry, now + delay / 1000 * (0.2 if self.bug == "retry early" else 1))
            return int(delay)

        return self._answer(asked, self.bug != "fence of fail", False, do)

    def _requeue(self, asked: dict[str, Any], now: float) -> dict[str, Any] | str:
        def do(entry: Entry) -> int:
            entry.handle = ""
            if self.wrong("lost requeue", 0.2):
                del self.data.tasks[entry.id]
            elif asked.get("delay_ms"):
                self._delay(entry, now + asked["delay_ms"] / 1000)
            else:
                entry.state = "ready"
            return 1

        return self._answer(asked, True, False, do)

    def _extend(self, asked: dict[str, Any], now: float) -> dict[str, Any] | str:
        def do(entry: Entry) -> int:
            entry.deadline = max(entry.deadline, now + entry.lease_s)
            self._plan(entry)
            return int(entry.deadline * 1000)

        return self._answer(asked, self.bug != "fence of extend", False, do)

    def _cancel(self, asked: dict[str, Any], now: float) -> dict[str, Any]:
        entry = self.data.tasks.get(asked["ids"][0])
        if entry is None or entry.state not in ("ready", "delayed") or entry.options.get("batch"):
            return {"codes": [0]}
        if self.bug != "cancelled runs":
            self._end(entry, now, "cancelled")
        return {"codes": [1]}

    def _result(self, asked: dict[str, Any], now: float) -> dict[str, Any]:
        entry = self.data.tasks.get(asked["id"])
        if entry is None:
            return {"state": "unknown", "value": None}
        if entry.state in LIVE:
            return {"state": "pending", "value": None}
        return {"state": entry.state, "value": entry.result}

    def close(self, connection: tuple[str, int], now: float) -> None:
        """A connection has closed: it waits no more, and its tied leases end."""
        self.waiters = [waiter for waiter in self.waiters if waiter.connection != connection]
        for entry in list(self.data.tasks.values()):
            if entry.state == "leased" and entry.connection == connection and self.bug != "tied forgotten":
                self._stall(entry, now)
        self._serve(now)
