"""What changes things: POST routes only. `guard` has checked rights, token and origin before one of them is called."""

from __future__ import annotations

from starlette.routing import Route

from . import bulk, mark, queue, schedule, task

routes: list[Route] = [*task.routes, *queue.routes, *schedule.routes, *bulk.routes, *mark.routes]
