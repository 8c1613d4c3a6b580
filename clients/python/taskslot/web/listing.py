"""A list of tasks as its links describe it: the state, the filter, the order, and how far one has read. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from ..replies import State
from .lens import ROWS, Place, Walked, Wanted, read_place

STATES: tuple[State, ...] = get_args(State)
# The longest pattern that the server takes, in bytes.
PATTERN_BYTES = 256

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
    """What a link asks for: the tasks that are wanted, and the place.

    `rows_before` counts the rows of the pages before, `looked_before` the tasks that were looked at for them.
    """

    wanted: Wanted
    place: Place
    rows_before: int = 0
    looked_before: int = 0

    @property
    def filter(self) -> dict[str, str]:
        """What restricts the list, by the names of the links' parameters. Nothing is the empty text."""
        wanted = self.wanted
        return {
            "match": wanted.match,
            "header": wanted.header,
            "header_match": wanted.header_match,
            "group": wanted.group,
            "worker": wanted.worker,
        }

    @property
    def order(self) -> str:
        """The order as the links' parameter."""
        return "newest" if self.wanted.newest else "first"

    @property
    def query(self) -> dict[str, object]:
        """The parameters of a link to the first page of this list."""
        own_order = self.wanted.newest == (self.wanted.state in NEWEST_FIRST)
        given = {name: value or None for name, value in self.filter.items()}
        return {"state": self.wanted.state, **given, "order": None if own_order else self.order}

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
    state = query.get("state", "") or "ready"
    if state not in STATES:
        raise ValueError(f"the state must be one of {', '.join(STATES)}")
    order = query.get("order", "") or ("newest" if state in NEWEST_FIRST else "first")
    if order not in ("newest", "first"):
        raise ValueError("the order must be newest or first")
    given = {name: query.get(name, "") for name in ("match", "header", "header_match", "group", "worker")}
    check_filter(state, given)
    wanted = Wanted(state, **given, newest=order == "newest")
    rows, looked = count_of(query.get("rows", "")), count_of(query.get("looked", ""))
    return Listing(wanted, read_place(query.get("at", ""), shards), rows, looked)


def check_filter(state: str, given: Mapping[str, str]) -> None:
    """Raise ValueError for a filter that the server would refuse, in the words of the page."""
    if given["match"] and given["header"]:
        raise ValueError("search in the payload or in a header, not in both: the server compares one of them")
    if given["header_match"] and not given["header"]:
        raise ValueError("a pattern for a header needs the header's name")
    if given["worker"] and state != "leased":
        raise ValueError("only leased tasks can be listed by their worker")
    for name, text in given.items():
        if len(text.encode("utf-8", "surrogateescape")) > PATTERN_BYTES:
            raise ValueError(f"{name.replace('_', ' ')} has more than {PATTERN_BYTES} bytes")


def count_of(text: str) -> int:
    """A number in a link of the page itself; 0 for anything else, because it is only shown."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0


def range_in_words(listing: Listing, walked: Walked[Any]) -> str:
    """`1 to 50`; empty if nothing was found."""
    if not walked.rows:
        return ""
    return f"{listing.rows_before + 1:,} to {listing.rows_before + len(walked.rows):,}"


__all__ = ["NEWEST_FIRST", "ORDERS", "ROWS", "STATES", "Listing", "range_in_words", "read_listing"]
