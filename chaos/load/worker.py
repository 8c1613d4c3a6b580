"""Raw workers: they claim in every way that there is, and answer in every way, in time and too late."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chaos.load.addresses import Addresses
from chaos.load.follower import Follower, Refused, Stopped, Unknown
from chaos.load.plan import IDLE, LEASED, NOACK, PLAIN, TIED, TIED_LEASES, Options, key
from chaos.load.stopping import Stop

BLOCK_MS = 400
# The most answers that a worker keeps back until they are late.
MOST_LATE = 50


@dataclass(frozen=True)
class Held:
    """A task that the worker holds: its queue, its handle, its payload."""

    queue: str
    handle: str
    payload: str
    lease_ms: int


class Worker:
    """One thread with one connection, named for its process, that claims from the queues of one tag."""

    def __init__(self, name: str, addresses: Addresses, options: Options, seed: str, stop: Stop, tag: str):
        self.name, self._options, self._stop = name, options, stop
        self._rng = random.Random(f"{seed} {name}")
        self._tag = tag
        self._queues = [key(self._tag, kind) for kind in options.kinds if kind in LEASED]
        self._ask = Follower(addresses, key(self._tag, PLAIN), stop)
        # Answers that are given after the lease, when they are due.
        self._late: deque[tuple[float, Held]] = deque(maxlen=MOST_LATE)
        self._number = 0

    def run(self) -> None:
        """Work until told to stop. What is held then stays leased."""
        while not self._stop.is_set():
            try:
                self._turn()
            except Stopped:
                return
            except (Refused, Unknown):
                continue

    def _turn(self) -> None:
        self._answer_late()
        if self._rng.random() < 0.01:
            self._ask.leave()  # connects anew
        kinds = self._options.kinds
        if NOACK in kinds and self._rng.random() < 0.06:
            self._ask(*self._claim([key(self._tag, NOACK)]), "NOACK", wait_ms=BLOCK_MS)
            return
        tied = TIED in kinds and self._rng.random() < 0.15
        names = [key(self._tag, TIED)] if tied or not self._queues else self._some_queues()
        self._work(self._claimed(names, tied))

    # ---- claiming

    def _some_queues(self) -> list[str]:
        """One queue, or several at once, which all are in one slot."""
        several = self._rng.random() < 0.2
        return (
            self._rng.sample(self._queues, min(3, len(self._queues)))
            if several
            else [self._rng.choice(self._queues)]
        )

    def _claim(self, names: list[str], lease_ms: int = 0, tied: bool = False) -> list[object]:
        """The words of a claim."""
        first, *others = names
        words: list[object] = (
            ["TASK.MCLAIM", first, "KEYS", len(others), *others] if others else ["TASK.CLAIM", first]
        )
        return words + self._asked(lease_ms, tied)

    def _asked(self, lease_ms: int, tied: bool) -> list[object]:
        rng, words = self._rng, list[object]()
        if rng.random() < 0.5:
            words += ["COUNT", rng.randint(2, 8)]
            if rng.random() < 0.1:
                words += ["GATHER", 20]
        words += ["BLOCK", BLOCK_MS] if rng.random() < 0.9 else []
        words += ["WORKER", self.name]
        words += ["LEASE", lease_ms] if lease_ms else []
        words += ["TIED"] if tied else []
        words += ["WITHMETA"] if rng.random() < 0.25 else []
        return words

    def _claimed(self, names: list[str], tied: bool) -> list[Held]:
        lease_ms = self._lease_ms() * (TIED_LEASES if tied else 1)
        words = self._claim(names, lease_ms, tied)
        if self._rng.random() < 0.6:
            reply = self._ask.again(*words, "REQUEST", self._token(), wait_ms=BLOCK_MS)
        else:
            reply = self._ask(*words, wait_ms=BLOCK_MS)
        if words[0] == "TASK.MCLAIM":
            return held(reply[0].decode(), reply[1], lease_ms) if reply else []
        return held(names[0], reply, lease_ms)

    def _lease_ms(self) -> int:
        return int(self._options.lease_ms * self._rng.uniform(0.4, 1.2))

    def _token(self) -> str:
        self._number += 1
        return f"claim {self.name} {self._number}"

    # ---- working

    def _work(self, tasks: list[Held]) -> None:
        """Answer all tasks of a claim: together, or one by one."""
        rng = self._rng
        if len(tasks) > 1 and rng.random() < 0.5:
            handles = [task.handle for task in tasks]
            self._tell("TASK.ACK", tasks[0].queue, "HANDLES", len(handles), *handles)
            return
        for task in tasks:
            if rng.random() < 0.1:
                self._stop.wait(rng.uniform(0.001, 0.03))
            try:
                self._end(task)
            except Refused:
                continue  # STALE: somebody else has it

    def _end(self, task: Held) -> None:
        """End a task in one of many ways."""
        ways: list[tuple[float, Callable[[Held], None]]] = [
            (66, self._ack),
            (8, self._next),
            (7, self._fail),
            (5, self._requeue),
            (4, self._extend),
            (3, self._keep_late),
            (3, self._step),
            (2, lambda _: None),  # forgets to answer
            (2, self._answer_twice),
        ]
        [way] = self._rng.choices([way for _, way in ways], [weight for weight, _ in ways])
        way(task)

    def _ack(self, task: Held) -> None:
        result = ["RESULT", f"result of {task.payload} {self._rng.randrange(1 << 30)}"]
        self._tell("TASK.ACK", task.queue, task.handle, *(result if self._rng.random() < 0.5 else []))

    def _next(self, task: Held) -> None:
        lease_ms = self._lease_ms()
        words = [
            "TASK.NEXT",
            task.queue,
            task.handle,
            *self._asked(lease_ms, False),
            "REQUEST",
            self._token(),
        ]
        reply = self._ask.again(*words, wait_ms=BLOCK_MS)
        self._work(held(task.queue, reply[1], lease_ms))

    def _fail(self, task: Held) -> None:
        how = self._rng.random()
        words = ["DELAY", self._rng.randint(1, 500)] if how < 0.3 else ["DEAD"] if how < 0.35 else []
        self._tell("TASK.FAIL", task.queue, task.handle, "ERROR", f"error of {task.payload}", *words)

    def _requeue(self, task: Held) -> None:
        words = self._rng.choice(([], ["BACK"], ["DELAY", self._rng.randint(1, 500)]))
        self._tell("TASK.REQUEUE", task.queue, task.handle, *words)

    def _extend(self, task: Held) -> None:
        """Works for longer than the lease, and extends it in time."""
        for step in range(self._rng.randint(1, 5)):
            self._stop.wait(task.lease_ms / 3000)
            progress = ["PROGRESS", f"step {step}"] if self._rng.random() < 0.5 else []
            self._tell("TASK.EXTEND", task.queue, task.handle, *progress)
        self._ack(task)

    def _step(self, task: Held) -> None:
        """Finishes the task and pushes the next one in one call."""
        self._number += 1
        uid = f"uid:{self.name}:{self._number}"
        words = ["PUSH", uid, "REQUEST", f"step {uid}"]
        self._tell("TASK.ACK", task.queue, task.handle, *words)

    def _answer_twice(self, task: Held) -> None:
        for _ in range(2):
            self._ack(task)

    def _keep_late(self, task: Held) -> None:
        due = time.monotonic() + (task.lease_ms + self._rng.randint(0, 800)) / 1000
        self._late.append((due, task))

    def _answer_late(self) -> None:
        """Give the answers that are due, with handles that may be old by now."""
        for _ in range(len(self._late)):
            due, task = self._late.popleft()
            if due > time.monotonic():
                self._late.append((due, task))
                continue
            try:
                self._rng.choice((self._ack, self._fail, self._requeue, self._extend_once))(task)
            except Refused:
                continue

    def _extend_once(self, task: Held) -> None:
        self._tell("TASK.EXTEND", task.queue, task.handle)

    def _tell(self, *words: object) -> None:
        """Give an answer, again if it isn't known to have arrived. A second copy of it is harmless."""
        if self._rng.random() < 0.9:
            self._ask.again(*words)
        else:
            self._ask(*words)


class Waiter:
    """One thread that waits for long for tasks which come rarely: a lost wake-up would keep them waiting as long."""

    BLOCK_MS = 3500

    def __init__(self, name: str, addresses: Addresses, stop: Stop, tag: str):
        self.name, self._stop, self._queue = name, stop, key(tag, IDLE)
        self._ask = Follower(addresses, self._queue, stop)

    def run(self) -> None:
        """Work until told to stop."""
        while not self._stop.is_set():
            try:
                words = ["TASK.CLAIM", self._queue, "BLOCK", self.BLOCK_MS, "WORKER", self.name]
                for handle, *_ in self._ask(*words, wait_ms=self.BLOCK_MS):
                    self._ask.again("TASK.ACK", self._queue, handle)
            except Stopped:
                return
            except (Refused, Unknown):
                continue


def held(queue: str, tasks: Any, lease_ms: int) -> list[Held]:
    """The tasks of a claim's reply."""
    return [Held(queue, task[0].decode(), task[1].decode("latin-1"), lease_ms) for task in tasks]
