"""A list of tasks as its links describe it: the state, the filter, the order, and how far one has read. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...replies import State
from .lens import Place, Walked, read_place
from .task_filter import TaskFilter, read_filter

# For each state the two orders: the server's own, and the other way round.
ORDERS: dict[State, tuple[str, str]] = {
    "ready": ("claimed next first", "claimed last first"),
    "delayed": ("due soonest first", "due latest first"),
    "held": ("oldest first", "newest first"),
    "leased": ("oldest first", "newest first"),
    "dead": ("oldest first", "newest first"),
    "done": ("oldest first", "newest first"),
}
# The states whose last tasks are of interest first.
NEWEST_FIRST = ("held", "dead", "done")


@dataclass(frozen=True)
class Listing:
    """What a link asks for: which tasks, in the server's order or the other way round, and the place.

    `rows_before` counts the rows of the pages before, `looked_before` the tasks that were looked at for them.
    """

    filter: TaskFilter
    newest: bool
    place: Place
    rows_before: int = 0
    looked_before: int = 0

    @property
    def order(self) -> str:
        """The order as the links' parameter."""
        return "newest" if self.newest else "first"

    @property
    def query(self) -> dict[str, object]:
        """The parameters of a link to the first page of this list."""
        is_usual = self.newest == (self.filter.state in NEWEST_FIRST)
        return {**self.filter.query, "order": None if is_usual else self.order}

    def after(self, walked: Walked[Any]) -> dict[str, object] | None:
        """The parameters of a link to the rest; None if there is none."""
        if walked.next is None:
            return None
        rows, looked = self.rows_before + len(walked.rows), self.looked_before + walked.looked
        return {**self.query, "at": str(walked.next), "rows": rows or None, "looked": looked or None}

    def looked(self, walked: Walked[Any], total: int) -> int:
        """How many of all tasks the search has looked at so far: about, in two digits, until it has seen all."""
        if walked.next is None:
            return total
        about = max(1, min(self.looked_before + walked.looked, total * 99 // 100))
        unit: int = 10 ** max(0, len(str(about)) - 2)
        return about // unit * unit


def read_listing(query: Mapping[str, str], shards: int) -> Listing:
    """The list that a query describes. Raises ValueError for one that the server would refuse."""
    # A list is not restricted by errors: the page of dead tasks is.
    of = read_filter({**query, "state": query.get("state", "") or "ready", "error": ""})
    order = query.get("order", "") or ("newest" if of.state in NEWEST_FIRST else "first")
    if order not in ("newest", "first"):
        raise ValueError("the order must be newest or first")
    rows, looked = count_of(query.get("rows", "")), count_of(query.get("looked", ""))
    return Listing(of, order == "newest", read_place(query.get("at", ""), shards), rows, looked)


def count_of(text: str) -> int:
    """A number in a link of the page itself; 0 for anything else, because it is only shown."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0


def range_in_words(listing: Listing, walked: Walked[Any]) -> str:
    """`1 to 50`; empty if nothing was found."""
    if not walked.rows:
        return ""
    return f"{listing.rows_before + 1:,} to {listing.rows_before + len(walked.rows):,}"
