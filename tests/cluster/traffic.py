"""Traffic on queues of a cluster while something befalls it, and the account of each payload at the end."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable

import redis
from cluster import Cluster
from server import wait_until

# Most tasks that wait before pushers pause, so that the end needs no long draining.
BACKLOG = 300


class Traffic:
    """Threads that push into queues and threads that claim from them and ack, each by a cluster client of its own.

    `with Traffic(cluster, keys) as traffic:` runs them; leaving it stops the pushes, lets the workers drain the queues,
    and fails if a thread met an error that a client can't get over by itself.
    """

    def __init__(self, cluster: Cluster, keys: list[str], pushers: int = 2, workers: int = 3):
        self.cluster, self.keys = cluster, keys
        self.pushed: list[str] = []
        self.ran: list[str] = []
        self.refused: list[int] = []
        self.errors: list[BaseException] = []
        self._numbers = itertools.count()
        self._stopped = threading.Event()
        loops = [self._push] * pushers + [self._work] * workers
        self._threads = [threading.Thread(target=self._guarded, args=(loop,), daemon=True) for loop in loops]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        self.passes(50)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(30)
        assert kind or not any(thread.is_alive() for thread in self._threads), "all threads come to an end"
        if self.errors and not kind:
            raise self.errors[0]

    def passes(self, count: int) -> None:
        """Wait until so many more tasks have been pushed and worked on."""
        pushed, ran = len(self.pushed) + count, len(self.ran) + count
        wait_until(
            lambda: self.errors or (len(self.pushed) >= pushed and len(self.ran) >= ran),
            "traffic goes on",
            15,
        )

    def account(self) -> None:
        """Fail unless each payload pushed was worked on, and none twice but for stalls that are told."""
        client = self.cluster.client()
        told = [client.execute_command("TASK.INFO", key) for key in self.keys]
        infos = [dict(zip(info[::2], info[1::2], strict=True)) for info in told]
        totals = {name: sum(info[name] for info in infos) for name in (b"pushed", b"acked", b"stalled")}
        times = Counter(self.ran)
        assert set(self.pushed) == set(times), "what was pushed was worked on, and nothing else"
        twice = sum(times.values()) - len(times)
        assert twice <= totals[b"stalled"] and len(self.refused) <= totals[b"stalled"], (twice, totals)
        assert totals[b"pushed"] == totals[b"acked"] == len(times), totals

    # ---- what the threads do

    def _guarded(self, loop: Callable[[redis.RedisCluster], None]) -> None:
        try:
            loop(self.cluster.client())
        except BaseException as error:
            self.errors.append(error)

    def _push(self, client: redis.RedisCluster) -> None:
        while not self._stopped.is_set():
            number = next(self._numbers)
            payload = f"task {number}"
            # With a token, since a client may send it again by itself.
            again(client, "TASK.PUSH", self.keys[number % len(self.keys)], payload, "REQUEST", payload)
            self.pushed.append(payload)
            if len(self.pushed) - len(self.ran) > BACKLOG:
                self._stopped.wait(0.002)

    def _work(self, client: redis.RedisCluster) -> None:
        for turn in itertools.count():
            key = self.keys[turn % len(self.keys)]
            token = f"{threading.get_ident()} {turn}"
            # Some find nothing and wait: they are redirected in mid-wait, or come back after a moment (on 6.2).
            for handle, payload, _ in again(
                client, "TASK.CLAIM", key, "COUNT", 3, "BLOCK", 20, "REQUEST", token
            ):
                self.ran.append(payload.decode())
                reply = again(client, "TASK.ACK", key, handle)
                if reply != 1:
                    self.refused.append(reply)
            if self._stopped.is_set() and set(self.pushed) <= set(self.ran):
                return


def again(client: redis.RedisCluster, *command: object) -> object:
    """Send a command until it is answered: by a node that steps down whoever waits is only let go."""
    while True:
        try:
            return client.execute_command(*command)
        except redis.ResponseError as error:
            if not str(error).startswith("UNBLOCKED"):
                raise
