"""Flows, batches and next steps of an app's functions."""

import asyncio

import pytest
import taskslot
from harness.server import wait_until
from harness.worker_thread import WorkerThread
from taskslot import App, chain, current, group


@pytest.fixture(params=["one key", "shards"])
def app(request, client):
    """An app with some functions, whose queues are in one key or in shards."""
    with App(client, shards=4 if request.param == "shards" else None) as app:

        @app.task(name="fetch", attempts=2)
        def fetch(album):
            return [f"{album}/{n}" for n in range(3)]

        @app.task(name="resize", attempts=1, priority=3)
        def resize(picture):
            if "broken" in picture:
                raise ValueError(picture)
            return len(picture)

        @app.task(name="total")
        def total():
            counts = current().counts
            return counts.done if counts else sum(current().results())

        @app.task(name="both")
        def both(picture):
            current().then(app.tasks["resize"].step(picture))

        @app.task(name="elsewhere", queue="elsewhere")
        def elsewhere():
            pass

        @app.task(name="digest", unique="digest")
        def digest():
            pass

        yield app


def test_a_flow_of_steps_has_the_options_of_its_functions_and_results(app):
    """The tasks come in the shape of the flow, each with its result."""
    fetch, resize, total = (app.tasks[name] for name in ("fetch", "resize", "total"))
    flow = chain(fetch.step("a7"), group(resize.step(one) for one in "ab"), total.options(priority=5).step())
    fetched, resized, last = app.push_flow(flow)
    views = [app.queue().get(one) for one in (fetched, resized[1], last)]
    assert [(one.attempts, one.priority) for one in views] == [(2, 0), (1, 3), (None, 5)]
    with WorkerThread(app.worker(["default"])):
        assert last.result(timeout_ms=20_000) == 2
        assert (fetched.result(), resized[0].result()) == (["a7/0", "a7/1", "a7/2"], 1)


def test_a_batch_of_steps_counts_them(app):
    """With `with`, and with `async with`."""
    resize, total = app.tasks["resize"], app.tasks["total"]

    async def produce():
        async with app, app.batch("two", total.step()) as batch:
            await batch.apush(resize.step("c"))
            await batch.apush_flow(chain(resize.step("d"), resize.step("e")))
        return batch.callback

    with app.batch("one", total.step()) as batch:
        good, bad = batch.push_many(resize.step(one) for one in ("good", "broken"))
    second = asyncio.run(produce())
    with WorkerThread(app.worker(["default"])):
        assert batch.callback.result(timeout_ms=20_000) == 1
        assert total.pushed(second).result(timeout_ms=20_000) == 3
        assert good.result() == 4
        with pytest.raises(taskslot.TaskDead, match="ValueError: broken"):
            bad.result()


def test_the_next_step_has_the_options_of_its_function(app):
    """It goes into the queue of its task."""

    def done():
        return app.queue().tasks("done", payloads=True, match='*"resize"*')

    with WorkerThread(app.worker(["default"])):
        app.tasks["both"].push("abc").result(timeout_ms=20_000)
        wait_until(lambda: next(done(), None), "the next step is done")
        (next_,) = done()
        assert (next_.attempts, next_.priority) == (1, 3)


def test_what_cannot_be_in_one_flow_is_refused_and_nothing_is_pushed(app):
    """Another queue, a unique task, a payload of no function."""
    fetch, elsewhere, digest = (app.tasks[name] for name in ("fetch", "elsewhere", "digest"))
    with pytest.raises(ValueError, match="in one queue"):
        app.push_flow(chain(fetch.step("a"), elsewhere.step()))
    with pytest.raises(ValueError, match="unique"):
        app.push_flow(chain(fetch.step("a"), digest.step()))
    with pytest.raises(TypeError, match="write resize.step"):
        app.push_flow(chain(fetch.call("a"), fetch.call("b")))
    with pytest.raises(ValueError, match="in one queue"), app.batch("b", fetch.step("a")) as batch:
        batch.push(elsewhere.step())
    assert app.queue().len() == 0

    @app.task(attempts=1)
    def wrong():
        current().then(elsewhere.step())

    with (
        WorkerThread(app.worker(["default"])),
        pytest.raises(taskslot.TaskDead, match="goes into its own queue"),
    ):
        wrong.push().result(timeout_ms=20_000)
