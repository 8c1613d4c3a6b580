"""Small lines drawn by the server as SVG: how a figure went in the last ten minutes. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

WIDTH, HEIGHT = 60, 16


def sparkline(label: str, *lines: Sequence[float]) -> Markup:
    """An SVG of one line or two, on one scale that begins at 0. Empty if nothing is known, or if it was always 0.

    NaN is a gap. `label` is read aloud; all of the SVG is made of numbers, but for the label, which is escaped.
    """
    top = max((value for line in lines for value in line if not math.isnan(value)), default=0.0)
    if top <= 0:
        return Markup("")
    paths = [
        Markup('<path class="line-{}" d="{}"/>').format(number, path(line, top))
        for number, line in enumerate(lines, 1)
    ]
    return Markup(
        '<svg class="spark" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    ).format(WIDTH, HEIGHT, label, Markup("").join(paths))


def path(line: Sequence[float], top: float) -> str:
    """The line as the `d` of a path. It is lifted where there is a gap; one value alone is a dash."""
    across = (WIDTH - 1) / max(1, len(line) - 1)
    words: list[str] = []
    is_down = False
    for at, value in enumerate(line):
        if math.isnan(value):
            is_down = False
            continue
        x, y = at * across + 0.5, HEIGHT - 1 - (HEIGHT - 2) * value / top
        words.append(f"{'L' if is_down else 'M'}{short(x)} {short(y)}" + ("" if is_down else "h.1"))
        is_down = True
    return "".join(words)


def short(number: float) -> str:
    """A number with at most one decimal."""
    return f"{number:.1f}".removesuffix(".0")
