"""Deploys the schedules of an app when a worker starts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from ..middleware import Middleware
from ..tracebacks import described
from ..worker.retries import passes, rests
from .schedules import Deployed, DeployFailed

log = logging.getLogger("taskslot")


class DeploysAtStart(Middleware):
    """Calls `deploy` on a thread when a worker starts, and again while the server is away."""

    def __init__(self, deploy: Callable[[], Deployed]) -> None:
        self._deploy = deploy
        self._stopped = threading.Event()

    def on_worker_start(self, worker: Any) -> None:
        """Begin. The worker doesn't wait for it."""
        self._stopped.clear()
        threading.Thread(
            target=self._live, args=(worker.queues[0],), name="taskslot-deploy", daemon=True
        ).start()

    def on_worker_stop(self, worker: Any) -> None:
        """Try no more."""
        self._stopped.set()

    def _live(self, queue: Any) -> None:
        for rest_s in rests():
            try:
                done = self._deploy()
            except DeployFailed as failed:
                for name, error in failed.errors.items():
                    log.error("schedule %s can't be deployed: %s", name, described(error))
                return log_done(failed.done)
            except Exception as error:
                if not passes(queue, error):
                    log.error("the schedules of the app can't be deployed: %s", described(error))
                    return
            else:
                return log_done(done)
            if self._stopped.wait(rest_s):
                return


def log_done(done: Deployed) -> None:
    """Log what has changed on the server, if anything has."""
    if done.added or done.changed or done.removed:
        log.info(
            "schedules: added %s; changed %s; removed %s",
            *(", ".join(names) or "none" for names in (done.added, done.changed, done.removed)),
        )
