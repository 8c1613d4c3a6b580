"""The life of a task as its view tells it: what happened, when, and what comes next. Pure.

The server keeps the last state of a task and its last errors, not each event. So some moments have no instant, and
attempts without a known error are shown as one entry.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ...figures import plural, span
from ...printable import printable
from ...replies import TaskError, TaskView
from ...tracebacks import parted

# How a moment is marked: it went well, it went wrong, it has not come yet, or none of these.
Tone = Literal["", "good", "bad", "next"]


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment in the life of a task. `at` is a unix time in ms, None if it is not known.

    `error` is what was raised, `trace` the traceback. All texts are printable; only `trace` has lines.
    """

    what: str
    at: int | None = None
    note: str = ""
    worker: str = ""
    error: str = ""
    trace: str = ""
    tone: Tone = ""


def timeline(view: TaskView) -> list[Moment]:
    """The moments of a task, the first one first."""
    return [Moment("pushed", view.enqueued), *attempts(view), *present(view)]


def attempts(view: TaskView) -> Iterator[Moment]:
    """The attempts that have ended, each with its error as far as that is kept."""
    last, errors = last_ended(view), errors_of(view)
    retried_at = retried_before(view, len(errors))
    told = 0
    for number, error in enumerate(errors):
        attempt = error.attempt or told + 1
        yield from untold(told + 1, attempt - 1, is_cut=number == 0)
        if number == retried_at:
            yield Moment("retried", note="it had been dead, and its failures count from 0 again")
        if view.state == "dead" and attempt == view.deliveries:
            yield from claimed(view)
        yield failed(error, attempt)
        told = max(told, attempt)
    if view.state == "dead" and told < last:
        yield from untold(told + 1, last - 1, is_cut=False)
        yield from claimed(view)
    else:
        yield from untold(told + 1, last, is_cut=False)
    if retried_at == len(errors) > 0:
        yield Moment(
            "retried",
            view.ready_since if view.deliveries == told else None,
            "it had been dead, and its failures count from 0 again",
        )


def last_ended(view: TaskView) -> int:
    """The number of the last attempt that ended otherwise than done."""
    return view.deliveries - (1 if view.state in ("leased", "done") and view.deliveries else 0)


def errors_of(view: TaskView) -> list[TaskError]:
    """The errors that are kept, the oldest first. An older server has only the text of the newest."""
    if view.errors or view.error is None:
        return list(view.errors)
    return [TaskError(attempt=last_ended(view) or None, error=view.error)]


def retried_before(view: TaskView, errors: int) -> int:
    """Before which of the kept errors the dead task was retried; -1 if it was not, as far as is known.

    A retry counts failures anew and leaves the errors. So those errors are older that are more than the failures.
    """
    died_of_stalls = 1 if view.state == "dead" and view.stalls and is_of_stalls(view.error) else 0
    since = view.failures + died_of_stalls
    return errors - since if errors > since else -1


def is_of_stalls(error: str | None) -> bool:
    """Whether the server itself wrote an error, for a task that died of stalls."""
    return error is not None and " stalls, the last after " in error[:60]


def untold(first: int, last: int, *, is_cut: bool) -> Iterator[Moment]:
    """Attempts of which no error is kept; nothing if there is none. `is_cut`: older errors may have been dropped."""
    if last < first:
        return
    what = f"attempt {first}" if first == last else f"attempts {first:,} to {last:,}"
    note = "no error is kept: it stalled, was given back, or failed without a text"
    if first < last:
        note = "no errors are kept: they stalled, were given back, or failed without a text"
    if is_cut:
        note += "; or the queue keeps fewer errors (errors-kept)"
    yield Moment(f"{what} ended", note=note)


def failed(error: TaskError, attempt: int) -> Moment:
    """An attempt that failed."""
    what, trace = parted(error.error or "")
    return Moment(
        what=f"attempt {attempt:,} failed"
        if not is_of_stalls(error.error)
        else f"attempt {attempt:,} stalled",
        at=error.at,
        worker=printable(error.worker or ""),
        error=printable(what),
        trace=printable(trace or "", "\n\t"),
        tone="bad",
    )


def claimed(view: TaskView) -> Iterator[Moment]:
    """The last claim, if it is known."""
    if view.claimed is not None:
        yield Moment(
            f"claimed, attempt {view.deliveries:,}", view.claimed, worker=printable(view.worker or "")
        )


def present(view: TaskView) -> Iterator[Moment]:
    """The state in which the task is, and what comes next by itself."""
    if view.state == "ready":
        yield Moment("ready", view.ready_since, "it waits for a worker")
        if view.expires is not None:
            yield Moment("expires", view.expires, "unless a worker claims it before", tone="next")
    elif view.state == "delayed":
        yield Moment("becomes ready", view.due, tone="next")
    elif view.state == "held":
        yield Moment("held", view.held_since, why_held(view))
    elif view.state == "leased":
        yield from claimed(view)
        if view.cancel_asked:
            yield Moment("cancelled", note="its worker is asked to stop", tone="bad")
        yield Moment("the lease ends", view.deadline, lease_in_words(view), tone="next")
    elif view.state == "dead":
        yield Moment("dead", view.dead_since, run_in_words(view), tone="bad")
    elif view.state == "done":
        yield from claimed(view)
        yield Moment("done", view.done_since, run_in_words(view), tone="good")
        if view.kept_until is not None:
            yield Moment("is removed", view.kept_until, tone="next")


def why_held(view: TaskView) -> str:
    """What a held task waits for."""
    if view.callback_of is not None:
        open_tasks = view.batch_open or 0
        if view.batch_state == "open":
            return f"until its batch is closed; {plural(open_tasks, 'task')} of the batch not ended yet"
        return f"until {plural(open_tasks, 'task')} of its batch ended"
    return f"until {plural(len(view.waits_for), 'task')} ended"


def lease_in_words(view: TaskView) -> str:
    """What happens at the end of a lease."""
    tied = ", or when its connection ends" if view.tied else ""
    return f"unless the worker extends it{tied}; then another one gets the task"


def run_in_words(view: TaskView) -> str:
    """How long the last attempt took; empty if that is not known."""
    return f"the last attempt took {span(view.run_ms)}" if view.run_ms is not None else ""
