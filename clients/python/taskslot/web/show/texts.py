"""Texts that others wrote, made safe to show: control and direction characters are escaped, long texts are cut."""

from __future__ import annotations

import re

from ...printable import printable

# What stands for a byte that is not UTF-8 (`keys.key_text`).
STRAY = re.compile("[\udc80-\udcff]")
# The letters of a text that a page shows without being asked for more.
MOST_LETTERS = 2000


def legible(text: str) -> str:
    """A text with its unprintable characters escaped, apart from line ends and tabs; its stray bytes as `\\xff`."""
    if text.isprintable():
        return text
    return printable(STRAY.sub(lambda found: f"\\x{ord(found[0]) - 0xDC00:02x}", text), keep="\n\t")


def cut(text: str, letters: int = MOST_LETTERS) -> str:
    """A text of at most this many letters. If it is longer, its size is said."""
    return text if len(text) <= letters else f"{text[:letters]}… ({len(text):,} letters in all)"
