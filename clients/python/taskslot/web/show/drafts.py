"""A form that was refused: what was typed into it is shown again, in the same form, with the reason beside it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from .form_values import written_instant

# Of a page's forms, the one that was refused has this.
MARK = 'id="refused"'


@dataclass
class Draft:
    """A form: its link, what was typed, and why it was refused. Without a link, it is none.

    A template calls `enter` and `leave` around each form, so that its fields find what was typed into this one.
    """

    url: str = ""
    typed: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    _is_here: bool = False

    def enter(self, url: str) -> bool:
        """Begin a form. Returns whether it is this one."""
        plain = url.unescape() if isinstance(url, Markup) else url
        self._is_here = bool(self.url) and plain == self.url
        return self._is_here

    def leave(self) -> str:
        """End the form."""
        self._is_here = False
        return ""

    def of(self, name: str, value: Any, kind: str = "text") -> Any:
        """What was typed into a field of the form that was entered; its usual value if there is nothing."""
        if not self._is_here or name not in self.typed:
            return value
        typed = self.typed[name].replace("\r\n", "\n")
        return written_instant(typed) if kind == "datetime-local" else typed
