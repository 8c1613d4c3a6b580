"""Which tasks an action is about: those in one state of a queue that match a filter. Values, no connection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, cast, get_args

from ..commands import Command, page
from ..replies import State, TaskView, text
from .error_patterns import pattern
from .faithful import read

# What one command reads. Errors are up to 4 KiB each, and are part of a reply also without payloads.
AT_ONCE, BYTES_AT_ONCE = 500, 1024 * 1024
STATES: tuple[State, ...] = get_args(State)


@dataclass(frozen=True)
class Filter:
    """The tasks in a state, and of these only those that match: "" stands for all.

    `match` is a glob for payloads, `header_match` one for the header `header`, `worker` the worker that had the task
    last, `error` the pattern of its last error.
    """

    state: State
    match: str = ""
    header: str = ""
    header_match: str = ""
    group: str = ""
    worker: str = ""
    error: str = ""

    def command(self, key: str, cursor: str) -> Command[tuple[str, list[TaskView]]]:
        """The command that reads the next tasks, the newest first, so that tasks that are pushed later do not count."""
        header = (self.header, self.header_match or "*") if self.header else None
        command = page(
            *(key, self.state, cursor, AT_ONCE),
            group=self.group or None,
            worker=(self.worker or None) if self.state == "leased" else None,
            max_bytes=BYTES_AT_ONCE,
            reverse=True,
            match=self.match or None,
            header=header,
        )
        return replace(
            command, read=lambda reply: (text(reply[0]), [read(TaskView, one) for one in reply[1]])
        )

    @property
    def query(self) -> dict[str, str | None]:
        """The filter as parameters of a link."""
        return {name: value or None for name, value in asdict(self).items()}

    def fits(self, task: TaskView) -> bool:
        """Whether a task that the server found matches what the server does not compare."""
        if self.worker and task.worker != self.worker:
            return False
        return not self.error or pattern(task.error) == self.error

    @property
    def is_all(self) -> bool:
        """Whether all tasks in the state match."""
        return self == Filter(self.state)

    def words(self) -> str:
        """The filter as people read it: `dead, payload matches *a*, error KeyError: '…'`."""
        named = (
            ("payload matches", self.match),
            (f"header {self.header} matches", self.header and (self.header_match or "*")),
            ("group", self.group),
            ("worker", self.worker),
            ("error", self.error),
        )
        return ", ".join([self.state, *(f"{name} {value}" for name, value in named if value)])


def read_filter(form: Mapping[str, str]) -> Filter:
    """The filter of a form or of a query. Raises ValueError if it is none."""
    state = form.get("state", "dead")
    if state not in STATES:
        raise ValueError(f"state must be one of {', '.join(STATES)}")
    names = ("match", "header", "header_match", "group", "worker", "error")
    made = Filter(state, **{name: form.get(name, "") for name in names})
    if made.match and made.header:
        raise ValueError("filter by the payload or by a header, not by both: the server compares one of them")
    if made.header_match and not made.header:
        raise ValueError("a pattern for a header needs the header's name")
    for what, glob in (("match", made.match), ("header_match", made.header_match)):
        if len(glob.encode("utf-8", "surrogateescape")) > 256:
            raise ValueError(f"{what} has more than 256 bytes")
    if made.error and made.state not in ("dead", "delayed"):
        raise ValueError("only dead and delayed tasks can be chosen by their error")
    return made


# "purge" empties a state without looking at its tasks; the others change the tasks that were found.
Verb = Literal["retry", "remove", "cancel", "purge"]


@dataclass(frozen=True)
class Words:
    """How people call what a verb does to tasks in a state."""

    do: str
    doing: str
    done: str
    is_grave: bool = False  # what it does cannot be undone


WORDS: dict[tuple[Verb, State], Words] = {
    ("retry", "dead"): Words("retry", "retrying", "retried"),
    ("retry", "delayed"): Words("run now", "making ready", "made ready"),
    ("retry", "held"): Words("run now", "making ready", "made ready"),
    ("remove", "dead"): Words("remove", "removing", "removed", True),
    ("remove", "done"): Words("remove", "removing", "removed", True),
    ("cancel", "ready"): Words("cancel", "cancelling", "cancelled", True),
    ("cancel", "delayed"): Words("cancel", "cancelling", "cancelled", True),
    ("cancel", "held"): Words("cancel", "cancelling", "cancelled", True),
    ("cancel", "leased"): Words("cancel", "asking workers to stop", "removed", True),
    **{
        ("purge", state): Words("remove", "removing", "removed", True)
        for state in STATES
        if state != "leased"
    },
}


def verbs_of(state: str) -> list[Verb]:
    """What can be done to tasks in a state."""
    return [verb for verb, of in WORDS if of == state]


def words_of(verb: str, state: str) -> Words:
    """The words of a verb. Raises ValueError if tasks in this state know no such verb."""
    found = WORDS.get((cast(Verb, verb), cast(State, state)))
    if found is None:
        raise ValueError(f"{state} tasks can't be changed by {verb!r}: {', '.join(verbs_of(state))}")
    return found


FILTERS: dict[str, Any] = {"verbs": verbs_of, "words": words_of}
