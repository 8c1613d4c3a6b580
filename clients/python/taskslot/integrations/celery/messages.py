"""What a push says about a message of Kombu. No connection."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ...commands import PushOptions

# A later ETA is not plausible, and the server refuses one after 100 years. Celery's worker waits for it instead.
LATEST_S = 50 * 365 * 86400
# The longest token that the server takes.
LONGEST_TOKEN = 256


def push_options(message: Mapping[str, Any], priority: int, now: float) -> PushOptions:
    """The options of a push: when the message is due, for how long, how urgent it is, and the id of its Celery task.

    `priority` is Kombu's, from 0 to 9, where 0 comes first, as in Kombu's Redis transport. `now` is the unix time in
    seconds.
    """
    options = PushOptions(priority=-priority)
    if (at := due_at(message, now)) is not None:
        options["at"] = at
    if (ttl_ms := time_to_live_ms(message)) is not None:
        options["ttl_ms"] = ttl_ms
    if (task_id := celery_id(message)) is not None:
        # Only until the first claim: a retry has the same id, and is pushed while the first attempt is still leased.
        options["unique"], options["until_start"] = task_id, True
    return options


def due_at(message: Mapping[str, Any], now: float) -> datetime | None:
    """When a Celery task is due; None if at once, or if only its worker knows, because the ETA names no time zone."""
    eta = (message.get("headers") or {}).get("eta")
    try:
        at = datetime.fromisoformat(eta) if isinstance(eta, str) else eta
    except ValueError:  # the worker refuses the task
        return None
    if not isinstance(at, datetime) or at.tzinfo is None:
        return None
    return at if 0 < at.timestamp() - now < LATEST_S else None


def time_to_live_ms(message: Mapping[str, Any]) -> int | None:
    """How long a message may wait (`expiration` of Kombu, in ms as a string); None if without a limit.

    Not for a task that Celery's own `expires` ends: its worker has to see it, to set its state to REVOKED.
    """
    expiration = (message.get("properties") or {}).get("expiration")
    if expiration is None or (message.get("headers") or {}).get("expires"):
        return None
    return max(1, int(float(expiration)))


def celery_id(message: Mapping[str, Any]) -> str | None:
    """The id of the Celery task that a message is; None for other messages."""
    headers = message.get("headers") or {}
    task_id = headers.get("id") if "task" in headers else None
    is_token = isinstance(task_id, str) and 0 < len(task_id.encode()) <= LONGEST_TOKEN
    return task_id if is_token else None
