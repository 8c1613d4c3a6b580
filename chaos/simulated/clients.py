"""Producers, workers and others that use the simulated queue."""

from __future__ import annotations

import random
from typing import Any

from chaos.simulated.world import Client, Request, World

PRODUCERS, WORKERS = 4, 7


def cast(world: World) -> dict[str, Client]:
    """The clients of a run."""
    clients: dict[str, Client] = {f"p/{n}": _producer(world) for n in range(PRODUCERS)}
    clients |= {f"w/{n}": _worker(world, f"w/{n}", tied=n < 2) for n in range(WORKERS)}
    clients["b/0"] = _batches(world)
    clients["r/0"] = _asker(world)
    return clients


def _options(world: World) -> dict[str, Any]:
    """What one push asks."""
    rng = world.rng
    options: dict[str, Any] = {"uids": [f"u{next(world.uids)}"]}
    if rng.random() < 0.15:
        options["delay_ms"] = rng.randint(100, 900)
    elif rng.random() < 0.1:
        options["ttl_ms"] = rng.randint(200, 1500)
    elif rng.random() < 0.15 and world.known:
        options["after"] = rng.sample(world.known[-6:], min(2, len(world.known)))
    if rng.random() < 0.3:
        options["priority"] = rng.randint(1, 3)
    if rng.random() < 0.2:
        options["group"] = "narrow"
    if rng.random() < 0.15:
        options["unique"] = f"token-{rng.randint(1, 4)}"
    elif rng.random() < 0.5:
        options["request"] = f"{rng.getrandbits(64):x}"
    if rng.random() < 0.4:
        options["retain_ms"] = 30_000
    options["lease_ms"] = rng.choice([300, 400, 600])
    return options


def _producer(world: World) -> Client:
    rng = world.rng
    while not world.ended:
        burst = 1 if rng.random() < 0.8 else 4
        for _ in range(burst):
            yield from _push(world, _options(world))
        busy = int(world.now / 2) % 2 == 0
        yield rng.expovariate(1 / ((0.1 if busy else 0.4) * burst))


def _push(world: World, options: dict[str, Any]) -> Client:
    """Push, and send it again with its token if no reply came."""
    for _ in range(4):
        call = yield Request("push", options)
        if call.ok and call.answer.get("new", True):
            world.known.append(call.answer["ids"][0])
            if world.rng.random() < 0.04:
                yield Request("cancel", {"ids": call.answer["ids"]})
        if call.outcome != "unknown" or "request" not in options:
            return
        yield 0.05


def _batches(world: World) -> Client:
    number = 0
    while not world.ended:
        number += 1
        name = f"batch-{world.scene.seed}-{number}"
        call = yield Request(
            "batch", {"what": "open", "name": name, "uids": [f"callback-{name}"], "lease_ms": 400}
        )
        if call.ok:
            for _ in range(world.rng.randint(2, 4)):
                options = {"uids": [f"u{next(world.uids)}"], "batch": name, "lease_ms": 400}
                yield from _push(world, options | {"request": f"{world.rng.getrandbits(64):x}"})
            for _ in range(5):
                call = yield Request("batch", {"what": "close", "name": name})
                if call.outcome != "unknown":
                    break
        yield world.rng.random() * 0.6


def _asker(world: World) -> Client:
    while not world.ended:
        if world.known:
            yield Request("result", {"id": world.rng.choice(world.known[-40:])})
        yield 0.02


def _claim(rng: random.Random, tied: bool) -> dict[str, Any]:
    asked: dict[str, Any] = {"count": rng.choice([1, 1, 2])}
    if rng.random() < 0.8:
        asked["block_ms"] = 2500 if tied else rng.randint(200, 2500)
    if tied:
        asked |= {"tied": True, "lease_ms": 4000, "count": 1}
    elif rng.random() < 0.3:
        asked["request"] = f"{rng.getrandbits(64):x}"
    return asked


def _worker(world: World, name: str, tied: bool) -> Client:
    """Claim, work, answer; sometimes badly. A worker with tied leases drops its connection at times."""
    rng = world.rng
    connection = 0
    while True:
        asked = _claim(rng, tied)
        call = yield Request("claim", asked)
        if call.outcome == "unknown" and "request" in asked:
            call = yield Request("claim", asked)
        connection = call.connection + (call.outcome == "unknown")
        tasks = call.answer.get("tasks", [])
        if tied and tasks and not world.ended and rng.random() < 0.5:
            world.close(name, connection)
            yield 1.0
            continue
        for claimed in tasks:
            yield from _work(world, claimed["handle"])
        if not tasks:
            yield 0.05


def _work(world: World, handle: str) -> Client:
    """Work on a task and say how it went."""
    rng = world.rng
    kind = rng.random()
    yield rng.expovariate(1 / 0.04)
    if world.ended or kind < 0.52:
        yield from _ack(world, handle)
    elif kind < 0.68:
        asked: dict[str, Any] = {"handles": [handle]}
        if rng.random() < 0.5:
            asked["delay_ms"] = rng.randint(100, 600)
        yield Request("fail", asked | ({"dead": True} if rng.random() < 0.1 else {}))
    elif kind < 0.75:
        delay = {"delay_ms": rng.randint(50, 300)} if rng.random() < 0.4 else {}
        yield Request("requeue", {"handles": [handle]} | delay)
    elif kind < 0.82:
        for _ in range(rng.randint(1, 4)):
            yield Request("extend", {"handles": [handle]})
            yield 0.15
        yield from _ack(world, handle)
    elif kind < 0.95:
        yield 0.4 + rng.random()  # too late, perhaps
        late = rng.choice(["ack", "fail", "extend"])
        yield Request(late, {"handles": [handle]} | ({"result": f"late {handle}"} if late == "ack" else {}))
    # else: it forgets to answer


def _ack(world: World, handle: str) -> Client:
    asked = {"handles": [handle], "result": f"of {handle}"}
    call = yield Request("ack", asked)
    if call.outcome == "unknown" and world.rng.random() < 0.7:
        yield Request("ack", asked)
