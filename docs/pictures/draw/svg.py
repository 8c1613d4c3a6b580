"""A small canvas for SVG pictures that work in light and in dark.

Colours are CSS classes, with a second set for `prefers-color-scheme: dark`. Text is stored as text, not as outlines.
The output contains no time and no random name, so the same picture always gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape

SANS = "system-ui,-apple-system,'Segoe UI','Noto Sans',Helvetica,Arial,sans-serif"
MONO = "ui-monospace,SFMono-Regular,Menlo,Consolas,'Liberation Mono',monospace"

# Each colour for light and for dark. A hue has two names: one for lines and text, and one with `-soft` for areas.
COLOURS = {
    "paper": ("#ffffff", "#0d1117"),
    "border": ("#d0d7de", "#30363d"),
    "ink": ("#1f2328", "#e6edf3"),
    "muted": ("#59636e", "#9198a1"),
    "faint": ("#f6f8fa", "#161b22"),
    "blue": ("#0969da", "#58a6ff"),
    "blue-soft": ("#ddf4ff", "#0c2547"),
    "amber": ("#9a6700", "#d29922"),
    "amber-soft": ("#fff8c5", "#2f2407"),
    "purple": ("#8250df", "#bc8cff"),
    "purple-soft": ("#f4ebff", "#271a45"),
    "green": ("#1a7f37", "#3fb950"),
    "green-soft": ("#dafbe1", "#0d2818"),
    "red": ("#cf222e", "#ff7b72"),
    "red-soft": ("#ffebe9", "#3a1517"),
}

# Rules that are the same in light and in dark.
SHAPES = (
    f"text{{font-family:{SANS};font-size:14px}}"
    f".mono{{font-family:{MONO};font-size:13px;font-weight:600}}"
    ".small{font-size:12.5px}.tiny{font-size:11.5px}.bold{font-weight:600}.title{font-size:17px;font-weight:600}"
    ".middle{text-anchor:middle}.end{text-anchor:end}"
    ".line{fill:none;stroke-width:1.6}.dashed{stroke-dasharray:5 4}"
    ".halo{paint-order:stroke;stroke-width:5px;stroke-linejoin:round}"
)


def rules(dark: bool, names: Iterable[str]) -> str:
    """Returns the CSS rules of some colours: `.f-NAME` sets the fill, `.s-NAME` the stroke."""
    parts = []
    for name in names:
        colour = COLOURS[name][dark]
        parts.append(f".f-{name}{{fill:{colour}}}.s-{name}{{stroke:{colour}}}")
    return "".join(parts) + f".halo{{stroke:{COLOURS['paper'][dark]}}}"


@dataclass
class Picture:
    """A picture, drawn as a card with a thin border. Sizes and coordinates are in pixels.

    `left` is how much of the width lies left of the coordinate 0.
    """

    width: int
    height: int
    title: str
    description: str
    parts: list[str] = field(default_factory=list)
    left: int = 0

    def rect(
        self, x: float, y: float, width: float, height: float, classes: str, radius: float = 0, more: str = ""
    ) -> None:
        """Add a rectangle. `x` and `y` are its top left corner, `more` is more attributes."""
        rounded = f' rx="{number(radius)}"' if radius else ""
        place = f'x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}"'
        self.parts.append(f'<rect {place}{rounded} class="{classes}"{more}/>')

    def circle(self, x: float, y: float, radius: float, classes: str) -> None:
        """Add a filled circle."""
        place = f'cx="{number(x)}" cy="{number(y)}" r="{number(radius)}"'
        self.parts.append(f'<circle {place} class="{classes}"/>')

    def text(self, x: float, y: float, text: str, classes: str = "f-ink") -> None:
        """Add a line of text. `y` is its baseline."""
        place = f'x="{number(x)}" y="{number(y)}"'
        self.parts.append(f'<text {place} class="{classes}">{escape(text, quote=False)}</text>')

    def lines(
        self, x: float, y: float, texts: Iterable[str], classes: str = "f-ink", gap: float = 17
    ) -> None:
        """Add lines of text, `gap` pixels apart. `y` is the baseline of the first."""
        for at, text in enumerate(texts):
            self.text(x, y + at * gap, text, classes)

    def path(self, d: str, colour: str, classes: str = "", arrow: bool = True) -> None:
        """Add a line along the SVG path `d`, with an arrowhead at its end unless `arrow` is false."""
        end = f' marker-end="url(#to-{colour})"' if arrow else ""
        named = f"line s-{colour} {classes}".strip()
        self.parts.append(f'<path d="{d}" class="{named}"{end}/>')

    def svg(self) -> str:
        """Returns the text of the SVG file."""
        body = "\n".join(self.parts)
        arrows = "".join(
            f'<marker id="to-{name}" viewBox="0 0 10 10" refX="8.5" refY="5" markerWidth="7" markerHeight="7" '
            f'orient="auto-start-reverse"><path d="M0 0.8L10 5L0 9.2z" class="f-{name}"/></marker>'
            for name in COLOURS
            if f"#to-{name})" in body
        )
        used = [
            name
            for name in COLOURS
            if name in ("paper", "border")
            or any(f"{kind}-{name}{end}" in body + arrows for kind in "fs" for end in ('"', " "))
        ]
        style = f"{SHAPES}{rules(False, used)}@media(prefers-color-scheme:dark){{{rules(True, used)}}}"
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
            f'viewBox="{-self.left} 0 {self.width} {self.height}" role="img" aria-labelledby="title desc">\n'
            f'<title id="title">{escape(self.title, quote=False)}</title>\n'
            f'<desc id="desc">{escape(self.description, quote=False)}</desc>\n'
            f"<style>{style}</style>\n<defs>{arrows}</defs>\n"
            f'<rect x="{number(0.5 - self.left)}" y="0.5" width="{self.width - 1}" height="{self.height - 1}" rx="8" '
            f'class="f-paper s-border"/>\n{body}\n</svg>\n'
        )


def number(value: float) -> str:
    """Formats a coordinate, rounded to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")
