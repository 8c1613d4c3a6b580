"""Why a server is not started."""

from __future__ import annotations

from ..errors import TaskslotError


class NotStarted(TaskslotError):
    """The server was not started, and nothing was changed. The text says why, and what to do."""
