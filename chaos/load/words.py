"""Reads the words of a command as `chaos/fields.py` names them: what a client asked."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Asked = dict[str, Any]
UID = re.compile(r"uid:[\w./-]+:\d+")

# Options with one value: the name of the field, and how its value is read.
PUSH: dict[str, tuple[str, Callable[[str], Any]]] = {
    "DELAY": ("delay_ms", int),
    "AT": ("at_ms", int),
    "PRIORITY": ("priority", int),
    "ATTEMPTS": ("attempts", int),
    "LEASE": ("lease_ms", int),
    "GROUP": ("group", str),
    "TTL": ("ttl_ms", int),
    "RETAIN": ("retain_ms", int),
    "BATCH": ("batch", str),
    "ONDEAD": ("on_dead", str.lower),
    "REQUEST": ("request", str),
}
CLAIM: dict[str, tuple[str, Callable[[str], Any]]] = {
    "COUNT": ("count", int),
    "BYTES": ("bytes", int),
    "LEASE": ("lease_ms", int),
    "BLOCK": ("block_ms", int),
    "GATHER": ("gather_ms", int),
    "WORKER": ("worker", str),
    "GROUP": ("group", str),
    "REQUEST": ("request", str),
}
ANSWERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "RESULT": ("result", str),
    "RETAIN": ("retain_ms", int),
    "ERROR": ("error", str),
    "DELAY": ("delay_ms", int),
    "LEASE": ("lease_ms", int),
    "PROGRESS": ("progress", str),
}
GROUP: dict[str, tuple[str, Callable[[str], Any]]] = {
    "WEIGHT": ("weight", int),
    "CONCURRENCY": ("concurrency", int),
    "RATE": ("rate", int),
    "PER": ("per_ms", int),
    "ORDERED": ("ordered", lambda word: word.upper() == "YES"),
}
FLAGS = {"TIED", "NOACK", "WITHMETA", "DEAD", "BACK", "KEEP", "REPLACE", "POSTPONE"}


class Words:
    """The words of a command after its key, read from left to right."""

    def __init__(self, words: list[str]):
        self._words, self._at = words, 0

    def __bool__(self) -> bool:
        return self._at < len(self._words)

    def peek(self) -> str:
        """The next word in upper case; empty at the end."""
        return self._words[self._at].upper() if self else ""

    def next(self) -> str:
        """The next word."""
        self._at += 1
        return self._words[self._at - 1]

    def count(self, number: int) -> list[str]:
        """So many words."""
        return [self.next() for _ in range(number)]

    def rest(self) -> list[str]:
        """All words that are left."""
        return self.count(len(self._words) - self._at)

    def options(self, table: dict[str, tuple[str, Callable[[str], Any]]], into: Asked) -> bool:
        """Read one option with one value, or one without a value. False if the next word is neither."""
        word = self.peek()
        if word in table:
            self.next()
            name, read = table[word]
            into[name] = read(self.next())
        elif word in FLAGS:
            into[self.next().lower()] = True
        else:
            return False
        return True


def uid_of(payload: str) -> str | None:
    """The uid in a payload."""
    found = UID.search(payload)
    return found[0] if found else None


def uids(payloads: list[str]) -> list[str]:
    """The uids of payloads that the load has pushed; a payload without one stands for itself."""
    return [uid_of(payload) or payload for payload in payloads]


def push_options(words: Words, asked: Asked) -> Asked:
    """The options of PUSH and MPUSH, of the callback of a batch, and of the PUSH in an ACK."""
    while words:
        word = words.peek()
        if words.options(PUSH, asked):
            continue
        words.next()
        if word == "UNIQUE":
            asked["unique"] = words.next()
            unique_options(words, asked)
        elif word == "HEADERS":
            words.count(2 * int(words.next()))
        elif word == "AFTER":
            asked["after"] = words.count(int(words.next()))
        elif word == "TASKS":
            asked["uids"] = uids(words.count(int(words.next())))
        elif word == "PAYLOAD":
            asked["uids"] = uids([words.next()])
        else:
            raise ValueError(f"unknown option {word} of a push")
    return asked


def unique_options(words: Words, asked: Asked) -> None:
    """What comes directly after the token of UNIQUE."""
    if words.peek() == "UNTIL":
        words.count(2)
        asked["until_start"] = True
    elif words.peek() == "FOR":
        words.next()
        asked["for_ms"] = int(words.next())
    while words.peek() in ("KEEP", "REPLACE", "POSTPONE"):
        asked[words.next().lower()] = True
        if words.peek() == "UNTIL":
            words.count(2)


def handles(words: Words) -> list[str]:
    """One handle, or several after HANDLES."""
    if words.peek() != "HANDLES":
        return [words.next()]
    words.next()
    return words.count(int(words.next()))


def claim(words: Words, asked: Asked) -> Asked:
    """The options of CLAIM and MCLAIM."""
    while words:
        if not words.options(CLAIM, asked):
            raise ValueError(f"unknown option {words.peek()} of a claim")
    return asked


def answer(words: Words) -> Asked:
    """What ACK, FAIL, REQUEUE and EXTEND ask."""
    asked: Asked = {"handles": handles(words)}
    while words:
        if words.peek() == "PUSH":
            words.next()
            asked["push"] = push_options(words, {"uids": uids([words.next()])})
        elif not words.options(ANSWERS, asked):
            raise ValueError(f"unknown option {words.peek()} of an answer")
    return asked


def next_(words: Words) -> Asked:
    """What NEXT asks: an ACK, then a CLAIM."""
    asked: Asked = {"handles": handles(words)}
    while words.peek() in ("RESULT", "RETAIN"):
        words.options(ANSWERS, asked)
    return claim(words, asked)


def some(words: Words) -> Asked:
    """One id, several after IDS, or a token after UNIQUE."""
    first = words.peek()
    if first == "IDS":
        words.next()
        return {"ids": words.count(int(words.next()))}
    if first == "UNIQUE":
        words.next()
        return {"unique": words.next()}
    return {"ids": [words.next()]}


def settings(words: list[str]) -> Asked:
    """The settings of CONFIG SET by name: numbers as integers."""
    pairs = zip(words[::2], words[1::2], strict=True)
    return {name: int(value) if re.fullmatch(r"-?\d+", value) else value for name, value in pairs}
