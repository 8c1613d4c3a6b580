"""Runs bulk jobs on threads of this process, and remembers the last ones. They end with the process."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from starlette.exceptions import HTTPException

from ..._sync.wire import Wire
from ...clients import Client
from ...errors import TaskslotError
from ...printable import printable
from ..dead.scans import look_anew
from ..queue.queue_keys import QueueKeys
from ..queue.task_filter import TaskFilter
from ..site import Site
from .job import ANSWER_S, Job, WrongStage
from .verbs import Verb, wording
from .work import Work

log = logging.getLogger("taskslot.web.audit")

# Jobs that count or work at a time, and jobs that are remembered.
MOST_ACTIVE, MOST_KEPT = 4, 20
# A job rests after each command for as long as the command took, and at least so many seconds. The server works for a
# small part of that time: it takes 0.7 ms to list 500 tasks and 0.4 ms to retry them.
LEAST_REST_S = 0.005
# How long the server may take to say which tasks of a slice are still dead.
PATIENCE_OF_A_LOOK_S = 5.0
# How often a job asks for a server that is away, and when it gives up.
AGAIN_S, GIVE_UP_S = 1.0, 900.0


class Busy(Exception):
    """There is no room for this job now. The text says why."""


class Jobs:
    """The bulk jobs of one app. Requests on many threads share it.

    `changed` is called with the keys of a queue when a job has worked on it.
    """

    def __init__(self, client: Any, changed: Callable[[tuple[str, ...]], None] = lambda keys: None) -> None:
        self._changed = changed
        self._wire = Wire(client, patience_ms=0)
        self._looking = Client(Client(client).twin(PATIENCE_OF_A_LOOK_S))
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Stop all jobs, and close their connections."""
        with self._lock:
            for job in self._jobs.values():
                job.stop()
        self._wire.close()
        self._looking.client.close()

    def all(self) -> list[Job]:
        """The jobs that are remembered, the newest first."""
        with self._lock:
            self._forget(time.time())
            return sorted(self._jobs.values(), key=lambda job: -job.made_at)

    def get(self, job_id: str) -> Job | None:
        """A job by its id; None if it is forgotten or was never made."""
        return next((job for job in self.all() if job.id == job_id), None)

    def make(self, queue: QueueKeys, verb: Verb, of: TaskFilter, who: str, ids: Iterable[str] = ()) -> Job:
        """Make a job and begin to count. With `ids`, it is about these tasks, and needs no counting.

        Raises ValueError for a verb that does not go with the state, or an id of another queue, and Busy.
        """
        wording(verb, of.state)
        job = Job(queue, verb, of, who, tuple(ids))
        chosen = [queue.located(one) for one in job.selected]
        for number, task_id in chosen:
            job.found(queue.keys[number], 1, [task_id])
        with self._lock:
            self._forget(time.time())
            self._check_room()
            if len(self._jobs) >= MOST_KEPT:
                raise Busy(f"{MOST_KEPT} jobs wait for a yes or a no: answer some of them")
            self._jobs[job.id] = job
        if chosen:
            job.counted()
        else:
            self._on_thread(job, self._count)
        return job

    def start(self, job: Job, who: str) -> None:
        """Begin the work of a job that has counted. Raises WrongStage, or Busy if another one works on its queue, or if
        enough of them are at work.
        """
        with self._lock:
            self._check_room()
            for other in self._jobs.values():
                if other.stage == "running" and set(other.queue.keys) & set(job.queue.keys):
                    raise Busy("another job works on this queue: wait until it has ended, or stop it")
            job.start()
        note(job, who, f"starts to {job.words.do} {job.total} tasks")
        self._on_thread(job, self._work)

    def stop(self, job: Job, who: str) -> bool:
        """Stop a job. Returns False if it had ended. The command that is on its way still counts."""
        stopped = job.stop()
        if stopped:
            note(job, who, f"stopped after {job.tally.seen} of {job.total} tasks")
        return stopped

    def _check_room(self) -> None:
        """Raise Busy if no more jobs may work now."""
        if sum(one.is_at_work for one in self._jobs.values()) >= MOST_ACTIVE:
            raise Busy(f"{MOST_ACTIVE} jobs are at work: wait until one has ended, or stop one")

    def _forget(self, now: float) -> None:
        """Stop jobs that nobody said yes to, and drop the oldest of those that have ended."""
        for job in self._jobs.values():
            if job.stage == "counted" and now - job.made_at > ANSWER_S:
                job.stop()
        ended = sorted((job for job in self._jobs.values() if job.has_ended), key=lambda job: job.made_at)
        for job in ended[: max(0, len(self._jobs) - MOST_KEPT + 1)]:
            del self._jobs[job.id]

    # ---- threads

    def _on_thread(self, job: Job, run: Callable[[Job], None]) -> None:
        def guarded() -> None:
            try:
                run(job)
            except TaskslotError as error:
                job.fail(str(error))
            except Exception as error:
                job.fail(f"{type(error).__name__}: {error}")
            if job.has_ended:
                note(job, job.who, f"{job.stage}: {told(job)}")
                self._changed(job.queue.keys)

        threading.Thread(target=guarded, name=f"taskslot job {job.id}", daemon=True).start()

    def _count(self, job: Job) -> None:
        work = Work(self._wire, self._looking, job)
        # After an outage the counting begins anew. Tasks that were found before are not found twice.
        self._patiently(job, lambda _: self._drive(job, work.count(), "counting"))

    def _work(self, job: Job) -> None:
        work = Work(self._wire, self._looking, job)
        if job.verb == "purge":
            self._patiently(job, lambda in_doubt: self._drive(job, work.purge(in_doubt), "running"))
        else:
            for key, ids in job.slices():
                self._slice(job, work, key, ids)
                if job.stage != "running":
                    return
        job.finished()

    def _drive(self, job: Job, steps: Iterator[None], stage: str) -> None:
        """Take one step after the other, with rests, while the job is in this stage."""
        began = time.monotonic()
        for _ in steps:
            job.back()
            if job.stage != stage:
                return
            self._rest(job, time.monotonic() - began)
            began = time.monotonic()

    def _slice(self, job: Job, work: Work, key: str, ids: list[str]) -> None:
        """Work on one slice, until the server has replied."""

        def once(in_doubt: bool) -> None:
            began = time.monotonic()
            job.worked(work.change(key, ids, in_doubt))
            self._rest(job, time.monotonic() - began)

        self._patiently(job, once)

    def _patiently(self, job: Job, step: Callable[[bool], None]) -> None:
        """Take a step, again and again while the server is away. Raises its error after `GIVE_UP_S`.

        Its argument is whether an earlier try may have taken effect although its reply was lost.
        """
        in_doubt = False
        while not job.has_ended:
            try:
                return step(in_doubt)
            except Exception as error:
                if not self._wire.kind.is_away(error) or job.away(time.monotonic()) > GIVE_UP_S:
                    raise
                in_doubt = in_doubt or not self._wire.kind.is_undone(error)
            self._pause(job, AGAIN_S)

    def _rest(self, job: Job, took_s: float) -> None:
        self._pause(job, max(LEAST_REST_S, took_s))

    def _pause(self, job: Job, seconds: float) -> None:
        """Wait, but end early if the job wakes, for example to stop."""
        job.wake.clear()
        if not job.has_ended:
            job.wake.wait(seconds)


def told(job: Job) -> str:
    """What became of the tasks of a job, in words."""
    tally, words = job.tally, job.words
    parts = [f"{tally.done} {words.done}"]
    for number, what in (
        (tally.asked, "leased: their workers are asked to stop"),
        (tally.skipped, "skipped, as they had changed meanwhile"),
        (tally.unsure, f"probably {words.done}: a reply was lost"),
    ):
        if number:
            parts.append(f"{number} {what}")
    if job.has_ended and job.left > 0 and job.stage != "done":
        parts.append(f"{job.left} not looked at")
    return ", ".join(parts) + (f"; {job.error}" if job.error else "")


def note(job: Job, who: str, what: str) -> None:
    """Write a line about a job into the audit log."""
    log.info(
        "job %s by %r on %r (%s %s): %s",
        job.id,
        who,
        job.queue.name,
        job.verb,
        printable(job.which(for_log=True)),
        what,
    )


def jobs_of(site: Site) -> Jobs:
    """The jobs of a site."""
    return site.kept("jobs", lambda: Jobs(site.client, lambda keys: look_anew(site, keys)))


def job_of(site: Site, job_id: str) -> Job:
    """A job of a site. Raises a 404."""
    job = jobs_of(site).get(job_id)
    if job is None:
        raise HTTPException(404, "There is no such job any more. Jobs end with the page's process.")
    return job


__all__ = ["Busy", "Jobs", "WrongStage", "job_of", "jobs_of", "told"]
