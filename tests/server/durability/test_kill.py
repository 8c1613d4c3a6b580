"""Every change that was confirmed to a client survives a kill of the server, under the load of several clients."""

import random
import threading

from harness.queues import STATES, info, tasks
from harness.server import Server
from harness.talk import Talk

LOADERS = 4
KILLS = 4


class Loader(threading.Thread):
    """A client that works until its server is killed. It remembers the confirmed changes and its last command."""

    def __init__(self, server: Server, seed: int, held: list[bytes]):
        super().__init__(daemon=True)
        self.dice, self.talk, self.held = random.Random(seed), Talk(server), held
        self.pushed: set[bytes] = set()
        self.acked: set[bytes] = set()
        self.asked: list = []  # the command whose reply never came
        self.replies = 0
        self.wrong: list = []
        self.steps = 0

    def run(self) -> None:
        try:
            while True:
                self.step()
        except (AssertionError, OSError):
            pass  # the server was killed

    def ask(self, *words: object) -> object:
        self.asked = list(words)
        reply = self.talk(*words)
        self.asked = []
        self.replies += 1
        return reply

    def step(self) -> None:
        """Push a few tasks, claim a few, and ack some of the held ones. Each worker has its own handles."""
        self.steps += 1
        payloads = [f"{self.name} {self.steps} {n}" for n in range(self.dice.randint(1, 3))]
        self.pushed |= set(self.ask("TASK.MPUSH", "queue", "TASKS", len(payloads), *payloads))
        for handle, payload, _ in self.ask("TASK.CLAIM", "queue", "COUNT", 3):
            if payload != b"short":
                self.held.append(handle)
        # Short leases run out, so the AOF also has changes made by the timer.
        self.pushed.add(self.ask("TASK.PUSH", "queue", "short", "PRIORITY", -1, "LEASE", 1))
        while len(self.held) > 20:
            handle = self.held.pop(self.dice.randrange(len(self.held)))
            reply = self.ask("TASK.ACK", "queue", handle)
            if reply == 1:
                self.acked.add(handle.split(b"@")[0])
            else:
                self.wrong.append((handle, reply))


def test_a_kill_loses_no_confirmed_change(start):
    """After each kill all pushed tasks exist, all acked tasks are removed, and all leases are valid."""
    server = start(appendonly="yes", appendfsync="always", module_args=("failover-grace", 0))
    server.client().execute_command(
        "TASK.CONFIG", "queue", "SET", "lease", 3_600_000, "attempts", -1, "stalls", -1
    )
    pushed, acked, held = set(), set(), [[] for _ in range(LOADERS)]
    for kill in range(KILLS):
        loaders = [Loader(server, kill * LOADERS + n, held[n]) for n in range(LOADERS)]
        for loader in loaders:
            loader.start()
        server.wait_until(
            lambda loaders=loaders: min(one.replies for one in loaders) > 100, "all are at work", 20
        )
        server.kill9()
        for loader in loaders:
            loader.join(timeout=10)
            assert not loader.is_alive() and not loader.wrong, loader.wrong
            pushed |= loader.pushed
            acked |= loader.acked
        # A command without a reply can have been done or not.
        unsure = {
            word.split(b"@")[0] for one in loaders for word in one.asked[2:3] if "TASK.ACK" in one.asked
        }
        # A replica without a primary: no task changes its state during the check.
        r = server.restart(replicaof="127.0.0.1 1").client()
        there = {one["id"] for state in STATES for one in tasks(r, "queue", state)}
        assert pushed - acked - unsure <= there, (
            f"kill {kill}: {len(pushed - acked - unsure - there)} are lost"
        )
        assert not acked & there, f"kill {kill}: {len(acked & there)} are back"
        acked |= unsure - there
        assert info(r, "queue")["broken"] == b""
        r.execute_command("REPLICAOF", "NO", "ONE")
        for handles in held:
            assert min(r.execute_command("TASK.EXTEND", "queue", "HANDLES", len(handles), *handles)) > 0
    assert info(r, "queue")["stalled"] > 10
    assert len(pushed) > KILLS * LOADERS * 50 and len(acked) > KILLS * LOADERS * 10
