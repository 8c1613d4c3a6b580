"""Draws the pictures of the benchmarks with matplotlib: an SVG for light and dark, or a PNG."""

from __future__ import annotations

import re
from html import escape
from io import StringIO
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from panels import Panel, Shown

# Text stays text in an SVG, and the same result gives the same file.
matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "taskslot", "font.size": 8})
INK, MUTED = "#1f2328", "#59636e"
# The colours of the phases, for taskslot and for others.
OURS, OTHERS = ("#66a3e8", "#0969da", "#4a8fdf"), ("#b3b9bf", "#8c959f", "#a4abb3")
# The same colours for readers who prefer dark.
DARK = {
    INK: "#e6edf3",
    MUTED: "#9198a1",
    **dict(zip(OURS, ("#2f6cb8", "#58a6ff", "#3f83d1"), strict=True)),
    **dict(zip(OTHERS, ("#4a5159", "#6e7681", "#596069"), strict=True)),
}
STYLE = (
    "text{font-family:system-ui,-apple-system,'Segoe UI','Noto Sans',Helvetica,Arial,sans-serif!important}"
    "#patch_1 path{stroke:#d0d7de}@media(prefers-color-scheme:dark){"
    '#patch_1 path{stroke:#30363d}[style*="fill: #ffffff"]{fill:#0d1117!important}'
    + "".join(f'[style*="fill: {light}"]{{fill:{dark}!important}}' for light, dark in DARK.items())
    + "}"
)


def draw(shown: Shown, path: Path) -> None:
    """Draw into a file, an SVG or a PNG by its name."""
    rows = max(1, *(len(panel.bars) for panel in shown.panels))
    # Inches: the title and the notes, and two rows of panels.
    height = 1.2 + 2 * (0.3 + 0.25 * rows)
    figure = Figure(figsize=(9.2, height), facecolor="#ffffff")
    figure.text(0.02, 1 - 0.24 / height, shown.title, fontsize=12, fontweight="bold", color=INK)
    longest: dict[str, float] = {}
    for panel in shown.panels:
        here = max((sum(bar.parts) for bar in panel.bars), default=1)
        longest[panel.unit] = max(here, longest.get(panel.unit, 0))
    for axes in figure.subplots(2, 3).flat:
        axes.axis("off")
    for axes, panel in zip(figure.axes, shown.panels, strict=False):
        bars(axes, panel, longest[panel.unit], rows)
    if shown.parts:
        legend(figure.axes[-1], shown.parts)
    for at, line in enumerate(shown.notes):
        figure.text(0.02, (0.42 - at * 0.16) / height, line, color=MUTED, fontsize=8)
    # The names stand left of the bars.
    longest_name = max((len(bar.name) for panel in shown.panels for bar in panel.bars), default=0)
    figure.subplots_adjust(
        left=0.03 + 0.0063 * longest_name,
        right=0.975,
        top=1 - 0.65 / height,
        bottom=0.6 / height,
        wspace=0.42,
        hspace=0.3,
    )
    if path.suffix == ".svg":
        path.write_text(svg(figure, shown))
    else:
        figure.savefig(path, dpi=150)


def legend(axes, parts: tuple[str, ...]) -> None:
    """Draw the names of the parts of a bar."""
    shades = [Patch(color=colour, label=part) for part, colour in zip(parts, OURS, strict=True)]
    axes.legend(handles=shades, loc="upper left", frameon=False, labelcolor=INK)


def bars(axes, panel: Panel, longest: float, rows: int) -> None:
    """Draw the bars of a panel, with names on the left, figures beside them, and ratios on the right."""
    axes.set_title(panel.heading, loc="left", fontsize=9, color=INK)
    axes.set_xlim(0, longest * 1.62)
    axes.set_ylim(rows - 0.5, -0.5)
    for row, bar in enumerate(panel.bars):
        weight, start = "bold" if bar.is_ours else "normal", 0.0
        # A bar without phases has the colour of the claim.
        colours = OURS if bar.is_ours else OTHERS
        for part, colour in zip(bar.parts, colours if len(bar.parts) > 1 else colours[1:], strict=False):
            axes.barh(row, part, left=start, height=0.66, color=colour)
            start += part
        gap = longest * 0.03
        axes.text(-gap, row, bar.name, ha="right", va="center", color=INK, fontweight=weight)
        axes.text(start + gap, row, bar.figure, ha="left", va="center", color=INK, fontweight=weight)
        axes.text(longest * 1.62, row, bar.ratio, ha="right", va="center", color=MUTED, fontweight=weight)


def svg(figure: Figure, shown: Shown) -> str:
    """The figure as an SVG with a description, and colours for light and dark."""
    file = StringIO()
    metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(file, format="svg", metadata=metadata)
    words = escape(shown.description(), quote=False)
    head = f"<title>{escape(shown.title, quote=False)}</title><desc>{words}</desc><style>{STYLE}</style>"
    # Two decimals of a point are enough.
    text = re.sub(r"(\d+\.\d\d)\d+", r"\1", file.getvalue())
    return text[text.index("<svg") :].replace(" <defs>", f" {head}\n <defs>", 1)
