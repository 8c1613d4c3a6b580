"""Schedules of an app: what the code says is on the server after a deploy."""

import json
import logging
import re

import pytest
import redis
from harness.server import wait_until
from harness.worker_thread import WorkerThread
from taskslot import App, DeployFailed, Refused
from taskslot.app.schedules import check_cron


def names(queue):
    """The names of a queue's schedules."""
    return [one.name for one in queue.schedules()]


def test_a_deploy_adds_changes_removes_and_leaves_alone(client):
    """What is not the app's stays. Equal schedules keep their next time and their counts."""
    app = App(client, name="app")

    @app.cron("30 2 * * *", tz="Europe/Berlin", name="nightly")
    @app.every("10s")
    @app.task(queue="reports", name="report", attempts=3, priority=1, unique=lambda day: f"report:{day}")
    def report(day="today"):
        pass

    @app.every(60_000, catchup="none")
    def sweep():
        pass

    reports, default = app.queue("reports"), app.queue()
    reports.schedule("other:x", b"by hand", every_ms=1000)
    reports.schedule("app:gone", b"from before", every_ms=1000)
    done = app.deploy()
    assert (done.added, done.changed, done.unchanged) == (
        ["app:report", "app:nightly", f"app:{sweep.name}"], [], [],
    )  # fmt: skip
    assert done.removed == ["app:gone"]
    assert (names(reports), names(default)) == (
        ["app:nightly", "app:report", "other:x"],
        [f"app:{sweep.name}"],
    )
    nightly = reports.schedules()[0]
    assert (nightly.cron, nightly.tz, nightly.attempts, nightly.priority) == (
        "30 2 * * *",
        "Europe/Berlin",
        3,
        1,
    )
    assert (nightly.unique, json.loads(nightly.payload)["task"]) == ("report:today", "report")

    again = app.deploy()
    assert (again.added, again.changed, again.removed, len(again.unchanged)) == ([], [], [], 3)
    assert reports.schedules()[0].next == nightly.next

    reports.schedule("app:report", report.call(), every_ms=10_000)  # without the function's options
    assert app.deploy().changed == ["app:report"]

    without = App(client, name="app")
    without.task(queue="reports", name="report")(lambda: None)
    removed = without.deploy(also=["default"]).removed
    assert set(removed) == {"app:nightly", "app:report", f"app:{sweep.name}"}
    assert (names(reports), names(default)) == (["other:x"], [])


def test_a_schedule_runs_the_function(client):
    """The worker deploys at its start, and runs what the schedule pushes; in shards too."""
    app, ran = App(client, name="app", shards=4), []

    @app.every("100ms")
    async def tick():
        ran.append(1)

    with WorkerThread(app.worker()):
        wait_until(lambda: len(ran) > 1, "it has run twice")


def test_a_worker_deploys_when_its_server_is_back(server):
    """It tries again, as it does with claims. With `deploy=False` it does not deploy."""
    app = App(redis.Redis(port=server.port), name="app")

    @app.every(100_000)
    def tick():
        return 1

    with WorkerThread(app.worker(deploy=False)):
        assert tick.push().result(timeout_ms=20_000) == 1
    assert names(app.queue()) == []
    app.queue().wire.patience_ms = 10
    tries, deploy = [], app.deploy
    app.deploy = lambda: tries.append(1) or deploy()
    server.stop()
    with WorkerThread(app.worker()):
        wait_until(lambda: len(tries) > 1, "it has tried again")
        server.start()
        wait_until(lambda: names(app.queue()) == [f"app:{tick.name}"], "it is deployed")


def test_a_schedule_that_cannot_be_set_stops_no_other(client, caplog):
    """The error names it. A worker logs it, and works."""
    app = App(client, name="app")

    @app.cron("0 0 31 2 *", name="never")
    @app.every("10s", name="fails")
    @app.every("20s", name="works")
    @app.task(name="f", unique=lambda: client.get("token").decode())
    def work():
        pass

    app.queue().schedule("app:gone", b"from before", every_ms=1000)
    client.set("token", "t")
    with pytest.raises(DeployFailed, match="^can't be deployed: app:never: Refused: ") as failed:
        app.deploy()
    assert list(failed.value.errors) == ["app:never"] and failed.value.done.removed == ["app:gone"]
    assert names(app.queue()) == ["app:fails", "app:works"]
    app.queue().unschedule("app:works")
    with caplog.at_level(logging.INFO, "taskslot"), WorkerThread(app.worker()):
        wait_until(lambda: "added app:works" in caplog.text, "the others are deployed")
    assert "schedule app:never can't be deployed: Refused: " in caplog.text
    client.delete("token")
    with pytest.raises(DeployFailed, match="app:works: AttributeError.*app:fails.*app:never"):
        app.deploy()


# What is right and what is wrong in the five fields, with the edges of each rule.
EXPRESSIONS = """
* * * * *; */10 0-23/2 L 2,4 SUN; 5,10-20/5 0 1,L jan-Mar 0-7; 0 9 * * MON-SUN; 59 23 31 12 7; * * L-L * *; * * * * 0-0
* * * * 7-0; 60 * * * *; * 24 * * *; * * 0 * *; * * 32 * *; * * * 13 *; * * * 0 *; * * * * 8; 5/10 * * * *
20-10 * * * *; */0 * * * *; */60 * * * *; */5-9 * * * *; a * * * *; 1,,2 * * * *; * * L-5 * *; * * 5-L * *; - * * * *
* * * FEB-JAN *; * * * * FRI-MON; +1 * * * *; 007 * * * *; \u0663 * * * *; 1-2-3 * * * *; 1-5/60 * * * *
"""


def test_a_cron_expression_is_read_as_the_server_reads_it(client):
    """What the server refuses is refused in the code."""
    queue, here, there = App(client).queue(), [], []
    for expression in re.split("[;\n] *", EXPRESSIONS.strip()):
        try:
            check_cron(expression)
            here.append(expression)
        except ValueError as refusal:
            assert "is no " in str(refusal)
        try:
            queue.schedule("s", b"p", cron=expression)
            there.append(expression)
        except Refused:
            pass
    assert here == there and len(here) == 8


def test_an_app_without_a_name_has_no_schedules(client):
    """Two such apps on one queue would remove each other's schedules at each start of a worker."""
    first, second = App(client, name="first"), App(client)
    first.every("1h")(first.task(name="nightly")(lambda: None))
    first.deploy()
    work = second.task(name="work")(lambda: 1)
    for needs in (lambda: second.every("1h"), lambda: second.cron("0 7 * * *"), second.deploy):
        with pytest.raises(ValueError, match="needs a name of its own"):
            needs()
    with WorkerThread(second.worker()):
        assert work.push().result(timeout_ms=20_000) == 1
    assert names(first.queue()) == ["first:nightly"]


def test_a_function_that_moves_takes_its_schedule_along(client, caplog):
    """The old queue is one that the app still knows: by a function, by its shards, or because a worker works on it."""

    def version(queue, **options):
        app = App(client, name="app", **options)
        app.every("1h")(app.task(name="nightly", queue=queue)(lambda: None))
        return app

    version("old").deploy()
    by_function = version("new")
    by_function.task(name="other", queue="old")(lambda: None)
    assert by_function.deploy().removed == ["app:nightly"]
    assert "schedule app:nightly of queue old is removed" in caplog.text
    version("old").deploy()
    by_worker = version("new")
    by_worker.worker(["new", "old"])
    assert by_worker.deploy().removed == ["app:nightly"]
    version("sharded", shards={"sharded": 2}).deploy()
    assert version("new", shards={"sharded": 2}).deploy().removed == ["app:nightly"]
    assert names(by_worker.queue("new")) == ["app:nightly"]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda app: app.cron("* * * *"),
        lambda app: app.cron("* 25 * * *"),
        lambda app: app.every("10 minutes"),
        lambda app: app.every(10),
        lambda app: app.every(1.5),
        lambda app: app.every(1000)(lambda needed: None),
        lambda app: [
            app.every(n)(app.tasks.get("f") or app.task(name="f")(lambda: None)) for n in (1000, 2000)
        ],
        lambda app: app.task(name="g")(app.every(1000)(lambda: None)),
        lambda app: App("redis://localhost", name="a:b"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_in_the_code(wrong):
    """Before anything is deployed."""
    with pytest.raises((TypeError, ValueError)):
        wrong(App("redis://127.0.0.1:1", name="app"))
