"""What a worker's payload says: which function is to be called, with what. It is made here and read here.

In JSON it is `{"task":"mail.send","args":["bob"],"kwargs":{"subject":"hi"}}`, so that anything that can write JSON
can push it; `args` and `kwargs` may be left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .codecs import JSON, Codec


class BadPayload(ValueError):
    """A payload that is no call; the text says what is wrong with it, and shows none of it."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a task's function."""

    task: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def payload(self, codec: Codec) -> bytes:
        """The bytes to push. Raises TypeError or ValueError for arguments that the codec can't write."""
        return codec.dumps({"task": self.task, "args": list(self.args), "kwargs": self.kwargs})

    @classmethod
    def read(cls, payload: bytes, codec: Codec) -> Call:
        """The call that a payload says. Raises `BadPayload`."""
        try:
            value = codec.loads(payload)
        except ModuleNotFoundError:
            raise
        except Exception as error:
            # A reader of bytes from anywhere may raise anything, RecursionError for what is nested too deep.
            raise BadPayload(f"the payload can't be read as {codec.name}: {type(error).__name__}") from None
        if not isinstance(value, dict) or not isinstance(value.get("task"), str):
            raise BadPayload(
                'the payload is not a call: expected {"task": name, "args": [...], "kwargs": {...}}'
            )
        args, kwargs = value.get("args", []), value.get("kwargs", {})
        if not isinstance(args, list) or not isinstance(kwargs, dict):
            raise BadPayload("args must be a list and kwargs a map")
        if not all(isinstance(name, str) for name in kwargs):
            raise BadPayload("the names in kwargs must be strings")
        return cls(value["task"], tuple(args), kwargs)


def call(task: str, /, *args: Any, codec: Codec = JSON, **kwargs: Any) -> bytes:
    """The payload that has a worker call the function `task`: `queue.push(call("mail.send", "bob", subject="hi"))`.

    For producers that don't have the function at hand; those that do write `send.call("bob", subject="hi")`. The
    codec must be the worker's. Raises TypeError or ValueError for arguments that it can't write.
    """
    return Call(task, args, kwargs).payload(codec)
