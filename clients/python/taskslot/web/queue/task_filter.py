"""Which tasks of a queue a list shows, or an action is about: those in one state that match. Values, no connection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import get_args

from ... import commands
from ...commands import Command
from ...replies import State, TaskView, text
from ..dead.patterns import pattern
from .raw_names import read

STATES: tuple[State, ...] = get_args(State)
# The longest pattern, group or worker that the server takes, in bytes.
PATTERN_BYTES = 256


@dataclass(frozen=True)
class TaskFilter:
    """The tasks in a state, and of these only those that match: "" stands for all.

    `match` is a glob for payloads, `header_match` one for the header `header`, `worker` who holds a leased task, and
    `error` the pattern of the last error, which the server does not compare.
    """

    state: State
    match: str = ""
    header: str = ""
    header_match: str = ""
    group: str = ""
    worker: str = ""
    error: str = ""

    def page(
        self,
        key: str,
        cursor: str,
        count: int,
        max_bytes: int,
        *,
        payloads: bool = False,
        newest: bool = True,
    ) -> Command[tuple[str, list[TaskView]]]:
        """TASK.LIST from a cursor ("" is the beginning): the next cursor, "0" at the end, and at most `count` tasks.

        The newest first, so that tasks that are pushed later do not count.
        """
        command = commands.page(
            *(key, self.state, cursor or "0", count),
            group=self.group or None,
            worker=self.worker or None,
            payloads=payloads,
            max_bytes=max_bytes,
            reverse=newest,
            match=self.match or None,
            header=(self.header, self.header_match or "*") if self.header else None,
        )
        return replace(
            command, read=lambda reply: (text(reply[0]), [read(TaskView, one) for one in reply[1]])
        )

    @property
    def query(self) -> dict[str, str | None]:
        """The filter as parameters of a link."""
        return {name: value or None for name, value in asdict(self).items()}

    @property
    def is_search(self) -> bool:
        """Whether it leaves out tasks in the state."""
        return self != TaskFilter(self.state)

    def fits(self, task: TaskView) -> bool:
        """Whether a task that the server found matches what the server does not compare."""
        return not self.error or pattern(task.error) == self.error

    def words(self, for_log: bool = False) -> str:
        """The filter as people read it: `dead, payload matches *a*, error KeyError: '…'`. A log gets no patterns."""
        if for_log:
            hidden = replace(self, match=self.match and "…", header_match=self.header_match and "…")
            return hidden.words()
        named = (
            ("payload matches", self.match),
            (f"header {self.header} matches", self.header and (self.header_match or "*")),
            ("group", self.group),
            ("worker", self.worker),
            ("error", self.error),
        )
        return ", ".join([self.state, *(f"{name} {value}" for name, value in named if value)])


def read_filter(fields: Mapping[str, str]) -> TaskFilter:
    """The filter of a form or of a query. Raises ValueError for one that the server would refuse."""
    state = fields.get("state", "")
    if state not in STATES:
        raise ValueError(f"the state must be one of {', '.join(STATES)}")
    given = {name: fields.get(name, "") for name in ("match", "header", "header_match", "group", "worker")}
    if given["match"] and given["header"]:
        raise ValueError("search in the payload or in a header, not in both: the server compares one of them")
    if given["header_match"] and not given["header"]:
        raise ValueError("a pattern for a header needs the header's name")
    if given["worker"] and state != "leased":
        raise ValueError("only leased tasks can be found by their worker")
    for name, value in given.items():
        if len(value.encode("utf-8", "surrogateescape")) > PATTERN_BYTES:
            raise ValueError(f"{name.replace('_', ' ')} has more than {PATTERN_BYTES} bytes")
    error = fields.get("error", "")
    if error and state not in ("dead", "delayed"):
        raise ValueError("only dead and delayed tasks can be chosen by their error")
    return TaskFilter(state, **given, error=error)
