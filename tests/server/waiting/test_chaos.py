"""Random commands and workers that come and go: each task is claimed once or still exists."""

import random

import pytest
from harness.waiting import Floor, Worker, claim

KEYS = ("q", "p")
NOBODYS = "1-1@1-00000000"


class Chaos:
    """Random commands on two queues in two databases, sent in batches, and an account of every task."""

    def __init__(self, floor: Floor, seed: int):
        self.floor = floor
        self.dice = random.Random(seed)
        self.pushed = 0
        self.got: list[int] = []
        self.waiting: list[Worker] = []
        self.batch: list[list[object]] = []

    def push(self) -> list[list[object]]:
        """Push a few tasks: one by one, in one command, in a transaction or in a script."""
        count = self.dice.randint(1, 4)
        payloads = list(range(self.pushed, self.pushed + count))
        self.pushed += count
        key = self.dice.choice(KEYS)
        push = ["TASK.MPUSH", key, "LEASE", 50, "TASKS", count, *payloads]
        match self.dice.randrange(4):
            case 0:
                return [
                    ["MULTI"],
                    *[["TASK.PUSH", key, payload, "LEASE", 50] for payload in payloads],
                    ["EXEC"],
                ]
            case 1:
                return [["EVAL", "return redis.call('TASK.MPUSH', KEYS[1], unpack(ARGV))", 1, *push[1:]]]
            case 2:
                return [["TASK.MPUSH", key, "DELAY", self.dice.randint(1, 5), *push[2:]]]
        return [push]

    def come(self) -> None:
        """Add a worker that waits."""
        options = self.dice.choice(
            [[], ["TIED"], ["COUNT", 3], ["REQUEST", f"t{self.dice.randrange(4)}"], ["NOACK"]]
        )
        worker = self.floor.worker()
        worker.takes_for_good = "NOACK" in options
        if self.dice.randrange(4) == 0:
            worker("SELECT", 1)
        keys = self.dice.choice([*KEYS, [*KEYS], [*reversed(KEYS)]])
        claims = [claim(keys)] if isinstance(keys, list) else [claim(keys), ["TASK.NEXT", keys, NOBODYS]]
        words = self.dice.choice(claims)
        # The reply has the queue's key, or an answer, before the tasks.
        worker.has_head = words[0] != "TASK.CLAIM"
        worker.send([*words, "BLOCK", self.dice.choice([0, 0, 1, 20]), *options])
        self.waiting.append(worker)

    def end(self) -> list[list[object]]:
        """Kill, unblock or disconnect a worker that can be waiting. Workers with NOACK are spared."""
        mortal = [worker for worker in self.waiting if not worker.takes_for_good]
        if not mortal:
            return []
        worker = self.dice.choice(mortal)
        match self.dice.randrange(4):
            case 0:
                return [["CLIENT", "UNBLOCK", worker.id]]
            case 1:
                return [["CLIENT", "UNBLOCK", worker.id, "ERROR"]]
            case 2:
                return [["CLIENT", "KILL", "ID", worker.id]]
        self.waiting.remove(worker)
        worker.leave()
        return []

    def order(self) -> list[list[object]]:
        """A command on the queues that loses none of their tasks."""
        key, other = self.dice.sample(KEYS, 2)
        return self.dice.choice(
            [
                [["TASK.PAUSE", key, "OUT", "FOR", 3]],
                [["TASK.PAUSE", key]],
                [["TASK.RESUME", key]],
                [["RENAMENX", key, other]],
                [["SWAPDB", 0, 1]],
                [["MOVE", key, 1]],
                [["SELECT", self.dice.randrange(2)]],
                [["TASK.CONFIG", key, "SET", "backoff-base", self.dice.choice([1, 20])]],
            ]
        )

    def collect(self) -> None:
        """Read the replies that have come. A received task is acked, wherever its queue is now."""
        for worker in list(self.waiting):
            first = worker.first_byte()
            if first is None:
                continue
            self.waiting.remove(worker)
            if first != b"":
                reply = worker.read()
                if isinstance(reply, list):
                    for handle, payload, _ in reply[1] if worker.has_head and reply else reply:
                        self.done(handle, payload, worker.takes_for_good)
            worker.leave()

    def done(self, handle: bytes, payload: bytes, for_good: bool) -> None:
        """Ack a task at every key it can be at. It counts as done when an ack is accepted."""
        if for_good:
            self.got.append(int(payload))
            return
        self.flush()
        for db in (0, 1):
            self.floor.boss("SELECT", db)
            for key in KEYS:
                if self.floor.boss("TASK.ACK", key, handle) == 1:
                    self.got.append(int(payload))
                    return

    def flush(self) -> None:
        """Send the batch and read its replies."""
        if self.batch:
            self.floor.boss.send(*self.batch)
            [self.floor.boss.read() for _ in self.batch]
            self.batch = []

    def step(self) -> None:
        """Add one event to the batch, or send the batch."""
        match self.dice.randrange(10):
            case 0 | 1 | 2:
                self.batch += self.push()
            case 3 | 4:
                self.come()
            case 5:
                self.batch += self.end()
            case 6:
                self.batch += self.order()
            case 7:
                self.flush()
                self.collect()
            case _:
                self.flush()

    def settle(self) -> None:
        """Resume all queues and claim all tasks, until none is ready, delayed or leased."""
        self.flush()
        boss = self.floor.boss

        def is_empty() -> bool:
            self.collect()
            left = 0
            for db in (0, 1):
                boss("SELECT", db)
                for key in KEYS:
                    boss("TASK.RESUME", key)
                    boss("TASK.RETRY", key, "COUNT", 1000)
                    for late in boss("TASK.LIST", key, "delayed")[1]:
                        boss("TASK.RETRY", key, boss.as_map(late)[b"id"])
                    for handle, payload, _ in boss("TASK.CLAIM", key, "COUNT", 1000):
                        assert boss("TASK.ACK", key, handle) == 1
                        self.got.append(int(payload))
                    left += boss("TASK.LEN", key)
            return left == 0

        self.floor.eventually(is_empty, "nothing is left", 20)
        # The last RESUME can have served some workers.
        self.collect()


@pytest.mark.parametrize("seed", range(10))
def test_every_task_is_done_once(start, seed):
    """Pushes, claims, disconnects, pauses, renames, moves and swaps come in random order."""
    floor = Floor(start(module_args=("failover-grace", 0)))
    chaos = Chaos(floor, seed)
    for _ in range(300):
        chaos.step()
    chaos.settle()
    assert sorted(chaos.got) == list(range(chaos.pushed))
    for worker in chaos.waiting:
        worker.leave()
    floor.nobody_waits()
