"""Hooks of MkDocs: they add pages from outside docs/, adapt links, and adapt the Markdown of git hosts.

The documents are written to be read on a git host, so their links are relative to files. Some of these files are pages
of the site under another name (`PAGES`). Any other file of the tree, such as a source file, has no page. A link to it
becomes plain text, or a link to the git host if mkdocs.yml has a `repo_url`. A link to a file that does not exist is an
error.
"""

from __future__ import annotations

import logging
import posixpath
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pygments.lexer import RegexLexer, bygroups
from pygments.lexers import LEXERS, _lexer_cache
from pygments.token import Error, Generic, Keyword, String, Text

ROOT = Path(__file__).resolve().parent.parent.parent
LOG = logging.getLogger("mkdocs.hooks.pages")

# Files outside docs/ that are pages, and their names on the site.
PAGES = {
    "README.md": "overview.md",
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "clients/python/README.md": "python.md",
    "clients/recipes/README.md": "other-clients.md",
}
SOURCES = {page: source for source, page in PAGES.items()}
# Pages that are tabs of their own, so the navigation at the side would be empty.
ALONE = ("index.md", "overview.md")

# A link or a picture. Its text can contain brackets.
LINK = re.compile(r"(?P<text>!?\[(?:[^\]\[]|\[[^\]\[]*\])*\])\((?P<target>[^()\s]+)\)")
FENCE = re.compile(r"^\s*(?:```|~~~)")
ITEM = re.compile(r"^(?P<indent> *)(?:[-*+]|\d+[.)]) ")


# ---- pages


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Replace folders in the navigation, such as `Decisions: decisions/`, by their pages."""

    def pages(folder: str) -> list[str]:
        names = [path.name for path in Path(config.docs_dir, folder).glob("*.md")]
        return [folder + name for name in sorted(names, key=lambda name: (name != "index.md", name))]

    def expanded(item: Any) -> Any:
        if isinstance(item, dict):
            return {name: expanded(one) for name, one in item.items()}
        if isinstance(item, list):
            return [expanded(one) for one in item]
        return pages(item) if item.endswith("/") else item

    config.nav = expanded(config.nav)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are stored outside docs/."""
    for source, page in PAGES.items():
        if (ROOT / source).is_file():
            files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Convert a page from the Markdown of git hosts to that of MkDocs."""
    uri = page.file.src_uri
    source = SOURCES.get(uri, f"docs/{uri}")
    if uri in ALONE:
        page.meta.setdefault("hide", ["navigation"])
    parts = groupby(marked(markdown), key=itemgetter(0))
    blocks = [(is_code, "\n".join(line for _, line in lines)) for is_code, lines in parts]
    blocks = [(is_code, text if is_code else relinked(text, source, uri, config)) for is_code, text in blocks]
    return "\n".join(indented(blocks))


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Refuse a page that loads anything from another host."""
    loads = Loads()
    loads.feed(output)
    if loads.external:
        raise PluginError(f"{page.file.src_uri} loads from another host: {loads.external[0]}")
    return output


class Loads(HTMLParser):
    """Finds what a browser would load from another host when it shows a page."""

    def __init__(self) -> None:
        super().__init__()
        self.external: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at the attributes that load. A link loads if it is a `<link>`, not if it is a `<a>`."""
        for name, value in attrs:
            loads = name in ("src", "srcset", "poster", "data") or (
                name == "href" and tag in ("link", "image", "use")
            )
            is_canonical = tag == "link" and ("rel", "canonical") in attrs
            if loads and not is_canonical and re.search(r"(?:^|[\s,])(?:https?:)?//", value or ""):
                self.external.append(f"<{tag} {name}={value}>")


# ---- Markdown


def marked(markdown: str) -> Iterator[tuple[bool, str]]:
    """Yields each line, and whether it is part of a fenced block."""
    in_fence = False
    for line in markdown.split("\n"):
        is_border = bool(FENCE.match(line))
        yield in_fence or is_border, line
        in_fence ^= is_border


def indented(blocks: list[tuple[bool, str]]) -> Iterator[str]:
    """Yields all lines, with lists indented for MkDocs: four spaces for each level instead of two or three."""
    in_list, was_blank = False, True
    for is_code, text in blocks:
        lines = text.split("\n")
        if is_code:
            yield from (f"{more(lines[0], in_list)}{line}" for line in lines)
            was_blank = False
            continue
        for line in lines:
            item = ITEM.match(line)
            if item and not item["indent"] and not in_list and not was_blank:
                yield ""
            if item:
                in_list = True
            elif was_blank and line and not line.startswith(" "):
                in_list = False
            was_blank = not line.strip()
            yield more(line, in_list) + line


def more(line: str, in_list: bool) -> str:
    """Returns the spaces to add to the indentation of a line of a list."""
    spaces = len(line) - len(line.lstrip(" "))
    return " " * (4 * (spaces // 2) - spaces) if in_list and spaces else ""


def relinked(text: str, source: str, uri: str, config: MkDocsConfig) -> str:
    """Returns the text with its links changed to those of the site."""

    def replace(link: re.Match[str]) -> str:
        target = site_target(link["target"], source, uri, config)
        if target is None:
            return link["text"].removeprefix("!")[1:-1]
        return f"{link['text']}({target})"

    return LINK.sub(replace, text)


def site_target(target: str, source: str, uri: str, config: MkDocsConfig) -> str | None:
    """Returns the target of a link on the site. None if the file is not a page."""
    path, _, anchor = target.partition("#")
    if not path or ":" in path:
        return target
    file = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    anchor = f"#{anchor}" if anchor else ""
    if file in PAGES:
        return relative(PAGES[file], uri) + anchor
    if file.startswith("docs/"):
        return relative(file.removeprefix("docs/"), uri) + anchor
    if not (ROOT / file).exists():
        LOG.warning("%s links to %s, which does not exist", source, target)
    return f"{config.repo_url.rstrip('/')}/blob/main/{file}{anchor}" if config.repo_url else None


def relative(page: str, uri: str) -> str:
    """Returns the relative path from the page `uri` to `page`."""
    return posixpath.relpath(page, posixpath.dirname(uri) or ".")


# ---- sessions


class RedisSession(RegexLexer):
    """Highlights a redis-cli session."""

    name, aliases = "redis-cli session", ["redis"]
    tokens = {
        "root": [
            (r"^([\w.]+:\d+(?:\[\d+\])?>)( +)(\S+)", bygroups(Generic.Prompt, Text, Keyword), "command"),
            (r"^\(error\).*", Error),
            (r'"(?:\\.|[^"\\])*"', String),
            (r"\((?:integer|nil|double|boolean)\)", Generic.Output),
            (r".", Generic.Output),
            (r"\n", Text),
        ],
        "command": [
            (r"\n", Text, "#pop"),
            (r'"(?:\\.|[^"\\])*"', String),
            (r".", Text),
        ],
    }


LEXERS["RedisSession"] = (__name__, RedisSession.name, tuple(RedisSession.aliases), (), ())
_lexer_cache[RedisSession.name] = RedisSession
