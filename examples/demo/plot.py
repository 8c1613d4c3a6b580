"""A run as a picture: throughput and backlog over time, the faults marked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from io import StringIO
from pathlib import Path
from textwrap import fill

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from account import Account  # noqa: E402
from books import Books, shard_of  # noqa: E402

SLOT_RANGES = 3
COLOURS = ("#4c8bf5", "#f5a142", "#4caf6d")
BIN_S = 0.5

# Text stays text in an SVG, and the same run gives the same bytes.
matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "taskslot"})
# What an SVG adds to matplotlib's output: a system font, a border, and colours for readers who prefer dark.
STYLE = """
text{font-family:system-ui,-apple-system,'Segoe UI','Noto Sans',Helvetica,Arial,sans-serif!important}
#patch_1 path{stroke:#d0d7de}
@media(prefers-color-scheme:dark){
text{fill:#e6edf3}
#patch_1 path{stroke:#30363d}
path[style*="fill: #ffffff"]{fill:#0d1117!important}
[style*="stroke: #000000"]{stroke:#e6edf3!important}
[style*="stroke: #c62828"]{stroke:#ff7b72!important}
[style*="stroke: #7b3fa0"]{stroke:#d2a8ff!important}
}
"""


def plot(account: Account, title: str, path: Path) -> None:
    """Draw the run into a file, a PNG or an SVG by its name."""
    books = account.books
    began = next(event["t"] for event in books.events if event["what"] == "began")
    ended = max((t for t, _ in books.answers.values()), default=began + 1)
    edges = np.arange(0, ended - began + 2 * BIN_S, BIN_S)
    figure, (flow, backlog) = plt.subplots(2, 1, sharex=True, figsize=(9.4, 7), height_ratios=(3, 2))
    draw_flow(flow, books, began, edges)
    draw_backlog(backlog, books, began)
    marks = [event for event in books.events if event.get("mark")]
    mark_faults((flow, backlog), books, began, marks)
    backlog.set_xlim(0, edges[-1])
    figure.suptitle(title, fontsize=13, fontweight="bold", x=0.06, ha="left")
    caption = "\n".join(fill(f"{m['mark']}  at {m['t'] - began:.1f} s: {m['text']}", 130) for m in marks)
    caption += "\ngrey: one third of the slots has no primary, or its primary cannot reach the replica"
    figure.text(0.06, 0.015, caption, fontsize=9, va="bottom", linespacing=1.4)
    lines = caption.count("\n") + 1
    figure.subplots_adjust(left=0.08, right=0.97, top=0.9, bottom=0.11 + 0.024 * lines, hspace=0.12)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".svg":
        path.write_text(svg(figure, title, caption))
    else:
        figure.savefig(path, dpi=130)
    plt.close(figure)


def svg(figure, title: str, description: str) -> str:
    """A figure as an SVG that reads well in light and in dark."""
    file = StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    head = f"<title>{escape(title)}</title><desc>{escape(description)}</desc><style>{STYLE}</style>"
    # Two decimals of a point are enough, and make the file smaller.
    text = re.sub(r"(\d+\.\d\d)\d+", r"\1", file.getvalue())
    return text[text.index("<svg") :].replace(" <defs>", f" {head}\n <defs>", 1)


def names(books: Books) -> list[str]:
    """The names of the slot ranges in the legend: the first node of each, and the nodes that took over."""
    return ["node " + " → ".join(map(str, books.nodes[slot_range])) for slot_range in range(SLOT_RANGES)]


def per_second(times: Iterable[float], edges: np.ndarray) -> np.ndarray:
    """How many instants lie in each bin, as a rate."""
    return np.histogram(np.fromiter(times, float), edges)[0] / BIN_S


def draw_flow(axes, books: Books, began: float, edges: np.ndarray) -> None:
    """Completions a second stacked by node, and pushes a second over them."""
    done: list[list[float]] = [[] for _ in range(SLOT_RANGES)]
    for handle, (t, answer) in books.answers.items():
        if answer == "done":
            done[books.slot_range_of(shard_of(handle), t)].append(t - began)
    middles = (edges[:-1] + edges[1:]) / 2
    stacked = [per_second(times, edges) for times in done]
    labels = [f"done on {name}" for name in names(books)]
    axes.stackplot(middles, stacked, labels=labels, colors=COLOURS, alpha=0.75)
    pushed = per_second((t - began for t, _ in books.pushed.values()), edges)
    axes.plot(middles, pushed, color="black", linewidth=1.6, label="pushed")
    axes.set_ylabel("tasks per second")
    axes.set_ylim(0, 1.3 * max(pushed.max(), sum(stacked).max(), 1))
    explain(axes)
    axes.grid(alpha=0.3)


def draw_backlog(axes, books: Books, began: float) -> None:
    """Ready tasks by node, and those that are leased, as they were seen."""
    times = [sample["t"] - began for sample in books.samples]
    ready = [[sample["ready"][slot_range] for sample in books.samples] for slot_range in range(SLOT_RANGES)]
    axes.stackplot(
        times, ready, labels=[f"ready on {name}" for name in names(books)], colors=COLOURS, alpha=0.75
    )
    leased = [sum(sample["leased"]) for sample in books.samples]
    axes.plot(times, leased, color="#7b3fa0", linewidth=1.2, label="leased, all nodes")
    highest = max([sum(sample["ready"]) for sample in books.samples] + leased + [1])
    axes.set_ylim(0, 1.35 * highest)
    axes.set_ylabel("backlog (tasks)")
    axes.set_xlabel("seconds since the start of the load")
    explain(axes)
    axes.grid(alpha=0.3)


def explain(axes) -> None:
    """A legend on white, so that no line runs through it."""
    legend = axes.legend(
        loc="upper left", ncols=5, fontsize=9, framealpha=1, edgecolor="none", borderaxespad=0.3
    )
    legend.set_zorder(10)


def mark_faults(both, books: Books, began: float, marks: list[dict]) -> None:
    """A numbered line at each fault; the span without a primary in grey."""
    for failover in books.failovers:
        for axes in both:
            axes.axvspan(
                failover.cut - began, failover.promoted - began, color="grey", alpha=0.18, linewidth=0
            )
    for mark in marks:
        for axes in both:
            axes.axvline(mark["t"] - began, color="#c62828", linestyle="--", linewidth=1)
        both[0].annotate(
            str(mark["mark"]), (mark["t"] - began, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 8),
            textcoords="offset points", ha="center", va="center", fontsize=10, fontweight="bold", color="white",
            bbox={"boxstyle": "circle,pad=0.25", "facecolor": "#c62828", "edgecolor": "none"},
        )  # fmt: skip
