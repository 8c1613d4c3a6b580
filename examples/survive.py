"""100,000 tasks and eight workers, two of which are killed with -9 on the way. In the end every task is done.

Start a server with `make run`, then run `make example`. It deletes and uses the keys demo, demo:done and demo:tries.
"""

import multiprocessing
import sys

import redis

TASKS, WORKERS = 100_000, 8
PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 6379


def connect() -> redis.Redis:
    return redis.Redis(port=PORT, socket_timeout=10)


def work(name: str) -> None:
    """Claim ten tasks at a time, do and ack them, until there has been no task for a second."""
    r = connect()
    while True:
        tasks = r.execute_command("TASK.CLAIM", "demo", "COUNT", 10, "BLOCK", 1000, "WORKER", name, "TIED")
        if not tasks:
            return
        r.hincrby("demo:tries", name, len(tasks))
        r.sadd("demo:done", *[payload for _, payload, _ in tasks])
        r.execute_command("TASK.ACK", "demo", "HANDLES", len(tasks), *[handle for handle, _, _ in tasks])


if __name__ == "__main__":
    r = connect()
    r.delete("demo", "demo:done", "demo:tries")
    for start in range(0, TASKS, 1000):
        r.execute_command("TASK.MPUSH", "demo", "TASKS", 1000, *range(start, start + 1000))
    workers = [multiprocessing.Process(target=work, args=(f"w{n}",)) for n in range(WORKERS)]
    for worker in workers:
        worker.start()
    for n, victim in enumerate(workers[:2]):
        while r.scard("demo:done") < (n + 1) * TASKS // 4:
            pass
        victim.kill()
    for worker in workers:
        worker.join()
    left = r.execute_command("TASK.LEN", "demo")
    info = r.execute_command("TASK.INFO", "demo")
    info = info if isinstance(info, dict) else dict(zip(info[::2], info[1::2], strict=True))
    tries, done = sum(int(n) for n in r.hvals("demo:tries")), r.scard("demo:done")
    print(f"pushed {info[b'pushed']}, done {done}, acked {info[b'acked']}, left {left}")
    print(f"stalled with their worker {info[b'stalled']}, done twice {tries - done}")
