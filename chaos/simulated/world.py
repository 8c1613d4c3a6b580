"""Clients, a network that loses messages, and a server that crashes, around the simulated queue."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from chaos.history import Call, Closed, Fault, Final, History, Left, Permits, Run
from chaos.simulated.queue import ATTEMPTS, LIVE, Data, Queue

QUEUE = "mail"
# How long a client waits for a reply beyond what it asked to wait.
TIMEOUT_S = 0.3
LOST = 0.01

Client = Generator["Request | float", Call, None]


@dataclass(slots=True)
class Request:
    """What a client sends."""

    call: str
    asked: dict[str, Any]


@dataclass(slots=True)
class Connection:
    """A client and its present connection."""

    name: str
    client: Client
    number: int = 0
    calls: int = 0


@dataclass(slots=True)
class Scene:
    """How a run is."""

    seed: int
    bug: str = ""
    load_s: float = 10.0
    # None: none, one or two, by the seed.
    crashes: int | None = None
    # How much a crash undoes, and whether its fault says so.
    undone_s: float = 0.0
    declared: bool = True
    losses: bool = True


@dataclass
class World:
    """The events of a run, in simulated time. Everything random comes from the seed."""

    scene: Scene
    history: History = field(default_factory=History)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.scene.seed)
        self.queue = Queue(self.rng, self.scene.bug)
        self.now = 100.0
        self.up = True
        self.lossy = self.scene.losses
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._epoch = 0
        self._ticking = math.inf
        self.uids = count(1)
        self.known: list[str] = []
        self.ended = False

    def at(self, when: float, do: Callable[[], None]) -> None:
        """Do something at this instant."""
        heapq.heappush(self._events, (when, next(self._numbers), do))

    def run(self, clients: dict[str, Client]) -> History:
        """Run until the queue is empty after the load has ended."""
        began = self.now
        for name, client in clients.items():
            self._resume(Connection(name, client), None)
        self._plan_crashes()
        self.at(began + self.scene.load_s, self._calm)
        last = began + self.scene.load_s + 20
        while self._events and not self._empty() and self._events[0][0] < last:
            self.now, _, do = heapq.heappop(self._events)
            do()
            self._plan_tick()
        self._close_history(began)
        return self.history

    def _calm(self) -> None:
        """The load and the faults have ended."""
        self.ended, self.lossy = True, False

    def _empty(self) -> bool:
        tasks = self.queue.data.tasks.values()
        return self.ended and not any(entry.state in ("ready", "delayed", "leased") for entry in tasks)

    def _plan_tick(self) -> None:
        due = self.queue.next_due()
        if self.up and due is not None and due < self._ticking:
            self._ticking = max(due, self.now)
            self.at(self._ticking, self._tick)

    def _tick(self) -> None:
        self._ticking = math.inf
        if self.up:
            self.queue.tick(self.now)

    # Clients and the network.

    def _resume(self, connection: Connection, reply: Call | None) -> None:
        try:
            wanted = connection.client.send(reply)  # type: ignore[arg-type]
        except StopIteration:
            return
        if isinstance(wanted, Request):
            self._send(connection, wanted)
        else:
            self.at(self.now + wanted, lambda: self._resume(connection, None))

    def _latency(self) -> float:
        return 0.0005 + self.rng.expovariate(1 / 0.001)

    def _is_lost(self) -> bool:
        return self.lossy and self.rng.random() < LOST

    def _send(self, connection: Connection, request: Request) -> None:
        connection.calls += 1
        call = Call(
            connection.name, connection.calls, request.call, QUEUE, self.now, request.asked, connection.number
        )
        self.history.calls.append(call)
        here = (connection.name, connection.number)

        def done(outcome: str, answer: dict[str, Any], error: str) -> None:
            if math.isfinite(call.ended):
                return
            call.ended, call.outcome = self.now, outcome  # type: ignore[assignment]
            call.answer, call.error = answer, error
            if outcome == "unknown":
                connection.number += 1
                self.at(self.now + self._latency(), lambda: self.queue.close(here, self.now))
            self._resume(connection, call)

        def replied(outcome: str, answer: dict[str, Any], error: str) -> None:
            if not self._is_lost():
                self.at(self.now + self._latency(), lambda: done(outcome, answer, error))

        def arrive() -> None:
            if self.up and math.isinf(call.ended):
                self.queue.execute(request.call, request.asked, here, self.now, replied)

        if not self._is_lost():
            self.at(self.now + self._latency(), arrive)
        patience = request.asked.get("block_ms", 0) / 1000
        if "block_ms" in request.asked:
            self.at(self.now + patience, lambda: self._end_wait(here, request.asked, replied))
        self.at(self.now + patience + TIMEOUT_S, lambda: done("unknown", {}, "time-out"))

    def _end_wait(self, here: tuple[str, int], asked: dict[str, Any], reply: Any) -> None:
        """The server ends a wait at its time."""
        waiting = [w for w in self.queue.waiters if w.connection == here and w.asked is asked]
        for waiter in waiting:
            self.queue.waiters.remove(waiter)
            reply("ok", {"tasks": []}, "")

    def close(self, name: str, number: int) -> None:
        """A client closes its connection."""
        self.history.add(Closed(name, self.now))
        self.at(self.now + self._latency(), lambda: self.queue.close((name, number), self.now))

    # Faults.

    def _plan_crashes(self) -> None:
        load = self.scene.load_s
        crashes = self.scene.seed % 3 if self.scene.crashes is None else self.scene.crashes
        for number in range(crashes):
            when = self.now + load * (number + 0.4 + 0.3 * self.rng.random()) / (crashes + 0.5)
            kept: list[Data] = []
            if self.scene.undone_s:
                self.at(when - self.scene.undone_s, lambda kept=kept: kept.append(self.queue.saved()))  # type: ignore[misc]
            self.at(when, lambda kept=kept: self._crash(kept))  # type: ignore[misc]

    def _crash(self, kept: list[Data]) -> None:
        self.up = False
        crashed = self.now
        outage = 0.3 + self.rng.random() * 0.6
        # Replies that were on their way are lost with the connections; those that have arrived are not.
        undoes = (
            (crashed - self.scene.undone_s, crashed) if self.scene.undone_s and self.scene.declared else None
        )

        def restart() -> None:
            self.up = True
            self.queue.restore(kept[0] if kept else None, self.now, self.now - crashed)
            permits = Permits(undoes=undoes, closes=["*"])
            outage_between = (crashed, self.now)
            self.history.add(Fault("crash", "n1", crashed, self.now, permits, outage=outage_between))

        self.at(crashed + outage, restart)

    def _close_history(self, began: float) -> None:
        for call in self.history.calls:
            if math.isinf(call.ended) and any(waiter.asked is call.asked for waiter in self.queue.waiters):
                call.ended, call.outcome, call.answer = self.now, "ok", {"tasks": []}
        limits = {"lease": 400, "attempts": ATTEMPTS, "stalls": 5, "backoff-max": 200}
        groups = {"narrow": {"concurrency": self.queue.limit}}
        run = Run(self.scene.seed, "simulated", self.scene.bug, began, self.now, 0.0, {QUEUE: limits})
        run.groups = {QUEUE: groups}
        self.history.add(run)
        for entry in self.queue.data.tasks.values():
            if entry.state in (*LIVE, "dead", "done"):
                left = Left(
                    QUEUE, entry.id, entry.uid, entry.state, entry.attempt, entry.failures, entry.stalls
                )
                self.history.add(left)
        self.history.add(Final(QUEUE, self.now, True))
