"""Revokes Celery tasks that wait in the server: they are removed, and their state is REVOKED.

The workers of an app do it when a task is revoked (`app.control.revoke`, `result.revoke()`, Flower), each
for the queues that it consumes. `revoke_in` does it without a worker.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

log = logging.getLogger("taskslot")


def revoke_in(
    app: Any, ids: Sequence[str], queues: Iterable[str] | None, terminate: bool, signal: str
) -> list[str]:
    """Revoke tasks. Returns the ids of those that waited in one of the queues, and are removed now."""
    names = list(app.amqp.queues if queues is None else queues)
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        if not hasattr(channel, "remove_waiting"):
            raise TypeError(f"the broker of {app!r} is not taskslot")
        removed = remove(app, channel, names, ids)
    app.control.revoke(list(ids), terminate=terminate, signal=signal)
    return removed


def remove(
    app: Any, channel: Any, queues: Iterable[str], ids: Iterable[str], dispatcher: Any = None
) -> list[str]:
    """Remove tasks that wait in one of the queues. Returns their ids. `dispatcher` sends Celery's events."""
    removed = []
    names = list(queues)
    for task_id in ids:
        for name in names:
            if (raw := channel.remove_waiting(name, task_id)) is not None:
                announce(app, channel, raw, dispatcher)
                removed.append(task_id)
                break
    return removed


def announce(app: Any, channel: Any, raw: Any, dispatcher: Any) -> None:
    """Report a revoked task as Celery's worker would: its state, the event, the signal."""
    from celery import signals

    context = context_of(app, channel, raw)
    task = app.tasks.get(context.task)
    is_stored = task is None or not task.ignore_result or task.store_errors_even_if_ignored
    backend = app.backend if task is None else task.backend
    backend.mark_as_revoked(context.id, "revoked", request=context, store_result=is_stored)
    how = {"terminated": False, "signum": None, "expired": False}
    if dispatcher is not None and dispatcher.enabled:
        dispatcher.send("task-revoked", uuid=context.id, **how)
    signals.task_revoked.send(sender=task, request=context, **how)
    log.info("task %s[%s] is revoked, and removed before it began", context.task, context.id)


def context_of(app: Any, channel: Any, raw: Any) -> Any:
    """The context that a task would have had, with its callbacks and its chord."""
    from celery.app.task import Context
    from kombu.serialization import prepare_accept_content

    message = channel.message_to_python(raw)
    message.accept = prepare_accept_content(app.conf.accept_content)
    args, kwargs, embedded = message.payload
    return Context(message.headers, args=args, kwargs=kwargs, **(embedded or {}))


def on_worker_init(**_: Any) -> None:
    """Take the place of the worker's command `revoke`."""
    from celery.worker.control import Panel

    before = Panel.data["revoke"]
    if getattr(before, "is_of_taskslot", False):
        return

    def revoke(state: Any, task_id: Any, *args: Any, **kwargs: Any) -> Any:
        reply = before(state, task_id, *args, **kwargs)
        remove_in_worker(state, [task_id] if isinstance(task_id, str) else list(task_id or ()))
        return reply

    revoke.is_of_taskslot = True  # type: ignore[attr-defined]
    Panel.data["revoke"] = revoke


def remove_in_worker(state: Any, ids: Sequence[str]) -> None:
    """Remove tasks that wait in the queues that this worker consumes. The worker has noted the ids already."""
    consumer = state.consumer.task_consumer
    channel = getattr(consumer, "channel", None)
    if not hasattr(channel, "remove_waiting"):
        return
    names = [queue.name for queue in consumer.queues]
    remove(state.app, channel, names, ids, state.consumer.event_dispatcher)
