"""Compares what a page shows with what came, where ids, instants and the like may differ; README.md has the rules."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

# `5/…` stands before the ids of sharded queues: which shard a task goes to is drawn.
ID = r"(?:\d{1,5}/)?\d{13}-\d+"
HANDLE = rf"{ID}@\d{{16}}-[0-9a-f]{{8}}"
TOKENS = re.compile(rf"{HANDLE}|{ID}")
PARTS = re.compile(rf"({ID})@")

# What is masked in each line, in this order.
MASKS = [
    (re.compile(HANDLE), "<handle>"),
    (re.compile(ID), "<id>"),
    (re.compile(r"\b[0-9a-f]{40}\b"), "<node>"),
    (re.compile(r"\b\d{10,}\b"), "<large>"),
    (re.compile(r'"\d+\.\d{3}"'), "<rate>"),
    (re.compile(r"\b\d+\.\d+\.\d+\b(?!\.)"), "<version>"),
]
# More, in the output of programs.
OUTPUT_MASKS = [
    (re.compile(r"\b\d{4}-\d\d-\d\d\b"), "<date>"),
    (re.compile(r"\b\d\d:\d\d:\d\d(?:[.,]\d+)?"), "<time>"),
    (re.compile(r"\b\d+(?:\.\d+)? ?(?:µs|ms|s)\b"), "<span>"),
    (re.compile(r"─{2,}"), "──"),
    (re.compile(r" {2,}"), "  "),
]
NUMBER = re.compile(r"-?\b\d+(?:\.\d+)?(?:[kMG]\b)?")

# A field of a map, as redis-cli shows it, and its value in the next line.
NAME = re.compile(r'"([a-z][a-z0-9-]*)"$')
VALUE = re.compile(r'(\(integer\) \d+|"\d+(?:\.\d+)?")$')
# Fields that say a length which somebody has set; those of others ending so are measured.
SET_LENGTHS = {"lease-ms", "ttl-ms", "retain-ms"}
# A line of INFO.
INFO_LINE = re.compile(r"^(\w+_(?:ms|memory)):\d+$")


def is_measured(name: str) -> bool:
    """Whether the value of a field differs each time."""
    return name == "memory" or (name.endswith("-ms") and name not in SET_LENGTHS)


def masked_reply(lines: list[str], command: str = "") -> list[str]:
    """The lines of a reply, as redis-cli shows it, without what differs each time."""
    masked, name = [], ""
    for line in lines:
        if is_measured(name):
            line = VALUE.sub("<measured>", line)
        if command.upper().startswith("TASK.FAIL "):
            line = re.sub(r"\(integer\) [1-9]\d*$", "(integer) <ms>", line)
        found = NAME.search(line)
        name = found[1] if found else ""
        line = INFO_LINE.sub(r"\1:<measured>", line)
        masked.append(_mask(line, MASKS))
    return masked


def masked_output(lines: list[str]) -> list[str]:
    """The lines of a program's output without what differs each time."""
    return [_mask(line, MASKS + OUTPUT_MASKS).rstrip() for line in lines]


def without_numbers(lines: list[str]) -> list[str]:
    """Lines in which all numbers are alike."""
    return [NUMBER.sub("<number>", line) for line in lines]


def _mask(line: str, masks: list[tuple[re.Pattern, str]]) -> str:
    for pattern, mask in masks:
        line = pattern.sub(mask, line)
    return line


def align(shown: list[str], came: list[str], within: bool = False) -> list[tuple[int, int]] | None:
    """Which line that is shown stands for which that came; None if they differ.

    A line `...` stands for any lines; with `within`, `...` in a line stands for any text.
    """
    segments: list[list[int]] = [[]]
    for at, line in enumerate(shown):
        segments.append([]) if line.strip() == "..." else segments[-1].append(at)

    def fits(segment: list[int], start: int) -> bool:
        return start + len(segment) <= len(came) and all(
            _same(shown[at], came[start + n], within) for n, at in enumerate(segment)
        )

    first, *others = segments
    if not fits(first, 0) or (not others and len(first) != len(came)):
        return None
    pairs, start = list(zip(first, range(len(first)), strict=True)), len(first)
    for number, segment in enumerate(others, 1):
        is_last = number == len(others)
        begin = max(start, len(came) - len(segment)) if is_last else start
        found = next((at for at in range(begin, len(came) + 1) if fits(segment, at)), None)
        if found is None:
            return None
        pairs += zip(segment, range(found, found + len(segment)), strict=True)
        start = found + len(segment)
    return pairs


def _same(shown: str, came: str, within: bool) -> bool:
    if not within or "..." not in shown:
        return shown == came
    return re.fullmatch(".*".join(map(re.escape, shown.split("..."))), came) is not None


class OtherTask(Exception):
    """An id that is shown for two tasks, or a task for which two are shown."""


@dataclass
class Names:
    """Which id or handle that came each one that is shown stands for."""

    known: dict[str, str] = field(default_factory=dict)
    # What was shown for each that came; ids are unique in their queue only.
    _shown: dict[tuple[str, str], str] = field(default_factory=dict)

    def forget(self) -> None:
        """Nothing that was shown stands for anything."""
        self.known.clear()
        self._shown.clear()

    def in_place(self, text: str) -> str:
        """A text with the ids that came in place of those that are shown."""
        return TOKENS.sub(lambda found: self.known.get(found[0], found[0]), text)

    def learn(self, shown: str, came: str, queue: str | None = None) -> None:
        """Learn from a line that is shown and the one that came, of a queue if that is known."""
        for one, other in zip(TOKENS.findall(shown), TOKENS.findall(came), strict=False):
            self._learn(one, other, queue)
            # The id in a handle.
            for part, real in zip(PARTS.findall(one), PARTS.findall(other), strict=True):
                self._learn(part, real, queue)

    def _learn(self, shown: str, came: str, queue: str | None) -> None:
        if self.known.setdefault(shown, came) != came:
            raise OtherTask(f"{shown} was shown for {self.known[shown]} before, and stands for {came} here")
        if queue and self._shown.setdefault((queue, came), shown) != shown:
            raise OtherTask(f"{shown} is the same as {self._shown[queue, came]}, which was shown before")
