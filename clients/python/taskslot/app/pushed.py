"""A task that an app has pushed: its id, and its result as the function's annotation says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar

from ..codecs import Codec
from ..errors import NotDone, NotEnded, TaskDead, TaskslotError
from ..replies import Result, TaskId
from ..tracebacks import parted
from ..values import Read, Unreadable
from .connections import Connections

R = TypeVar("R")


class Pushed(TaskId, Generic[R]):
    """The id of a pushed task, as a string, and the way to its result.

        pushed = send.push("bob")
        pushed.result(timeout_ms=5000)          # or: await pushed.aresult(timeout_ms=5000)

    Use it wherever an id is expected. `send.pushed(id)` makes one from an id, in another process too. `is_new` is False
    if another task holds the `unique` token: then this is that task. It can be pickled, as in a session or for another
    process: then only the id is kept, a `TaskId`, because connections can't be. A copy is the same object.
    """

    queue: str
    _how: How

    @classmethod
    def of(cls, made: str, queue: str, how: How) -> Pushed[R]:
        """An id with what is needed to read its result."""
        pushed: Pushed[R] = cls(made)
        pushed.is_new = getattr(made, "is_new", True)
        pushed.queue, pushed._how = queue, how
        return pushed

    def result(self, timeout_ms: int | None = None) -> R:
        """Wait for the end of the task, and return what its function returned.

        `timeout_ms` is how long to wait; 0 only looks; without it there is no limit. The result is there as long as the
        task is kept (`retain_ms`, by default a minute). Raises `TaskDead` with the error and the traceback of a dead
        task, `NotDone` for one that was cancelled, has expired or was purged, `NotEnded` (a TimeoutError) if it has not
        ended in time, and `UnknownTask` if it is not there any more.

        This blocks the thread: in an event loop, use `await pushed.aresult()`.
        """
        queue = self._how.connections.queue(self.queue)
        return self._value(queue.result(str(self), block_ms=block_ms(timeout_ms)), timeout_ms)

    async def aresult(self, timeout_ms: int | None = None) -> R:
        """`result` for asyncio."""
        queue = self._how.connections.aqueue(self.queue)
        return self._value(await queue.result(str(self), block_ms=block_ms(timeout_ms)), timeout_ms)

    def __reduce__(self) -> tuple[Callable[..., TaskId], tuple[str, bool]]:
        return TaskId.found, (str(self), self.is_new)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _: dict[int, Any]) -> Self:
        return self

    def _value(self, ended: Result | None, timeout_ms: int | None) -> R:
        if ended is None:
            within = f" within {timeout_ms} ms" if timeout_ms else ""
            raise NotEnded(f"task {self} has not ended{within}")
        if ended.state == "dead":
            error, trace = parted(ended.error) if ended.error else (None, None)
            raise TaskDead(str(self), error, trace)
        if ended.state != "done":
            raise NotDone(f"task {self} is {ended.state}", ended.state)
        value: R = None if ended.value is None else self._how.read(self, ended.value)  # type: ignore[assignment]
        return value


class How:
    """How the results of a function are asked for and read."""

    def __init__(self, connections: Connections, codec: Codec, name: str, reader: Read | None) -> None:
        self.connections = connections
        self.codec = codec
        self.name = name
        self.reader = reader

    def read(self, task: str, value: bytes) -> Any:
        """A result as a value. Raises TaskslotError if it is no result of this function."""
        try:
            found = self.codec.loads(value)
            return found if self.reader is None else self.reader(found)
        except ModuleNotFoundError:
            raise
        except Exception as error:
            why = error if isinstance(error, Unreadable) else f"no {self.codec.name}: {type(error).__name__}"
            raise TaskslotError(f"the result of task {task} of {self.name} can't be read: {why}") from None


def block_ms(timeout_ms: int | None) -> int | None:
    """A time-out as the wait of `Queue.result`, in which 0 has no limit and None does not wait."""
    if timeout_ms is None:
        return 0
    if timeout_ms < 0:
        raise ValueError("timeout_ms must not be negative: 0 only looks, None waits without a limit")
    return timeout_ms or None
