"""A task that no worker runs, for tests of functions that ask for `taskslot.current()`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from .._sync.base_queue import BaseQueue
from ..commands import Payload
from ..replies import BatchCounts, Meta, Task
from ..worker.context import CURRENT, TaskContext, progress_bytes
from .memory import encoded


class FakeContext(TaskContext):
    """What `current` of this package gives: what the test set, and what the function did with it.

    - `reported`: each progress that the function has reported, as bytes.
    - `waits_s`: for how long it wanted to wait. `wait` returns at once.
    - `step`: what it gave to `then`, with `payload` and `options`; None if nothing.
    """

    def __init__(
        self, task: Task, meta: Meta, queue: BaseQueue | None, batch: Any, results: Sequence[Any]
    ) -> None:
        super().__init__(task, lambda: None, meta=meta)
        self.reported: list[bytes] = []
        self.waits_s: list[float] = []
        self._queue = queue
        self._batch = batch
        self._results = list(results)

    @property
    def queue(self) -> BaseQueue:
        """The queue that the test gave. Raises RuntimeError if it gave none."""
        if self._queue is None:
            raise RuntimeError("this task has no queue: give it one, current(queue=…)")
        return self._queue

    @property
    def batch(self) -> Any:
        """The batch that the test gave; None if it gave none."""
        return self._batch

    def progress(self, said: Payload) -> None:
        """Note a progress in `reported`. Raises ValueError if it is too long."""
        self.reported.append(progress_bytes(said))

    def wait(self, seconds: float) -> bool:
        """Note the time in `waits_s`. Returns at once, with whether the function should stop."""
        self.waits_s.append(seconds)
        return self._should_stop

    def results(self, *, return_exceptions: bool = False) -> list[Any]:
        """The results that the test gave. Of exceptions among them, the first is raised, as in a worker."""
        first = next((one for one in self._results if isinstance(one, Exception)), None)
        if first is not None and not return_exceptions:
            raise first
        return list(self._results)


@contextmanager
def current(
    *,
    payload: Payload = b"",
    deliveries: int = 1,
    failures: int | None = None,
    last_progress: Payload | None = None,
    headers: Mapping[str, Payload] | None = None,
    group: str = "",
    priority: int = 0,
    results: Sequence[Any] = (),
    counts: BatchCounts | None = None,
    queue: BaseQueue | None = None,
    batch: Any = None,
    cancelled: bool = False,
    lease_lost: bool = False,
    timed_out: bool = False,
) -> Iterator[FakeContext]:
    """Let `taskslot.current()` return a task in this block: `with current(deliveries=2) as task:`.

    - `deliveries`: how often the task was claimed; 2 is the second attempt.
    - `failures`: how many attempts failed before, by default all of them.
    - `last_progress`, `headers`, `group`, `priority`, `payload`: what the context says.
    - `results`: what `current().results()` returns. An exception is in the place of a result that is not there.
    - `counts`: how the tasks of a batch ended whose callback this is.
    - `queue`, `batch`: objects that the context gives out, such as those of a test server, or some of your own.
    - `cancelled`, `lease_lost`, `timed_out`: the function should stop: `check` raises, `wait` returns True. In the
      middle of a function, `task.ask_to_stop(cancelled=True)` has the same effect.
    """
    now = round(time.time() * 1000)
    meta = Meta(
        lease=1,
        priority=priority,
        enqueued=now,
        deadline=now + 60_000,
        failures=deliveries - 1 if failures is None else failures,
        stalls=0,
        progress=None if last_progress is None else encoded(last_progress),
        group=group,
        headers={name: encoded(value) for name, value in (headers or {}).items()},
        after=tuple(f"{now}-{n}" for n in range(len(results))),
        callback_of=None if counts is None else "batch",
        **({} if counts is None else {f"batch_{name}": of for name, of in counts._asdict().items()}),
    )
    task = Task("test", f"{now}-0@{now}000-1", encoded(payload), deliveries, meta)
    context = FakeContext(task, meta, queue, batch, results)
    if cancelled or lease_lost or timed_out:
        context.ask_to_stop(cancelled=cancelled, lease_lost=lease_lost, timed_out=timed_out)
    before = CURRENT.set(context)
    try:
        yield context
    finally:
        CURRENT.reset(before)
