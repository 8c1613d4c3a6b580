"""What a person has chosen to see in `taskslot top`: the order and the filter. Changed by keys. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...overview import Row

# What `s` sorts by, in turn. The first is the order of `rows`.
ORDERS: dict[str, Callable[[Row], Any] | None] = {
    "attention": None,
    "ready": lambda row: -row.info.ready,
    "oldest": lambda row: -row.info.oldest_ready_ms,
    "in/s": lambda row: -row.info.in_per_second_1m,
    "name": lambda row: row.queue,
}
ENTER, ESCAPE, BACKSPACE = "\r\n", "\x1b", "\x7f\b"
# A filter is no longer than this.
MOST_LETTERS = 60


@dataclass(frozen=True)
class View:
    """The order of the rows and a part of their names; whether the filter is being typed, and whether to quit."""

    order: str = "attention"
    filter: str = ""
    is_typing: bool = False
    is_over: bool = False

    def after(self, typed: str) -> View:
        """The view after some keys: `s` sorts, `/` filters until Enter (Esc clears it), `q` quits."""
        if typed.startswith(ESCAPE):  # Esc itself; an arrow key sends more letters and does nothing
            return replace(self, filter="", is_typing=False) if typed == ESCAPE else self
        view = self
        for letter in typed:
            view = view._typing(letter) if view.is_typing else view._choosing(letter)
        return view

    def _typing(self, letter: str) -> View:
        if letter in ENTER:
            return replace(self, is_typing=False)
        if letter in BACKSPACE:
            return replace(self, filter=self.filter[:-1])
        if letter.isprintable() and len(self.filter) < MOST_LETTERS:
            return replace(self, filter=self.filter + letter)
        return self

    def _choosing(self, letter: str) -> View:
        if letter in "qQ":
            return replace(self, is_over=True)
        if letter == "/":
            return replace(self, filter="", is_typing=True)
        if letter == "s":
            orders = list(ORDERS)
            return replace(self, order=orders[(orders.index(self.order) + 1) % len(orders)])
        return self

    def of(self, rows: Sequence[Row]) -> list[Row]:
        """The rows that are shown, in their order."""
        chosen = [row for row in rows if self.filter.casefold() in row.queue.casefold()]
        key = ORDERS[self.order]
        return chosen if key is None else sorted(chosen, key=key)

    def notes(self) -> list[str]:
        """The choices, as far as they are not the usual ones."""
        notes = []
        if self.is_typing:
            notes.append(f"/{self.filter}▏ Enter: keep it, Esc: show all")
        elif self.filter:
            notes.append(f"only queues with {self.filter} in their names; Esc shows all")
        if self.order != "attention":
            notes.append(f"sorted by {self.order}; s changes that")
        return notes
