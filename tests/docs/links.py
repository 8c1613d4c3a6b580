"""Checks links: relative ones against files and headings, web addresses by their syntax."""

from __future__ import annotations

import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from docs.page import Page, Problem, read_page

# Sources, whose comments can name documents.
SOURCES = {".rs", ".py", ".c", ".sh", ".mjs", ".toml", ".conf", ".yml", ".txt"}
SOURCE_NAMES = {"Makefile", "run"}
CITED = re.compile(
    r"(?<![\w/.-])((?:docs/[\w/-]+|clients/[\w/-]+|tests/[\w/-]+|[A-Z]{4,})\.md)(?:#([\w-]+))?"
)


def tracked(root: Path) -> set[str]:
    """The files in git."""
    return set(subprocess.check_output(["git", "ls-files", "-z"], cwd=root, text=True).split("\0")) - {""}


def pages(root: Path) -> list[str]:
    """All pages: the Markdown files in git."""
    return sorted(name for name in tracked(root) if name.endswith(".md") and (root / name).exists())


@cache
def anchors(root: Path, name: str) -> set[str]:
    """The anchors of a page."""
    return read_page(root, name).anchors


def link_problems(page: Page, root: Path, files: set[str]) -> Iterator[Problem]:
    """Yields the dead links of a page. `files` are the files in git."""
    for link in page.links:
        why = dead(page, link.target, root, files)
        if why:
            yield Problem(page.name, link.line, f"{why}: {link.target}")


def dead(page: Page, target: str, root: Path, files: set[str]) -> str | None:
    """Returns why a link is dead, or None."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return "no web address"
    if parts.scheme == "mailto":
        return None if "@" in parts.path else "no mail address"
    if parts.scheme or parts.netloc:
        is_web = parts.scheme in ("http", "https") and re.fullmatch(r"[\w-]+(\.[\w-]+)+(:\d+)?", parts.netloc)
        return None if is_web and " " not in target else "no web address"
    if parts.path.startswith("/"):
        return "an absolute path"
    name = page.name
    if parts.path:
        joined = resolved(PurePosixPath(page.name).parent / unquote(parts.path))
        if joined is None:
            return "it leaves the tree"
        name = joined
        if name not in files and not any(file.startswith(f"{name}/") for file in files):
            return "no such file in git"
    if parts.fragment:
        if not name.endswith(".md"):
            return (
                None
                if re.fullmatch(r"L\d+(-L\d+)?", parts.fragment)
                else "an anchor in a file that is no page"
            )
        known = page.anchors if name == page.name else anchors(root, name)
        if unquote(parts.fragment) not in known:
            return f"no heading '{parts.fragment}' in {name}"
    return None


def resolved(path: PurePosixPath) -> str | None:
    """Resolves `..` in a path. None if the path leaves the tree."""
    parts: list[str] = []
    for part in path.parts:
        if part != "..":
            parts.append(part)
        elif parts:
            parts.pop()
        else:
            return None
    return "/".join(parts)


def reachable(root: Path, start: str) -> set[str]:
    """Returns the pages that links reach from a page, directly or over other pages."""
    found, new = set(), [start]
    while new:
        name = new.pop()
        if name in found or not (root / name).exists():
            continue
        found.add(name)
        for link in read_page(root, name).links:
            parts = urlsplit(link.target)
            target = (
                resolved(PurePosixPath(name).parent / parts.path) if parts.path and not parts.scheme else None
            )
            if target and target.endswith(".md"):
                new.append(target)
    return found


def citations(root: Path, files: set[str]) -> Iterator[tuple[str, int, str, str]]:
    """Yields the documents that source files name, each with file, line, document and anchor."""
    for name in sorted(files):
        path = root / name
        if re.fullmatch(r"tests/docs/test_\w+\.py", name):
            continue  # they have made-up pages
        if (path.suffix not in SOURCES and path.name not in SOURCE_NAMES) or not path.is_file():
            continue
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
            for found in CITED.finditer(line):
                yield name, number, found[1], found[2] or ""


def fetch(target: str) -> str | None:
    """Requests a web address. Returns an error, or None if it exists or is not a web address."""
    if not target.startswith(("http://", "https://")):
        return None
    request = urllib.request.Request(target, headers={"User-Agent": "taskslot-docs"})
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return None if reply.status < 400 else f"{reply.status}: {target}"
    except (urllib.error.URLError, TimeoutError) as error:
        return f"{error}: {target}"
