"""The base class of middleware: code that runs around all tasks of a worker, and at each push of an app."""

from __future__ import annotations

from collections.abc import MutableMapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from .commands import Payload

if TYPE_CHECKING:
    from .worker.context import TaskContext


class Middleware:
    """Hooks that a worker and an app call. Derive from it, and define those that you need.

        class Timing(taskslot.Middleware):
            @contextmanager
            def around(self, context):
                begun = time.monotonic()
                try:
                    yield
                finally:
                    observe(context.name, time.monotonic() - begun)

        worker = taskslot.Worker(queue, middleware=[Timing()])
        app = taskslot.App(client, middleware=[Timing()])

    The hooks are called in the order of the list, `after` and the ends of `around` in the opposite order. A hook that
    raises an exception is logged, and changes nothing: the task goes on. Only `Fail` and `GiveBack` take effect: raised
    in `before`, or in `around` before its `yield`, they are the outcome of the attempt, and the function does not run;
    raised in `on_push`, nothing is pushed, and the push raises them.
    """

    def on_push(self, task: str, headers: MutableMapping[str, Payload]) -> None:
        """An app pushes a task of this name. `headers` are the task's; what is put into them is sent along.

        `push_many` calls it once: its tasks have the same headers. Tasks of schedules are pushed by the server, without
        it. Raise `Fail` or `GiveBack` to refuse the push.
        """

    def around(self, context: TaskContext) -> AbstractContextManager[Any]:
        """A context manager in which the function runs, in its thread and its context variables.

        For an async function, this is on the event loop, so it must not block. The block ends with the function's
        exception, if it raises one, and can't stop that: the attempt has failed, even if the block swallows it. Raise
        `Fail` or `GiveBack` before the `yield` to refuse the task.
        """
        return nullcontext()

    def before(self, context: TaskContext) -> None:
        """The function is about to run, in the same place as `around`."""

    def after(self, context: TaskContext, error: BaseException | None) -> None:
        """The function has returned (None) or raised this, in the same place as `around`."""

    def on_retry(self, context: TaskContext, error: BaseException, delay_ms: int) -> None:
        """The attempt failed, the server knows it, and the task is tried again after `delay_ms`.

        This and `on_dead` are called after the ends of `around`, on a thread of the worker.
        """

    def on_dead(self, context: TaskContext, error: BaseException) -> None:
        """The attempt failed, and the task is dead."""

    def on_worker_start(self, worker: Any) -> None:
        """A worker begins a run. It claims its first task after this."""

    def on_worker_stop(self, worker: Any) -> None:
        """A worker has ended its run, and reported all outcomes that it could."""
