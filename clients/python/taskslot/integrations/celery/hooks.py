"""What the transport adds to the Celery workers that start in this process."""

from __future__ import annotations

from . import bad_messages, revocation


def hook_into_workers() -> None:
    """Make workers remove waiting tasks that are revoked, and go on after bad messages."""
    try:
        from celery import signals
    except ImportError:  # Kombu without Celery
        return
    signals.worker_init.connect(revocation.on_worker_init, dispatch_uid="taskslot")
    signals.worker_init.connect(bad_messages.on_worker_init, dispatch_uid="taskslot-bad-messages")
