"""Compares the output that a page shows with the actual output. README.md lists what can differ."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

# Ids of sharded queues begin with a shard number, `5/…`. It is random.
ID = r"(?:\d{1,5}/)?\d{13}-\d+"
HANDLE = rf"{ID}@\d{{16}}-[0-9a-f]{{8}}"
TOKENS = re.compile(rf"{HANDLE}|{ID}")
PARTS = re.compile(rf"({ID})@")

# Replaced in each line, in this order.
MASKS = [
    (re.compile(HANDLE), "<handle>"),
    (re.compile(ID), "<id>"),
    (re.compile(r"\b[0-9a-f]{40}\b"), "<node>"),
    (re.compile(r"\b\d{10,}\b"), "<large>"),
    (re.compile(r'"\d+\.\d{3}"'), "<rate>"),
    (re.compile(r"\b\d+\.\d+\.\d+\b(?!\.)"), "<version>"),
]
# Also replaced in the output of programs.
OUTPUT_MASKS = [
    (re.compile(r"\b\d{4}-\d\d-\d\d\b"), "<date>"),
    (re.compile(r"\b\d\d:\d\d:\d\d(?:[.,]\d+)?"), "<time>"),
    (re.compile(r"\b\d+(?:\.\d+)? ?(?:µs|ms|s)\b"), "<span>"),
    (re.compile(r"─{2,}"), "──"),
    (re.compile(r" {2,}"), "  "),
]
NUMBER = re.compile(r"-?\b\d+(?:\.\d+)?(?:[kMG]\b)?")

# The name of a field, as redis-cli shows it. The next line has its value.
NAME = re.compile(r'"([a-z][a-z0-9-]*)"$')
VALUE = re.compile(r'(\(integer\) \d+|"\d+(?:\.\d+)?")$')
# Settings, which must match. Other fields with this suffix are measured durations.
SET_LENGTHS = {"lease-ms", "ttl-ms", "retain-ms"}
# A line of INFO.
INFO_LINE = re.compile(r"^(\w+_(?:ms|memory)):\d+$")


def is_measured(name: str) -> bool:
    """Returns whether the value of a field is measured, and so differs each time."""
    return name == "memory" or (name.endswith("-ms") and name not in SET_LENGTHS)


def masked_reply(lines: list[str], command: str = "") -> list[str]:
    """Replaces what differs each time in a reply, as redis-cli shows it."""
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
    """Replaces what differs each time in the output of a program."""
    return [_mask(line, MASKS + OUTPUT_MASKS).rstrip() for line in lines]


def without_numbers(lines: list[str]) -> list[str]:
    """Replaces all numbers."""
    return [NUMBER.sub("<number>", line) for line in lines]


def _mask(line: str, masks: list[tuple[re.Pattern, str]]) -> str:
    for pattern, mask in masks:
        line = pattern.sub(mask, line)
    return line


def align(shown: list[str], actual: list[str], within: bool = False) -> list[tuple[int, int]] | None:
    """Returns pairs of indices: a shown line and the actual line that matches it. None if the texts differ.

    A line `...` stands for any lines; with `within`, `...` in a line stands for any text.
    """
    segments: list[list[int]] = [[]]
    for at, line in enumerate(shown):
        segments.append([]) if line.strip() == "..." else segments[-1].append(at)

    def fits(segment: list[int], start: int) -> bool:
        return start + len(segment) <= len(actual) and all(
            _same(shown[at], actual[start + n], within) for n, at in enumerate(segment)
        )

    first, *others = segments
    if not fits(first, 0) or (not others and len(first) != len(actual)):
        return None
    pairs, start = list(zip(first, range(len(first)), strict=True)), len(first)
    for number, segment in enumerate(others, 1):
        is_last = number == len(others)
        begin = max(start, len(actual) - len(segment)) if is_last else start
        found = next((at for at in range(begin, len(actual) + 1) if fits(segment, at)), None)
        if found is None:
            return None
        pairs += zip(segment, range(found, found + len(segment)), strict=True)
        start = found + len(segment)
    return pairs


def _same(shown: str, actual: str, within: bool) -> bool:
    if not within or "..." not in shown:
        return shown == actual
    return re.fullmatch(".*".join(map(re.escape, shown.split("..."))), actual) is not None


class OtherTask(Exception):
    """The page shows one id for two tasks, or two ids for one task."""


@dataclass
class Names:
    """The actual id or handle for each one that the page shows."""

    known: dict[str, str] = field(default_factory=dict)
    # The other way round, by queue: ids are unique only within a queue.
    _shown: dict[tuple[str, str], str] = field(default_factory=dict)

    def forget(self) -> None:
        """Forget all ids."""
        self.known.clear()
        self._shown.clear()

    def in_place(self, text: str) -> str:
        """Replaces the ids that the page shows by the actual ones."""
        return TOKENS.sub(lambda found: self.known.get(found[0], found[0]), text)

    def learn(self, shown: str, actual: str, queue: str | None = None) -> None:
        """Learn the ids of a shown line and of the actual line. `queue` is the queue's key, if it is known."""
        for one, other in zip(TOKENS.findall(shown), TOKENS.findall(actual), strict=False):
            self._learn(one, other, queue)
            # The id in a handle.
            for part, real in zip(PARTS.findall(one), PARTS.findall(other), strict=True):
                self._learn(part, real, queue)

    def _learn(self, shown: str, actual: str, queue: str | None) -> None:
        if self.known.setdefault(shown, actual) != actual:
            raise OtherTask(f"{shown} stands for {self.known[shown]} above, and for {actual} here")
        if queue and self._shown.setdefault((queue, actual), shown) != shown:
            raise OtherTask(f"{shown} is the same task or lease as {self._shown[queue, actual]} above")
