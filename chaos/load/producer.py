"""Producers: they push tasks of every kind, and send again what was not confirmed, if that is safe."""

from __future__ import annotations

import json
import queue
import random
import time

from chaos.load.addresses import Addresses
from chaos.load.follower import Follower, Refused, Stopped, Unknown
from chaos.load.plan import (
    FLOW,
    FUNCTION,
    GROUP_NAMES,
    GROUPS,
    KINDS,
    LIBRARY,
    PLAIN,
    RESULTS,
    RICH,
    Options,
    key,
    kind_of,
    tag_of,
)
from chaos.load.stopping import Stop

# Pushes stop at this many waiting tasks of a queue until workers have caught up.
BACKLOG = 3000
# How often a producer looks at that, in pushes.
LOOK_EACH = 40
# The share of pushes with a REQUEST token, which are sent again until they are answered.
CAREFUL = 0.7
# Most delays are short. Some are longer than the window of a fault.
DELAYS_MS = (1500, 1500, 6000)
# How long a push may take to reach a replica.
CONFIRM_MS = 50
# A client asks for a result this often, in slices of this many ms.
ASKS, ASK_MS = 6, 500


class Producer:
    """One thread that pushes at a rate. `keeps` is that of its connection."""

    def __init__(
        self, name: str, addresses: Addresses, options: Options, seed: str, stop: Stop, tag: str, keeps: bool
    ):
        self.name, self._options, self._stop = name, options, stop
        self._rng = random.Random(f"{seed} {name}")
        kinds = [kind for kind in KINDS if kind in options.kinds]
        self._queues = [key(tag, kind) for kind in kinds]
        self._weights = [options.weights.get(kind, 1.0) for kind in kinds]
        self._ask = Follower(addresses, key(tag, PLAIN), stop, keeps)
        self._rate = options.rate / max(1, options.producers * THREADS)
        self._number = 0
        # The tasks whose results somebody waits for.
        self.awaited: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()

    def run(self) -> None:
        """Push until told to stop."""
        due = time.monotonic()
        for turn in range(1 << 62):
            name = self._rng.choices(self._queues, self._weights)[0]
            try:
                pushed = self.push(name)
                if turn % LOOK_EACH == 0:
                    self._wait_for_workers(name)
            except Stopped:
                return
            except (Refused, Unknown):
                pushed = 1
            # What an outage has held up isn't made up for: a producer is not a flood.
            due = max(due + pushed / self._rate, time.monotonic() - 1)
            if self._stop.wait(max(0.0, due - time.monotonic())):
                return

    def push(self, name: str) -> int:
        """Push to a queue what its kind is for. Returns the number of tasks."""
        kind = kind_of(name)
        if kind == FLOW:
            return self._batch(name) if self._rng.random() < 0.5 else self._after(name)
        if kind == PLAIN and self._rng.random() < 0.3:
            return self._several(name)
        if kind == LIBRARY:
            payload = json.dumps({"task": FUNCTION, "args": [self._uid()]})
            self._one(name, payload)
            return 1
        words: list[object] = []
        if kind == RICH:
            words = self._rich(name)
        elif kind == GROUPS:
            words = ["GROUP", self._rng.choice(GROUP_NAMES)]
        elif kind == RESULTS:
            words = ["RETAIN", 5000]
        task = self._one(name, self._uid(), *words)
        if kind == RESULTS and task:
            self.awaited.put((name, task))
        return 1

    # ---- the kinds

    def _one(self, name: str, payload: str, *words: object, careful: bool | None = None) -> str | None:
        """Push one task. Returns its id, as far as it is known."""
        rng = self._rng
        careful = rng.random() < CAREFUL if careful is None else careful
        command = ["TASK.PUSH", name, payload, *words]
        if not careful:
            reply = self._ask(*command)
        else:
            reply = self._ask.again(*command, "REQUEST", f"{payload} {rng.randrange(1 << 30)}"[-256:])
        if self._options.confirmed and rng.random() < self._options.confirmed:
            self._confirm()
        task = reply[0] if isinstance(reply, list) else reply
        return task.decode() if isinstance(task, bytes) else None

    def _confirm(self) -> None:
        """Ask whether a replica has what this connection pushed. Without an answer it is not confirmed."""
        try:
            self._ask("WAIT", 1, CONFIRM_MS, wait_ms=CONFIRM_MS)
        except (Refused, Unknown):
            return

    def _several(self, name: str) -> int:
        payloads = [self._uid() for _ in range(self._rng.randint(2, 6))]
        words = ["TASK.MPUSH", name, "REQUEST", f"m {payloads[0]}", "TASKS", len(payloads), *payloads]
        self._ask.again(*words)
        return len(payloads)

    def _rich(self, name: str) -> list[object]:
        rng, words = self._rng, list[object]()
        if rng.random() < 0.5:
            words += ["PRIORITY", rng.choice((-1, 0, 1, 5))]
        when = rng.random()
        if when < 0.25:
            words += ["DELAY", rng.randint(1, rng.choice(DELAYS_MS))]
        elif when < 0.35:
            words += ["AT", int(time.time() * 1000) + rng.randint(1, 1500)]
        if rng.random() < 0.1:
            words += ["TTL", rng.randint(100, 3000)]
        if rng.random() < 0.2:
            words += ["ATTEMPTS", rng.randint(1, 3)]
        if rng.random() < 0.2:
            words += ["UNIQUE", f"unique:{tag_of(name)}:{rng.randrange(12)}"]
            until = rng.random()
            words += ["UNTIL", "START"] if until < 0.2 else ["FOR", 700] if until < 0.4 else []
        return words

    def _batch(self, name: str) -> int:
        """A batch: its callback, its tasks, its end. If it was lost meanwhile, its tasks are refused."""
        callback, count = self._uid(), self._rng.randint(1, 5)
        batch = f"batch {callback}"
        self._ask.again("TASK.BATCH", name, "OPEN", batch, "PAYLOAD", callback)
        for _ in range(count):
            self._one(name, self._uid(), "BATCH", batch, careful=True)
        self._ask.again("TASK.BATCH", name, "CLOSE", batch)
        return count + 1

    def _after(self, name: str) -> int:
        """Tasks, and one that waits for them."""
        count = self._rng.randint(1, 3)
        found = [self._one(name, self._uid(), careful=True) for _ in range(count)]
        before = [task for task in found if task]
        if before:
            words = ["AFTER", len(before), *before, "ONDEAD", self._rng.choice(("WAIT", "RUN", "DROP"))]
            self._one(name, self._uid(), *words)
        return count + 1

    def _wait_for_workers(self, name: str) -> None:
        while self._ask.again("TASK.LEN", name) > BACKLOG:
            if self._stop.wait(0.1):
                return

    def _uid(self) -> str:
        self._number += 1
        return f"uid:{self.name}:{self._number}"


# Threads of a producer's process, each with its own connection.
THREADS = 2


class Asker:
    """One thread that waits in TASK.RESULT for tasks that a producer has pushed."""

    def __init__(self, producer: Producer, addresses: Addresses, stop: Stop):
        self._awaited, self._stop = producer.awaited, stop
        self._ask = Follower(addresses, producer._queues[0], stop)
        # A replica answers TASK.RESULT too, and may not know the task yet: nothing tells that it was demoted.
        self._may_stay = addresses["kind"] != "pointed"

    def run(self) -> None:
        """Ask until told to stop."""
        while not self._stop.is_set():
            try:
                self._result(*self._awaited.get(timeout=0.2))
            except (queue.Empty, Refused):
                continue
            except Stopped:
                return

    def _result(self, name: str, task: str) -> None:
        if not self._may_stay:
            self._ask.leave()
        for _ in range(ASKS):
            if self._ask.again("TASK.RESULT", name, task, "BLOCK", ASK_MS, wait_ms=ASK_MS) is not None:
                return
