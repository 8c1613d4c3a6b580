"""Celery and Kombu on taskslot: `Celery(broker="taskslot://localhost:6379/0")`. `docs/celery.md` is its guide.

After `pip install 'taskslot[celery]'` the URLs work without an import: Kombu loads the entry point below when it
starts. So this file imports little, and nothing of Celery.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kombu.transport import TRANSPORT_ALIASES

if TYPE_CHECKING:
    from collections.abc import Iterable

TRANSPORT_ALIASES |= {
    "taskslot": f"{__name__}.transport:Transport",
    "taskslots": f"{__name__}.transport:TLSTransport",
    "taskslot-sentinel": f"{__name__}.sentinel:SentinelTransport",
}

# What the entry point kombu.serializers gives to Kombu: the encoder, the decoder and the content type of a serializer.
# Kombu has no entry point for transports, and loads this one always. There is no serializer: the first two are None.
SERIALIZER = (None, None, "application/x-taskslot")


def revoke(
    app: Any,
    task_id: str | Iterable[str],
    *,
    queues: Iterable[str] | None = None,
    terminate: bool = False,
    signal: str = "SIGTERM",
) -> list[str]:
    """Revoke tasks of a Celery app, also while no worker runs. Returns the ids of those that waited and are removed.

    A waiting task is removed from the server, and its state is REVOKED. The others are revoked as by
    `app.control.revoke`, with `terminate` and `signal`. `queues` are the names of the queues to look in; those of the
    app's settings by default.
    """
    from .revocation import revoke_in

    ids = [task_id] if isinstance(task_id, str) else list(task_id)
    return revoke_in(app, ids, queues, terminate, signal)


__all__ = ["revoke"]
