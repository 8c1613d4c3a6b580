"""What a check found."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..overview.attention import Severity

# What versions and addresses are made of.
PLAIN = re.compile(r"[\w.:\[\]/@%-]+", re.ASCII)


@dataclass(frozen=True)
class Finding:
    """Something wrong with a server: how soon to act, a name for programs, what it is, why it matters, what mends it.

    `node` is the address of the server, empty if it concerns all of them.
    """

    severity: Severity
    name: str
    node: str
    what: str
    why: str
    mend: str


def typed(text: str) -> str:
    """A version or an address that a server gave, in a command to type; a dash if it would be more than one word."""
    return text if PLAIN.fullmatch(text) else "–"


def set_to(name: str, value: str) -> str:
    """How to change a setting now, and for the next start."""
    return f"CONFIG SET {name} {value}, and `{name} {value}` in redis.conf"


def in_file(name: str, value: str) -> str:
    """How to change a setting that takes a restart."""
    return f"`{name} {value}` in redis.conf, and restart the server"
