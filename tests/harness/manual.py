"""The manual of the commands, docs/commands.md, as data: what a command can reply, and what it replicates."""

import re
from dataclasses import dataclass
from functools import cache

from harness.server import ROOT

# Any command's, and not in the list of each.
EVERYWHERE = ["ERR wrong number of arguments for '<command>' command"]


@dataclass
class Manual:
    """One command's part of it."""

    synopsis: str
    summary: str
    complexity: str
    replies: str
    replicates: str
    errors: list[str]

    def documented(self, error: str) -> str | None:
        """The text that an error is documented by: the one that says most of it."""
        texts = sorted(self.errors + EVERYWHERE, key=len, reverse=True)
        return next((text for text in texts if pattern(text).fullmatch(error)), None)


@cache
def pattern(text: str) -> re.Pattern:
    """What an error with this text looks like, where `<word>` stands for anything."""
    return re.compile(".*".join(map(re.escape, re.split(r"<[\w ]+>", text))), re.I)


@cache
def manuals() -> dict[str, Manual]:
    """All of it, by the commands' names."""
    page = (ROOT / "docs/commands.md").read_text()
    shared = dict(re.findall(r"^\| ([a-z ]+) \| `(.*?)` \| .*\. \|$", page, flags=re.M))
    sections = re.split(r"^## (?=TASK\.)", page, flags=re.M)[1:]
    return dict(_read(section, shared) for section in sections)


def rows() -> list[tuple[str, str, str, str]]:
    """The table of the commands: each one's name, anchor, summary and reply."""
    page = (ROOT / "docs/commands.md").read_text()
    return re.findall(r"^\| \[(TASK\.\w+)\]\(#(\w+)\) \| (.*)\. \| (.*)\. \|$", page, flags=re.M)


def _read(section: str, shared: dict[str, str]) -> tuple[str, Manual]:
    """One section: its name and what it says; with the texts of the errors that it shares with others."""
    form = (
        r"(?P<name>\S+)\n\n```text\n(?P<synopsis>.*)\n```\n\n(?P<summary>.*)\.\n\n"
        r"(?:\*\*Arguments\*\*\n\n(?:(?:  )*- `[^`]+`: .*\.\n)+\n)?"
        r"\*\*Reply:\*\* (?P<replies>.*)\.\n\n\*\*Complexity:\*\* (?P<complexity>O\(.*)\.\n\n"
        r"\*\*Replicated:\*\* (?P<replicates>.*)\.\n"
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
