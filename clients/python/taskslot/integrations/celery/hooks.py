"""What the transport adds to the Celery workers that start in this process."""

from __future__ import annotations

from . import bad_messages, revocation


def hook_into_workers() -> None:
    """Let workers remove waiting tasks when they are told to revoke them, and outlive bad messages."""
    try:
        from celery import signals
    except ImportError:  # Kombu without Celery
        return
    signals.worker_init.connect(revocation.on_worker_init, dispatch_uid="taskslot")
    signals.worker_init.connect(bad_messages.on_worker_init, dispatch_uid="taskslot-bad-messages")
