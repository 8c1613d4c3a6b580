"""Bulk actions: a job for the tasks that a person has selected, or for all that match a filter; its start, its stop."""

from __future__ import annotations

from typing import cast

from starlette.responses import Response

from ..bulk.job import Job
from ..bulk.jobs import Busy, job_of, jobs_of
from ..bulk.verbs import Verb, wording
from ..http.links import decoded_all
from ..queue.task_filter import TaskFilter, read_filter
from ..site import form_data
from .change_request import ChangeRequest, change

# The selected tasks of one form: a page of a list, and some room.
MOST_SELECTED = 1000
# How long a request waits for a count.
COUNTS_S = 0.5


def make(asked: ChangeRequest) -> Response:
    """Make a job and show it: it counts, and waits for a yes.

    The button says what to do and to which: `verb:selected` or `verb:all`.
    """
    of = read_filter(asked.query)
    try:
        job = made(asked, of)
    except (Busy, ValueError) as error:
        said = f"Nothing was changed: {error}"
        if of.error:
            return asked.site.go(
                asked.request,
                asked.link("/dead", **asked.lens.queue.query, error=of.error),
                said,
                tone="failed",
            )
        return asked.to_queue(said, tone="failed", **of.query)
    # Most counts take no time. The page that shows the job follows the others.
    job.has_counted.wait(COUNTS_S)
    return asked.site.go(asked.request, asked.link("/job", id=job.id))


def made(asked: ChangeRequest, of: TaskFilter) -> Job:
    """A new job. Raises ValueError for a form that asks for none, and Busy."""
    verb, _, which = asked.fields.get("do", "").partition(":")
    wording(verb, of.state)
    ids = [value for name, value in decoded_all(form_data(asked.request)) if name == "id"]
    if which not in ("selected", "all"):
        raise ValueError("choose what to do, and to which tasks")
    if which == "selected" and not ids:
        raise ValueError("select some tasks first")
    if len(ids) > MOST_SELECTED:
        raise ValueError(f"at most {MOST_SELECTED} tasks can be selected")
    chosen = ids if which == "selected" else ()
    return jobs_of(asked.site).make(asked.lens.queue, cast(Verb, verb), of, asked.who, chosen)


def start(asked: ChangeRequest) -> Response:
    """Say yes to a job."""
    job = job_of(asked.site, asked.name("id"))
    said = ""
    try:
        jobs_of(asked.site).start(job, asked.who)
    except (Busy, ValueError) as error:
        said = str(error)
    return asked.site.go(asked.request, asked.link("/job", id=job.id), said, tone="failed")


def stop(asked: ChangeRequest) -> Response:
    """Stop a job, or say no to one."""
    job = job_of(asked.site, asked.name("id"))
    said = "" if jobs_of(asked.site).stop(job, asked.who) else "It had ended before."
    return asked.site.go(asked.request, asked.link("/job", id=job.id), said)


routes = [
    change("/do/bulk", make),
    change("/do/job/start", start),
    change("/do/job/stop", stop),
]
