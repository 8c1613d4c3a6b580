"""Formats payloads and tables for people."""

from __future__ import annotations

from collections.abc import Sequence

from ..printable import printable


def payload(data: bytes) -> str:
    """Bytes as one line of text. Anything but printable UTF-8 is escaped, so that it can't control the terminal."""
    return printable(data.decode("utf-8", "backslashreplace"))


def columns(rows: Sequence[tuple[str, ...]], right: frozenset[int] = frozenset()) -> list[str]:
    """Rows as aligned lines, with two spaces between columns. The columns in `right` are aligned to the right."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))] if rows else []
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
