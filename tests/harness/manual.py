"""Reads docs/commands.md, the manual of the commands: what each command can reply, and what it replicates."""

import re
from dataclasses import dataclass
from functools import cache

from harness.server import ROOT

# Errors of all commands, which the sections don't list.
EVERYWHERE = ["ERR wrong number of arguments for '<command>' command"]


@dataclass
class Manual:
    """The section of one command."""

    synopsis: str
    summary: str
    complexity: str
    replies: str
    replicates: str
    errors: list[str]

    def documented(self, error: str) -> str | None:
        """The documented text that matches an error; of several, the longest."""
        texts = sorted(self.errors + EVERYWHERE, key=len, reverse=True)
        return next((text for text in texts if pattern(text).fullmatch(error)), None)


@cache
def pattern(text: str) -> re.Pattern:
    """A pattern for a documented text, in which `<word>` stands for anything."""
    return re.compile(".*".join(map(re.escape, re.split(r"<[\w ]+>", text))), re.I)


@cache
def manuals() -> dict[str, Manual]:
    """All sections, by the names of the commands."""
    _, *sections = re.split(r"^## ", (ROOT / "docs/commands.md").read_text(), flags=re.M)
    return dict(map(_read, sections))


def _read(section: str) -> tuple[str, Manual]:
    """Read one section. Returns its command's name and its contents."""
    form = (
        r"(?P<name>\S+)\n\n```\n(?P<synopsis>.*)\n```\n\n(?P<summary>.*)\. (?P<complexity>O\(.*)\.\n\n"
        r"- \*\*Replies\*\* (?P<replies>.*)\.\n- \*\*Replicates\*\* (?P<replicates>.*)\.\n"
        r"(?:- \*\*Errors\*\*\n)?(?P<errors>(?:  - `.*\n)*)\n?"
    )
    found = re.fullmatch(form, section)
    assert found, f"docs/commands.md has a section of another form: {section[:60]}"
    fields = found.groupdict()
    errors = re.findall(r"^  - `(.*?)`: .*\.$", fields.pop("errors"), flags=re.M)
    return fields.pop("name"), Manual(errors=errors, **fields)
