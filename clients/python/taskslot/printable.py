"""Text that can't control a terminal or look like another line: unprintable characters are escaped."""

from __future__ import annotations


def printable(text: str, keep: str = "") -> str:
    """The text with its unprintable characters, such as newlines, escaped; without those in `keep`."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in keep else escaped(letter) for letter in text)


def escaped(letter: str) -> str:
    """A character as Python's escape sequence."""
    return letter.encode("unicode_escape").decode()


def shortened(text: str, width: int) -> str:
    """The text, cut to at most `width` characters."""
    return text if len(text) <= width else text[: width - 1] + "…"
