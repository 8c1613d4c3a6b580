"""Writes and reads the payloads of workers: the name of a function and its arguments.

In JSON a payload is `{"task":"mail.send","args":["bob"],"kwargs":{"subject":"hi"}}`, so any program that writes JSON
can push it. `args` and `kwargs` are optional.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .codecs import JSON, Codec


class BadPayload(ValueError):
    """A payload is not a call. The text names the problem without showing any of the payload."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a registered function: its name and its arguments."""

    task: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def payload(self, codec: Codec) -> bytes:
        """The payload to push. Raises TypeError or ValueError for arguments that the codec can't write."""
        return codec.dumps({"task": self.task, "args": list(self.args), "kwargs": self.kwargs})

    @classmethod
    def read(cls, payload: bytes, codec: Codec) -> Call:
        """Read a payload. Raises `BadPayload`."""
        try:
            value = codec.loads(payload)
        except ModuleNotFoundError:
            raise
        except Exception as error:
            # The bytes can come from anywhere, so the codec can raise anything, such as RecursionError.
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
    """The payload that makes a worker call the function `task`: `queue.push(call("mail.send", "bob", subject="hi"))`.

    This is for producers that can't import the function; others use `send.call("bob", subject="hi")`. The codec must
    be that of the worker. Raises TypeError or ValueError for arguments that it can't write.
    """
    return Call(task, args, kwargs).payload(codec)
