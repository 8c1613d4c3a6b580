"""An album is fetched, its 20 pictures are resized, then it is published: a batch with a callback.

On the way a worker is killed with -9, one picture fails until it is dead, and the primary is killed and its replica
promoted. In the end the album was published once, and its worker knows how the pictures ended.

`make pipeline` runs it. It starts two servers of its own.
"""

import contextlib
import multiprocessing
import sys
import time
from collections.abc import Callable
from multiprocessing.sharedctypes import Synchronized

import redis
from harness.server import Server, find_servers, wait_synced

PICTURES, WORKERS = 20, 4
KEY, BATCH = "albums", "album-7"
BROKEN = b"resize 13"
Reply = dict[bytes, object]


def as_map(reply: object) -> Reply:
    """A map of the server, which RESP2 sends as a list of names and values."""
    return reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))


class Worker:
    """Claims tasks one by one. It follows the primary: `port` changes when another server becomes it."""

    def __init__(self, name: str, port: Synchronized, published: multiprocessing.Queue):
        self.name, self.port, self.published = name, port, published

    def run(self) -> None:
        """Work until the program ends this process."""
        while True:
            try:
                self.work(redis.Redis(port=self.port.value, socket_timeout=5))
            except redis.RedisError:
                # The primary is gone, or not a primary any more. A lease that it gave is valid at the next one.
                time.sleep(0.05)

    def work(self, r: redis.Redis) -> None:
        """Claim and do tasks until the server fails."""
        claim = ("TASK.CLAIM", KEY, "BLOCK", 1000, "WORKER", self.name, "LEASE", 1000, "WITHMETA")
        while True:
            for handle, payload, _, meta in r.execute_command(*claim):
                self.do(r, handle, payload, as_map(meta))

    def do(self, r: redis.Redis, handle: bytes, payload: bytes, meta: Reply) -> None:
        """Do one task."""
        if payload == b"fetch":
            self.fetch(r, handle)
        elif payload == b"publish":
            # The task is acked first, so that nobody publishes the album a second time.
            if r.execute_command("TASK.ACK", KEY, handle):
                self.published.put({name: value for name, value in meta.items() if b"batch-" in name})
        elif payload == BROKEN:
            r.execute_command("TASK.FAIL", KEY, handle, "ERROR", "not a picture", "DELAY", 50)
        else:
            time.sleep(0.1)
            r.execute_command("TASK.ACK", KEY, handle)

    def fetch(self, r: redis.Redis, handle: bytes) -> None:
        """Push a task for each picture into the batch, then close it. All of it can be done twice without harm."""
        pictures = [f"resize {n}" for n in range(1, PICTURES + 1)]
        options = ("BATCH", BATCH, "ATTEMPTS", 2, "REQUEST", f"pictures of {BATCH}")
        r.execute_command("TASK.MPUSH", KEY, *options, "TASKS", PICTURES, *pictures)
        r.execute_command("TASK.BATCH", KEY, "CLOSE", BATCH)
        r.execute_command("TASK.ACK", KEY, handle)


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition, at most 30 s."""
    ends_at = time.monotonic() + 30
    while not condition():
        if time.monotonic() > ends_at:
            raise SystemExit(f"{what}: not in 30 s")
        time.sleep(0.01)


def main() -> int:
    """Run the pipeline. Returns 0 if the album was published once, with the right counts."""
    installed = find_servers()[sys.argv[1] if len(sys.argv) > 1 else "valkey-9.1"]
    with contextlib.ExitStack() as stack:
        primary, replica = Server(installed, port=True), Server(installed, port=True)
        stack.callback(primary.discard)
        stack.callback(replica.discard)
        replica.replicate(primary)
        r, port = primary.client(), multiprocessing.Value("i", primary.port)
        published: multiprocessing.Queue = multiprocessing.Queue()
        opened = r.execute_command("TASK.BATCH", KEY, "OPEN", BATCH, "PAYLOAD", "publish")
        r.execute_command("TASK.PUSH", KEY, "fetch", "BATCH", BATCH)
        print(f"opened batch {BATCH}; its callback is task {opened[0].decode()}")
        workers = [
            multiprocessing.Process(target=Worker(f"w{n}", port, published).run, daemon=True)
            for n in range(WORKERS)
        ]
        for worker in workers:
            worker.start()

        def done(r: redis.Redis) -> int:
            return int(as_map(r.execute_command("TASK.BATCH", KEY, "INFO", BATCH))[b"done"])

        def is_busy(worker: str) -> bool:
            return bool(r.execute_command("TASK.LIST", KEY, "leased", "WORKER", worker)[1])

        wait_until(lambda: done(r) >= 5 and is_busy("w0"), "five pictures")
        workers[0].kill()
        print(f"killed worker w0 while it had a task; {done(r)} tasks are done")
        wait_until(lambda: done(r) >= 10, "ten pictures")
        wait_synced(primary, replica)
        print(f"killed the primary; {done(r)} tasks are done")
        primary.kill9()
        r = replica.client()
        r.replicaof("NO", "ONE")
        port.value = replica.port
        print("the replica is the primary now")
        counts = published.get(timeout=60)
        print("published:", ", ".join(f"{name.decode()} {value}" for name, value in sorted(counts.items())))
        wait_until(lambda: r.execute_command("TASK.LEN", KEY) == 0, "the end of all tasks")
        is_once = published.empty()
        print("published once" if is_once else "published more than once")
        [(_, dead)] = [(None, as_map(task)) for task in r.execute_command("TASK.LIST", KEY, "dead")[1]]
        print(f"dead: {dead[b'error'].decode()}, after {dead[b'failures']} failures")
        for worker in workers:
            worker.kill()
        expected = {b"batch-tasks": PICTURES + 1, b"batch-done": PICTURES, b"batch-dead": 1}
        return 0 if is_once and expected.items() <= counts.items() else 1


if __name__ == "__main__":
    sys.exit(main())
