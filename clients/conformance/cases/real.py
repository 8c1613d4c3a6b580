"""Against a real server: what a worker does is what counts there, also after a kill."""

from __future__ import annotations

import asyncio

from ..case import case
from ..model import call
from ..real_stage import RealStage

MANY = 60
HANGS_MS = 1500


@case("real-results", places=2, needs_server=True)
async def real_results(stage: RealStage) -> None:
    """Values, errors and unreadable payloads reach the server as they should."""
    await stage.start_worker()
    await stage.ask("TASK.CONFIG", stage.key, "SET", "attempts", 2, "backoff-base", 20)
    echoed, greeted = (
        await stage.push(call("echo", ["ü"])),
        await stage.push(call("greet", "Bob", greeting="hi")),
    )
    failed, unread = await stage.push(call("fail", "no route")), await stage.push(b"no call")
    stage.check(await stage.done(echoed) == ["ü"], "the value as the result")
    stage.check(await stage.done(greeted) == "hi Bob", "the named argument to arrive")
    state, error = await stage.result(failed)
    first = (error or b"").decode().partition("\n")[0]
    stage.check(
        state == "dead" and first.endswith(": no route"), f'dead with "Type: no route", not {state} {first!r}'
    )
    stage.check((await stage.view(failed))["failures"] == 2, "two attempts, which the server counts")
    state, _ = await stage.result(unread)
    stage.check(
        state == "dead" and (await stage.view(unread))["failures"] <= 1, "an unreadable task dead at once"
    )


@case("real-kill", lease_ms=900, needs_server=True)
async def real_kill(stage: RealStage) -> None:
    """A task whose worker is killed (SIGKILL) is delivered again when its lease ends, and another worker ends it."""
    task = await stage.push(call("sleep", 1500))
    first = await stage.start_worker()
    await stage.leased(task)
    await first.kill()
    await stage.start_worker()
    await stage.leased(task, deliveries=2)
    stage.check(await stage.done(task) == 1500, "the result of the second worker")
    view = await stage.view(task)
    stage.check(
        (view["deliveries"], view["stalls"], view["failures"]) == (2, 1, 0),
        "2 deliveries, 1 stall, 0 failures",
    )


@case("real-long-task", lease_ms=900, needs_server=True)
async def real_long_task(stage: RealStage) -> None:
    """A task that takes longer than its lease runs once, beside a second worker."""
    await stage.start_worker()
    await stage.start_worker()
    task = await stage.push(call("sleep", 3000))
    stage.check(await stage.done(task) == 3000, "the result")
    stage.check((await stage.view(task))["deliveries"] == 1, "one delivery")


@case("real-cancel", lease_ms=900, needs_server=True)
async def real_cancel(stage: RealStage) -> None:
    """TASK.CANCEL of a running task ends it with the next heartbeat, and the worker goes on."""
    await stage.start_worker()
    task = await stage.push(call("sleep", 60_000))
    await stage.leased(task)
    await stage.ask("TASK.CANCEL", stage.key, task)
    after = await stage.push(call("echo", 1))
    stage.check(await stage.done(after) == 1, "the place of the cancelled task to be free")
    stage.check(not await stage.view(task), "the cancelled task to be gone")


@case("real-stop", grace_ms=500, needs_server=True)
async def real_stop(stage: RealStage) -> None:
    """A task that outlasts the stop's grace is ready again at once, and nothing counts against it."""
    worker = await stage.start_worker()
    task = await stage.push(call("sleep", 60_000))
    await stage.leased(task)
    worker.terminate()
    await stage.ended(worker)
    view = await stage.view(task)
    stage.check(view["state"] == b"ready", f"the task to be ready, not {view['state'].decode()}")
    stage.check((view["failures"], view["stalls"]) == (0, 0), "no failure and no stall")


@case("real-broken-connections", places=4, lease_ms=2000, needs_server=True, alone=True)
async def real_broken_connections(stage: RealStage) -> None:
    """All connections break again and again while tasks run: each task is delivered once, and done."""
    await stage.start_worker()
    tasks = [await stage.push(call("sleep", 5 * (n % 9))) for n in range(MANY)]
    for task in tasks[:: MANY // 6]:
        await stage.done(task)
        await stage.break_connections()
    for task in tasks:
        await stage.done(task)
    views = [await stage.view(task) for task in tasks]
    most = max(view["deliveries"] for view in views)
    stage.check(
        most == 1, f"one delivery of each task, because claims are sent again with their token, not {most}"
    )


@case("real-hang", places=2, lease_ms=5000, needs_server=True, alone=True)
async def real_hang(stage: RealStage) -> None:
    """The server hangs for a while (CLIENT PAUSE): nothing is lost, and nothing runs twice."""
    await stage.start_worker()
    task = await stage.push(call("sleep", 300))
    await stage.leased(task)
    await stage.ask("CLIENT", "PAUSE", HANGS_MS, "ALL")
    await asyncio.sleep(HANGS_MS / 1000)
    after = await stage.push(call("count", "hang"))
    stage.check(await stage.done(after) == 1, "the next task to run once")
    stage.check(await stage.done(task) == 300, "the result of the task that was running")
    stage.check((await stage.view(task))["deliveries"] == 1, "one delivery")
