"""Reads a page of Markdown: code blocks with their directives, headings and links. Collects errors of form."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

# The languages of code blocks. README.md describes what the test does with each.
RUN = {"redis", "python", "js", "console", "sh", "conf"}
PARSED = {"json", "toml", "yaml", "ts"}
LANGUAGES = RUN | PARSED | {"text"}

# The directives, and whether each needs a text.
DIRECTIVES = {
    "fresh": False,
    "before": True,
    "meanwhile": True,
    "wait": True,
    "numbers": False,
    "background": False,
    "from": True,
    "skip": True,
}
COMMENT = re.compile(r"<!--\s*test:\s*([\w-]*)\s*(.*?)\s*-->", re.S)
# A prompt. A `text` block must not contain one.
SESSION = re.compile(r"^\s*(127\.0\.0\.1:\d+> |\$ |>>> )", re.M)
# The first line of a block that names a file.
# Only files below the page's own folder: no absolute path, and no way up.
FILE_NAME = re.compile(r"(?:#|//) (?!/|.*\.\.)([\w./-]+\.(?:py|mjs|js))")


@dataclass(frozen=True)
class Problem:
    """An error on a page."""

    page: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.what}"


@dataclass
class Block:
    """A code block. `line` is the number of its first line of code."""

    line: int
    language: str
    lines: list[str]
    directives: list[tuple[str, str]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All lines of the block, as one text."""
        return "".join(f"{line}\n" for line in self.lines)

    @property
    def file(self) -> str | None:
        """The file to write the block to, if its first line is a comment with a file name."""
        named = FILE_NAME.fullmatch(self.lines[0].strip()) if self.lines else None
        return named[1] if named and self.language in ("python", "js") else None

    def has(self, directive: str) -> bool:
        """Returns whether the block has a directive."""
        return any(name == directive for name, _ in self.directives)

    def texts(self, directive: str) -> list[str]:
        """Returns the lines of all directives with this name."""
        return [line for name, text in self.directives if name == directive for line in text.splitlines()]

    def one(self, directive: str) -> str:
        """Returns the text of a directive. Empty if the block doesn't have it."""
        return "\n".join(self.texts(directive))


@dataclass(frozen=True)
class Link:
    """A link or a picture, with the line of the paragraph that it is in."""

    line: int
    target: str


@dataclass
class Page:
    """A page; `name` is its path in the tree."""

    name: str
    blocks: list[Block] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    links: list[Link] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def wrong(self, line: int, what: str) -> None:
        """Add an error."""
        self.problems.append(Problem(self.name, line, what))


def read_page(root: Path, name: str) -> Page:
    """Read a page of a tree."""
    return parse(name, (root / name).read_text())


def parse(name: str, text: str) -> Page:
    """Read the text of a page."""
    return _Parser(name).parse(text)


def slug(heading: str) -> str:
    """Returns GitHub's anchor for a heading: lower case, no punctuation, a hyphen for each space."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


class _Parser:
    def __init__(self, name: str):
        self.page = Page(name)
        # The directives above the next block: line, name, text.
        self._pending: list[tuple[int, str, str]] = []
        self._slugs: Counter[str] = Counter()

    def parse(self, text: str) -> Page:
        tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
        line = 1
        for before, token in zip([None, *tokens], tokens, strict=False):
            line = token.map[0] + 1 if token.map else line
            if token.type == "html_block":
                self._html_block(token, line)
                continue
            if token.type == "fence":
                self._fence(token, line)
            self._no_pending()
            if token.type == "code_block":
                self.page.wrong(line, "an indented code block: use a fence with a language")
            elif token.type == "inline":
                self._inline(token, line)
                if before.type == "heading_open":
                    self._heading(token)
        self._no_pending()
        return self.page

    def _no_pending(self) -> None:
        for line, name, _ in self._pending:
            self.page.wrong(line, f"the directive '{name}' is not directly above a code block")
        self._pending = []

    def _html_block(self, token: Token, line: int) -> None:
        found = COMMENT.search(token.content)
        if not found:
            self._no_pending()
            self._html(token.content, line)
            return
        name, text = found[1], found[2]
        if name not in DIRECTIVES:
            self.page.wrong(line, f"unknown directive '{name}', expected one of: {', '.join(DIRECTIVES)}")
        elif DIRECTIVES[name] != bool(text):
            self.page.wrong(line, f"the directive '{name}' {'needs a text' if not text else 'takes no text'}")
        self._pending.append((line, name, text))

    def _fence(self, token: Token, line: int) -> None:
        language = token.info.split()[0] if token.info.strip() else ""
        directives = [(name, text) for _, name, text in self._pending]
        self._pending = []
        block = Block(line + 1, language, token.content.splitlines(), directives)
        self.page.blocks.append(block)
        if language == "text" and not block.has("skip") and SESSION.search(token.content):
            self.page.wrong(
                line, "a session that isn't run: use `redis` or `console`, or `skip` with a reason"
            )
        if language not in LANGUAGES and not block.has("skip"):
            known = ", ".join(sorted(LANGUAGES))
            what = f"unknown language '{language}'" if language else "a code block without a language"
            self.page.wrong(line, f"{what}, expected one of: {known}")

    def _heading(self, token: Token) -> None:
        texts = [child.content for child in token.children if child.type in ("text", "code_inline")]
        anchor = slug("".join(texts))
        seen = self._slugs[anchor]
        self._slugs[anchor] += 1
        self.page.anchors.add(f"{anchor}-{seen}" if seen else anchor)

    def _inline(self, token: Token, line: int) -> None:
        for child in token.children or []:
            match child.type:
                case "link_open":
                    self.page.links.append(Link(line, child.attrs["href"]))
                case "image":
                    self.page.links.append(Link(line, child.attrs["src"]))
                case "html_inline" if COMMENT.match(child.content):
                    self.page.wrong(
                        line, "a directive within a paragraph: put it directly above a code block"
                    )
                case "html_inline":
                    self._html(child.content, line)
                case "text" if found := re.search(r"\]\[[^\]]*\]", child.content):
                    self.page.wrong(line, f"a link to a reference that isn't defined: {found[0]}")

    def _html(self, text: str, line: int) -> None:
        tags = _Tags()
        tags.feed(text)
        self.page.links += [Link(line, target) for target in tags.targets]
        self.page.anchors |= tags.anchors


class _Tags(HTMLParser):
    """The links, pictures and anchors of a piece of HTML."""

    def __init__(self):
        super().__init__()
        self.targets: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src", "srcset") and value:
                self.targets.append(value.split()[0])
            elif name == "id" or (tag, name) == ("a", "name"):
                self.anchors.add(value or "")
