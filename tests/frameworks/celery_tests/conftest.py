"""Lets Celery know the address taskslot:// in its tests."""

import taskslot.integrations.celery  # noqa: F401
