"""Traffic on queues of a cluster during faults, with an account of each payload at the end."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable

import redis

from harness.cluster import Cluster
from harness.server import wait_until

# Pushers pause at this many waiting tasks, so that emptying the queues at the end doesn't take long.
BACKLOG = 300


class Traffic:
    """Threads that push to queues, and threads that claim from them and ack, each with its own cluster client.

    `with Traffic(cluster, keys) as traffic:` runs them. The end of the block stops the pushes, lets the workers empty
    the queues, and fails if a thread met an error from which a client can't recover.
    """

    def __init__(self, cluster: Cluster, keys: list[str], pushers: int = 2, workers: int = 3):
        self.cluster, self.keys = cluster, keys
        self.pushed: list[str] = []
        self.ran: list[str] = []
        self.refused: list[object] = []  # replies to acks that came too late
        self.errors: list[BaseException] = []
        self._numbers = itertools.count()
        # Pushers stop first. After that, the workers know that no task will follow.
        self._stopped, self._pushed_all = threading.Event(), threading.Event()
        self._pushers = [self._thread(self._push) for _ in range(pushers)]
        self._workers = [self._thread(self._work) for _ in range(workers)]

    def __enter__(self) -> Traffic:
        for thread in (*self._pushers, *self._workers):
            thread.start()
        self.passes(50)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        for threads, event in ((self._pushers, self._stopped), (self._workers, self._pushed_all)):
            event.set()
            for thread in threads:
                thread.join(20)
            assert kind or not any(thread.is_alive() for thread in threads), "all come to an end"
        if self.errors and not kind:
            raise self.errors[0]

    def passes(self, count: int) -> None:
        """Wait until this many more tasks have been pushed and acked."""
        pushed, ran = len(self.pushed) + count, len(self.ran) + count
        wait_until(
            lambda: self.errors or (len(self.pushed) >= pushed and len(self.ran) >= ran),
            "traffic goes on",
            15,
        )

    def account(self) -> None:
        """Fail unless each payload was worked on, and none twice except after a stall that INFO counts."""
        client = self.cluster.client()
        replies = [client.execute_command("TASK.INFO", key) for key in self.keys]
        infos = [dict(zip(info[::2], info[1::2], strict=True)) for info in replies]
        totals = {name: sum(info[name] for info in infos) for name in (b"pushed", b"acked", b"stalled")}
        times = Counter(self.ran)
        assert set(self.pushed) == set(times), "what was pushed was worked on, and nothing else"
        twice = sum(times.values()) - len(times)
        assert twice <= totals[b"stalled"] and len(self.refused) <= totals[b"stalled"], (twice, totals)
        assert totals[b"pushed"] == totals[b"acked"] == len(times), totals

    # ---- what the threads do

    def _thread(self, loop: Callable[[redis.RedisCluster], None]) -> threading.Thread:
        return threading.Thread(target=self._guarded, args=(loop,), daemon=True)

    def _guarded(self, loop: Callable[[redis.RedisCluster], None]) -> None:
        try:
            loop(self.cluster.client())
        except BaseException as error:
            self.errors.append(error)

    def _push(self, client: redis.RedisCluster) -> None:
        while not self._stopped.is_set():
            number = next(self._numbers)
            payload = f"task {number}"
            # With a token, because a client can resend by itself.
            again(client, "TASK.PUSH", self.keys[number % len(self.keys)], payload, "REQUEST", payload)
            self.pushed.append(payload)
            if len(self.pushed) - len(self.ran) > BACKLOG:
                self._stopped.wait(0.002)

    def _work(self, client: redis.RedisCluster) -> None:
        empty = 0
        for turn in itertools.count():
            key, token = self.keys[turn % len(self.keys)], f"{threading.get_ident()} {turn}"
            is_last_round = self._pushed_all.is_set()
            # Some claims find nothing and wait. They are redirected while they wait, or return after a moment (on 6.2).
            tasks = again(client, "TASK.CLAIM", key, "COUNT", 3, "BLOCK", 20, "REQUEST", token)
            for handle, payload, _ in tasks:
                self.ran.append(payload.decode())
                reply = again(client, "TASK.ACK", key, "HANDLES", 1, handle)
                if reply != [1]:
                    self.refused.append(reply)
            empty = empty + 1 if is_last_round and not tasks else 0
            if empty == len(self.keys):
                return


def again(client: redis.RedisCluster, *command: object) -> object:
    """Send a command until it is answered. A node that steps down only ends waits, without a reply."""
    while True:
        try:
            return client.execute_command(*command)
        except redis.ResponseError as error:
            if not str(error).startswith("UNBLOCKED"):
                raise
