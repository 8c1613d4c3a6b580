"""The manual of the commands, docs/commands.md, as data: what a command may reply, and what it replicates."""

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
    _, *sections = re.split(r"^## ", (ROOT / "docs/commands.md").read_text(), flags=re.M)
    return dict(map(_read, sections))


def _read(section: str) -> tuple[str, Manual]:
    """One section: its name and what it says."""
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
