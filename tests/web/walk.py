"""Walks through all pages, and looks at each: for attacks that worked, and for what some people could not use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from harness.browser import NARROW, WIDE, Tab
from playwright.sync_api import Error, Page

from .hostile import ATTACK, UNSEEN

# Parameters whose values are views of their own. For the others, one value stands for all.
CHOICES = {"state", "section", "order", "span"}
# More kinds of pages than there are.
MOST = 80
LINKS = "[...document.querySelectorAll('a[href]:not([download])')].map(link => link.href)"
OPEN_ALL = "document.querySelectorAll('details').forEach(one => { one.open = true })"
ACCESSIBLE = Path(__file__).with_name("accessible.js").read_text()
# What the page has if an attack became markup.
MADE = """() => [...document.querySelectorAll('*')].filter(element =>
  (element.localName === 'script' && !element.src)
  || (element.localName === 'img' && element.getAttribute('src') === 'x')
  || [...element.attributes].some(({ name, value }) => name.startsWith('on') || /^\\s*javascript:/i.test(value))
).map(element => element.outerHTML.slice(0, 200))"""
# What changes something, and the way to the right to do so.
CHANGES = "form[method=post], input[type=checkbox], a[href*=sign-in]"


@dataclass(frozen=True)
class Seen:
    """What was found on a page: complaints, all of its text, and how many controls it has that change something."""

    path: str
    complaints: list[str]
    text: str
    changes: int

    def has(self, mark: str) -> bool:
        """Whether the attack with this mark is there as text."""
        return f"{mark} {ATTACK[:20]}" in self.text


def walk(tab: Tab, *starts: str) -> list[Seen]:
    """Look at each of these pages, and at each kind of page that links from them reach, with everything unfolded.

    Each page is looked at as on a desk in light and dark, and as on a phone.
    """
    return [look(path, page) for path, page in pages(tab, starts)]


def look(path: str, page: Page) -> Seen:
    """Look at one page."""
    text = page.evaluate("document.documentElement.textContent")
    complaints = [f"attack: {made}" for made in page.evaluate(MADE)]
    complaints += [f"raw {letter!a}" for letter in UNSEEN if not letter.isprintable() and letter in text]
    for scheme, (width, height) in (("light", WIDE), ("dark", WIDE), ("light", NARROW)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": height})
        complaints += [f"{scheme}, {width}: {wrong}" for wrong in page.evaluate(ACCESSIBLE)]
    return Seen(path, complaints, text, page.locator(CHANGES).count())


def pages(tab: Tab, starts: tuple[str, ...]) -> Iterator[tuple[str, Page]]:
    """The pages of a walk. Fails if one is an error."""
    waiting = [f"{tab.origin}{start}" for start in starts]
    seen = {kind_of(url) for url in waiting}
    while waiting:
        url = waiting.pop(0)
        answer = opened(tab.page, url)
        if answer is None or "text/html" not in answer:
            continue
        tab.page.evaluate(OPEN_ALL)
        links = tab.page.evaluate(LINKS)
        yield url.removeprefix(tab.origin), tab.page
        for link in links:
            if link.startswith(tab.origin) and kind_of(link) not in seen:
                seen.add(kind_of(link))
                waiting.append(link.partition("#")[0])
        assert len(seen) < MOST, "there are more pages than expected"


def opened(page: Page, url: str) -> str | None:
    """Open a page, and return its type; None for a file to download."""
    try:
        answer = page.goto(url, wait_until="load")
    except Error as error:
        if "Download is starting" in error.message:
            return None
        raise
    assert answer is not None and answer.status == 200, f"{url}: {answer and answer.status}"
    return answer.headers["content-type"]


def kind_of(url: str) -> tuple[str, frozenset[tuple[str, str]]]:
    """What distinguishes a page from others of its kind."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True, errors="surrogateescape")
    return parts.path, frozenset((name, value if name in CHOICES else "") for name, value in query)
