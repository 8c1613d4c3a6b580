"""Reads a message of Dramatiq from the payload of a task. Dramatiq itself looks at few types."""

from __future__ import annotations

import math
from typing import Any

from dramatiq.message import Message, get_encoder

# What the fields of a message have to be.
TYPES: dict[str, type | tuple[type, ...]] = {
    "message_id": str,
    "actor_name": str,
    "args": (list, tuple),
    "kwargs": dict,
    "options": dict,
}


def message_of(payload: bytes, queue_name: str) -> Message[Any]:
    """The message in a payload. Raises any error if it is none that workers of this queue can take."""
    fields = get_encoder().decode(payload)
    for field, kind in TYPES.items():
        if not isinstance(fields[field], kind):
            raise TypeError(f"the field {field} can't be {fields[field]!r:.100}")
    if fields["queue_name"] != queue_name:
        raise ValueError(f"it is in {queue_name}, but its queue_name is {fields['queue_name']!r:.100}")
    eta = fields["options"].get("eta")  # Dramatiq itself looks at its type
    if isinstance(eta, float) and not math.isfinite(eta):
        raise ValueError(f"its eta must be a number of ms, not {eta}")
    return Message(**{**fields, "args": tuple(fields["args"])})
