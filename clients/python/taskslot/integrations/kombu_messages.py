"""What a message of Kombu says about its push: for the Celery transport, and for moving messages. It needs no Kombu."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ..commands import PushOptions

# A later ETA is not plausible, and the server refuses one after 100 years. Celery's worker waits for it instead.
LATEST_S = 50 * 365 * 86400
# The last of Kombu's priorities; the first is 0.
LAST_PRIORITY = 9


def push_options(message: Mapping[str, Any], now: float) -> PushOptions:
    """The options of a push: when the message is due, for how long it may wait, and how urgent it is.

    `now` is the unix time in seconds. Raises ValueError for an `expiration` that is no number.
    """
    options = PushOptions(priority=-priority(message))
    if (at := due_ms(message, now)) is not None:
        options["at"] = at
    if (ttl_ms := time_to_live_ms(message)) is not None:
        options["ttl_ms"] = ttl_ms
    return options


def priority(message: Mapping[str, Any]) -> int:
    """The priority of a message, from 0 to 9, where 0 comes first, as in Kombu's Redis transport. By default 0."""
    try:
        given = int((message.get("properties") or {}).get("priority") or 0)
    except (TypeError, ValueError, OverflowError):
        return 0
    return min(max(given, 0), LAST_PRIORITY)


def due_ms(message: Mapping[str, Any], now: float) -> int | None:
    """When a Celery task is due, as a unix time in ms; None if at once.

    Also None if only its worker can tell: the ETA names no time zone, is too far away, or is no date.
    """
    eta = (message.get("headers") or {}).get("eta")
    try:
        at = datetime.fromisoformat(eta) if isinstance(eta, str) else eta
    except ValueError:  # the worker refuses the task
        return None
    if not isinstance(at, datetime) or at.tzinfo is None:
        return None
    return round(at.timestamp() * 1000) if 0 < at.timestamp() - now < LATEST_S else None


def time_to_live_ms(message: Mapping[str, Any]) -> int | None:
    """How long a message may wait (`expiration` of Kombu, in ms as a string); None if without a limit.

    Not for a task that Celery's own `expires` ends: its worker has to see it, to set its state to REVOKED.
    """
    expiration = (message.get("properties") or {}).get("expiration")
    if expiration is None or (message.get("headers") or {}).get("expires"):
        return None
    try:
        return max(1, int(float(expiration)))
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"the expiration of a message is a number of ms, not {expiration!r}") from None


def celery_id(message: Mapping[str, Any]) -> str | None:
    """The id of the Celery task that a message is; None for other messages."""
    headers = message.get("headers") or {}
    task_id = headers.get("id") if "task" in headers else None
    return task_id if isinstance(task_id, str) else None
