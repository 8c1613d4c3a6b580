"""Fills queues of RQ, BullMQ and Celery with jobs of each kind, by the systems themselves."""

from __future__ import annotations

import json
import subprocess
from datetime import timedelta

import redis

from harness.recipes import need, node_modules
from harness.server import ROOT

ADD = """
import { readFileSync } from "node:fs";
import { FlowProducer, Queue } from "bullmq";

const connection = { port: Number(process.argv[1]), host: "127.0.0.1" };
const steps = JSON.parse(readFileSync(0, "utf8"));
const queue = new Queue("mail", { connection });
const flows = new FlowProducer({ connection });
for (const [what, ...words] of steps) {
  if (what === "flow") await flows.add(...words);
  else await queue[what](...words);
}
await queue.close();
await flows.close();
"""


def bullmq(port: int, steps: list[list]) -> None:
    """Call methods of BullMQ's queue `mail`, such as `["add", "welcome", {"to": "bob"}]`; skip the test without npm."""
    # BullMQ in the version that the benchmark pins. The program finds packages from its working folder.
    folder = node_modules(ROOT / "bench/frameworks").parent
    done = subprocess.run(
        [need("node"), "--input-type=module", "--eval", ADD, str(port)],
        cwd=folder,
        input=json.dumps(steps),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def some_rq_jobs(port: int) -> list[str]:
    """Five jobs in RQ's queue `mail`, two of them for later, and one that can't be moved. Returns the payloads."""
    import rq

    with redis.Redis(port=port) as client:
        queue = rq.Queue("mail", connection=client)
        for number in range(3):
            queue.enqueue("shop.send", number)
        queue.enqueue("shop.send", {1, 2})
        for number in (3, 4):
            queue.enqueue_in(timedelta(hours=1 + number), "shop.send", number)
    return [f'{{"task":"shop.send","args":[{number}],"kwargs":{{}}}}' for number in range(5)]


def some_bullmq_jobs(port: int) -> list[str]:
    """Six jobs in BullMQ's queue `mail`: waiting, prioritized, delayed, and one that can't be moved."""
    steps: list[list] = [["add", "send", number] for number in range(3)]
    steps += [["add", "send", 3, {"priority": 2}], ["add", "send", 4, {"delay": 3_600_000}]]
    bullmq(port, [*steps, ["upsertJobScheduler", "nightly", {"pattern": "30 2 * * *"}]])
    return [f'{{"task":"send","args":[{number}]}}' for number in range(5)]


def some_celery_tasks(port: int) -> list[str]:
    """Five tasks in Celery's queue `mail`: plain, with a priority, with an ETA, and one that can't be moved."""
    app = celery_app(port)
    for number in range(3):
        app.send_task("shop.send", (number,))
    app.send_task("shop.send", (3,), priority=6)
    app.send_task("shop.send", (4,), countdown=3600)
    app.send_task("shop.send", (5,), serializer="pickle")
    app.close()
    return [f'{{"task":"shop.send","args":[{number}],"kwargs":{{}}}}' for number in range(5)]


def celery_app(port: int):
    """An app of Celery whose queue is `mail`."""
    from celery import Celery

    app = Celery("shop", broker=f"redis://127.0.0.1:{port}/0", set_as_current=False)
    app.conf.update(task_default_queue="mail", task_ignore_result=True)
    return app
