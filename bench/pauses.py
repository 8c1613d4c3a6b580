"""How long a server keeps other clients waiting: PINGs all the time, and the operations on large queues.

A pause is given in two ways: `wait` is the longest time until a PING was answered, and `work` is the most processor
time that the server's main thread used while one PING waited. Other programs on the machine add to the first, but not
to the second.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from contenders import Contender, Streams, Taskslot
from harness.server import Installed, Server, wait_until
from harness.talk import packed
from harness.waiting import Floor
from pipe import PING, Pipe, decode
from rounds import cpu_ns, payloads

# The time after an operation in which what it put off still counts.
AFTER_S = 0.5
# The pause between two PINGs, and the time that one may take.
BETWEEN_S = 0.0005
LONG_S = 600
FILL_BATCH, FILL_WRITE = 100, 10_000
# The most tasks of one command.
BATCH = 1000
# The connections that stay when workers leave: the one that asks, and the one that sends PINGs.
OTHERS = 2
# The queues that a worker of several queues waits for.
QUEUES = 100


def main_thread_ns(pid: int) -> int:
    """The processor time that the main thread of a process has used."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0])


def ping(server: Server, wait: multiprocessing.Value, work: multiprocessing.Value) -> None:
    """Send PINGs all the time, and note the longest wait and the most work in one, in ns."""
    with suppress(PermissionError):
        # If this process got its turn late, the server's work for others would count.
        os.nice(-10)
    with server.raw() as s:
        s.settimeout(LONG_S)
        while True:
            used, began = main_thread_ns(server.pid), time.monotonic_ns()
            s.sendall(PING)
            try:
                if not s.recv(64):
                    return
            except OSError:
                return
            for longest, took in (
                (wait, time.monotonic_ns() - began),
                (work, main_thread_ns(server.pid) - used),
            ):
                with longest.get_lock():
                    longest.value = max(longest.value, took)
            time.sleep(BETWEEN_S)


@dataclass
class Pause:
    """The longest pause for a client that sends PINGs, in ms."""

    wait_ms: float = 0.0
    work_ms: float = 0.0


@contextmanager
def pinging(server: Server) -> Iterator[Pause]:
    """Send PINGs during the block. The result is filled in at its end."""
    wait, work = multiprocessing.Value("q", 0), multiprocessing.Value("q", 0)
    pinger = multiprocessing.Process(target=ping, args=(server, wait, work), daemon=True)
    pinger.start()
    pause = Pause()
    try:
        # The process has started once it has measured something. What it measured until then doesn't count.
        wait_until(lambda: wait.value, "PINGs are sent", 60)
        for longest in (wait, work):
            with longest.get_lock():
                longest.value = 0
        yield pause
    finally:
        time.sleep(2 * BETWEEN_S)
        pause.wait_ms, pause.work_ms = wait.value / 1e6, work.value / 1e6
        pinger.terminate()
        pinger.join()


@dataclass
class Operation:
    """What one operation cost. `cpu_us` is for each of its tasks, and includes what was put off for half a second."""

    what: str
    count: int
    contender: str
    took_s: float
    cpu_us: float
    # None for the load, because no client is served meanwhile.
    pause: Pause | None


def operation(
    server: Server, what: str, count: int, act: Callable[[], object], contender: str = "taskslot"
) -> Operation:
    """Run an operation while PINGs are sent. `count` is the number of tasks, workers or groups."""
    with pinging(server) as pause:
        cpu, began = cpu_ns(server.pid), time.monotonic()
        act()
        took_s = time.monotonic() - began
        time.sleep(AFTER_S)
        cpu_us = (cpu_ns(server.pid) - cpu) / count / 1000
    return Operation(what, count, contender, took_s, cpu_us, pause)


def fill(
    server: Server, contender: Contender, key: bytes, tasks: int, payload_bytes: int, every: int = 0
) -> list[bytes]:
    """Push tasks, ten thousand in each write with the same payloads. Returns the id of each task number `every`."""
    pipe = Pipe(server.socket, FILL_WRITE)
    ids: list[bytes] = []
    for count, writes in ((FILL_WRITE, tasks // FILL_WRITE), (tasks % FILL_WRITE, 1)):
        calls = contender.pushes(key, payloads(count, payload_bytes), FILL_BATCH)
        write = pipe.prepared(calls)
        for _ in range(writes):
            answer = pipe.send(write)
            if every:
                ids += [id for reply in decode(answer) for id in reply][::every]
    pipe.close()
    return ids


# ---- due at once


def due_at_once(installed: Installed, sizes: list[int]) -> Iterator[Operation]:
    """Many leases that end, and many delays, in one millisecond."""
    for kind in ("leases end", "delays end"):
        for tasks in sizes:
            server = Server(installed)
            boss = Floor(server).boss
            # Enough time to push and to claim all tasks before.
            due = int(time.time() * 1000) + 1500 + tasks // 20
            size = min(BATCH, tasks)
            if kind == "leases end":
                fill(server, Taskslot(), b"q", tasks, 100)
                for _ in range(0, tasks, size):
                    left = due - int(time.time() * 1000)
                    boss("TASK.CLAIM", "q", "COUNT", size, "LEASE", max(1, left))
            else:
                words = ["TASK.MPUSH", "q", "AT", due, "TASKS", size, *["x" * 100] * size]
                for _ in range(0, tasks, size):
                    boss(*words)
            if time.time() * 1000 > due:
                raise SystemExit(f"this machine is too slow for {tasks} tasks that are due at once")

            def all_are_ready(due: int = due, tasks: int = tasks, boss=boss) -> None:
                time.sleep(max(0, due / 1000 - time.time()))
                wait_until(lambda: boss("TASK.LEN", "q", "ready") == tasks, "all are ready", LONG_S)

            yield operation(server, f"{kind} in one ms", tasks, all_are_ready)
            server.check()
            server.discard()


# ---- waiting workers


def line(floor: Floor, claim: bytes, count: int) -> list[socket.socket]:
    """Workers that wait, on a connection each. Without a claim they are only connected."""
    workers = []
    before = floor.info("clients", "connected_clients")
    for at in range(1, count + 1):
        workers.append(floor.server.raw())
        workers[-1].sendall(claim)
        # Not all at once, because the number of connections that wait to be accepted is limited.
        if at % 100 == 0 or at == count:
            here = partial(floor.info, "clients", "blocked_clients" if claim else "connected_clients")
            expected = at if claim else before + at
            floor.eventually(lambda here=here, expected=expected: here() == expected, "all are here", LONG_S)
    return workers


def serve(floor: Floor, workers: list[socket.socket], *options: object) -> None:
    """Push a task for each worker, and wait until it has a reply."""
    for start in range(0, len(workers), BATCH):
        count = min(BATCH, len(workers) - start)
        floor.boss.send(["TASK.MPUSH", "q0", *options, "TASKS", count, *["x"] * count])
        floor.boss.read()
    for worker in workers:
        if not worker.recv(4096):
            raise RuntimeError("the server closed a worker's connection")


def leave(floor: Floor, workers: list[socket.socket]) -> None:
    """Close all connections, and wait until the server has noticed."""
    for worker in workers:
        if worker.fileno() >= 0:
            # The process that sends PINGs has a copy of each socket, so `close` alone doesn't end the connection.
            worker.shutdown(socket.SHUT_RDWR)
            worker.close()
    floor.eventually(lambda: floor.info("clients", "connected_clients") <= OTHERS, "all are gone", LONG_S)


def waiting_workers(installed: Installed, sizes: list[int]) -> Iterator[Operation]:
    """Many workers that are served at once, or disconnect at once."""
    queues = [f"q{number}" for number in range(QUEUES)]
    claims = {
        "one queue": packed(["TASK.CLAIM", "q0", "NOACK", "BLOCK", 0]),
        f"{QUEUES} queues": packed(
            ["TASK.MCLAIM", "q0", "KEYS", QUEUES - 1, *queues[1:], "NOACK", "BLOCK", 0]
        ),
    }
    ends = {
        "are served by pushes": serve,
        "are served when tasks are due": partial(serve_later, ms=500),
        "disconnect": leave,
    }
    for of, claim in claims.items():
        for count in sizes:
            server = Server(installed, maxclients=count + 1000)
            floor = Floor(server)
            for what, end in ends.items():
                workers = line(floor, claim, count)
                act = partial(end, floor, workers)
                yield operation(server, f"workers that wait for {of} {what}", count, act)
                leave(floor, workers)
            server.check()
            server.discard()
    for count in sizes:
        server = Server(installed, module=None, maxclients=count + 1000)
        floor = Floor(server)
        act = partial(leave, floor, line(floor, b"", count))
        yield operation(server, "idle connections disconnect", count, act, "no module")
        server.discard()


def serve_later(floor: Floor, workers: list[socket.socket], ms: int) -> None:
    """Push a task for each worker, all of which become due in the same millisecond."""
    serve(floor, workers, "AT", int(time.time() * 1000) + ms)


# ---- groups


def settings_of_groups(installed: Installed, sizes: list[int]) -> Iterator[Operation]:
    """A setting for all groups, with one task in each."""
    for groups in sizes:
        server = Server(installed)
        boss = Floor(server).boss
        for start in range(0, groups, 10_000):
            names = range(start, min(groups, start + 10_000))
            boss.many([["TASK.PUSH", "q", "x", "GROUP", f"tenant:{number}"] for number in names])
        for words in (("group-concurrency", 0), ("group-concurrency", -1), ("group-rate", 5)):
            change = ["TASK.CONFIG", "q", "SET", *words]
            yield operation(
                server, f"{words[0]} {words[1]}", groups, lambda change=change, boss=boss: boss(*change)
            )
        server.check()
        server.discard()


# ---- a large queue as a whole


def as_a_whole(installed: Installed, sizes: list[int]) -> Iterator[Operation]:
    """Save, load, full resync, COPY and UNLINK of one queue, and of a stream with the same data."""
    for tasks in sizes:
        for contender in (Taskslot(), Streams()):
            options = {} if contender.needs_module else {"module": None}
            server = Server(installed, port=True, repl_timeout=LONG_S, **options)
            pipe = Pipe(server.socket, 1)
            contender.prepare(pipe, b"q")
            pipe.close()
            fill(server, contender, b"q", tasks, 100)
            steps = {
                "BGSAVE": (save, server),
                "full resync of a replica": (resync, server, options),
                "COPY": (call, server, "COPY", "q", "copy"),
                "UNLINK": (unlink, server),
            }
            for what, (act, *given) in steps.items():
                act_now = partial(act, *given)
                yield operation(server, f"{what}, 100 B a task", tasks, act_now, contender.name)
            yield load(server, tasks, contender.name)
            server.check()
            server.discard()


def call(server: Server, *words: str) -> None:
    """One command that takes long."""
    with server.client(socket_timeout=LONG_S) as client:
        client.execute_command(*words)


def until(server: Server, section: str, field: str, value: object) -> None:
    """Wait until a field of INFO has this value."""
    with server.client(socket_timeout=LONG_S) as client:
        wait_until(lambda: client.info(section)[field] == value, f"{field} is {value}", LONG_S)


def save(server: Server) -> None:
    """Save in the background."""
    call(server, "BGSAVE")
    until(server, "persistence", "rdb_bgsave_in_progress", 0)


def resync(server: Server, options: dict) -> None:
    """Connect a new replica, until it has all data."""
    replica = Server(server.installed, port=True, **options)
    call(replica, "REPLICAOF", "127.0.0.1", str(server.port))
    until(replica, "replication", "master_link_status", "up")
    replica.discard()


def unlink(server: Server) -> None:
    """Delete the queue, until its memory is free."""
    call(server, "UNLINK", "q")
    until(server, "memory", "lazyfree_pending_objects", 0)


def load(server: Server, tasks: int, contender: str) -> Operation:
    """Start the server again, with the data that it saved."""
    server.stop()
    server.start()
    [took_s] = re.findall(r"DB loaded from disk: ([0-9.]+) seconds", server.log())[-1:]
    cpu_us = cpu_ns(server.pid) / tasks / 1000
    return Operation("load, 100 B a task", tasks, contender, float(took_s), cpu_us, None)
