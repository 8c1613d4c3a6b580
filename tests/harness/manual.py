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
    page = (ROOT / "docs/commands.md").read_text()
    shared = dict(re.findall(r"^\| ([a-z ]+) \| `(.*?)` \| .*\. \|$", page, flags=re.M))
    sections = re.split(r"^## (?=TASK\.)", page, flags=re.M)[1:]
    return dict(_read(section, shared) for section in sections)


def rows() -> list[tuple[str, str, str]]:
    """The table of the commands: each one's name, anchor and summary."""
    page = (ROOT / "docs/commands.md").read_text()
    return re.findall(r"^\| \[(TASK\.\w+)\]\(#(\w+)\) \| (.*)\. \|$", page, flags=re.M)


def _read(section: str, shared: dict[str, str]) -> tuple[str, Manual]:
    """Read one section. `shared` has the texts of shared errors. Returns its command's name and its contents."""
    form = (
        r"(?P<name>\S+)\n\n```text\n(?P<synopsis>.*)\n```\n\n(?P<summary>.*)\.\n\n"
        r"(?:\*\*Explained in:\*\* .*\.\n\n)?"
        r"(?:\*\*Arguments\*\*\n\n(?:(?:  )*- `[^`]+`(?:, `[^`]+`)*: .*\.\n)+\n)?"
        r"\*\*Reply:\*\* (?P<replies>.*)\.\n\n\*\*Complexity:\*\* (?P<complexity>O\(.*)\.\n\n"
        r"\*\*Replicated:\*\* (?P<replicates>.*)\.\n\n"
        r"\*\*Since:\*\* \S+\. \*\*ACL categories:\*\* (?:`@\w+`(?:, )?)+\. \*\*Flags:\*\* (?:`[\w-]+`(?:, )?)+\.\n"
        r"(?:\n\*\*Errors\*\*\n\n(?P<errors>(?:- `.*\.\n)+))?"
        r"(?:\n\*\*\[Shared errors\]\(#shared-errors\):\*\* (?P<shared>.*)\.\n)?\n?"
    )
    found = re.fullmatch(form, section)
    assert found, f"docs/commands.md has a section of another form: {section[:60]}"
    fields = found.groupdict()
    errors = re.findall(r"^- `(.*?)`: .*\.$", fields.pop("errors") or "", flags=re.M)
    names = fields.pop("shared")
    errors += [shared[name] for name in names.split(", ")] if names else []
    return fields.pop("name"), Manual(errors=errors, **fields)
