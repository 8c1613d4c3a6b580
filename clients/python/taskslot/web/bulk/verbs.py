"""What can be done to many tasks in a state at once, and how people call it. Values, no connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

from ...replies import State
from ..queue.task_filter import STATES

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


def wording(verb: str, state: str) -> Words:
    """The words of a verb. Raises ValueError if tasks in this state know no such verb."""
    found = WORDS.get((cast(Verb, verb), cast(State, state)))
    if found is None:
        raise ValueError(f"{state} tasks can't be changed by {verb!r}: {', '.join(verbs_of(state))}")
    return found


FILTERS: dict[str, Any] = {"verbs": verbs_of, "words": wording}
