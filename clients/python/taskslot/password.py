"""Reads a password from the environment or from a file. It is never an argument: every user of a machine sees those."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "TASKSLOT_PASSWORD"
# A password is short. A mistyped path can name anything.
MAX_BYTES = 4096


def of_environment(variable: str = VARIABLE) -> bytes | None:
    """The password in a variable; None if it is not set. Raises ValueError if it is empty."""
    text = os.environ.get(variable)
    return None if text is None else checked(os.fsencode(text), variable)


def of_file(path: Path) -> bytes:
    """The only line of a file. Raises OSError, and ValueError for any other content."""
    with open(path, "rb") as file:
        content = file.read(MAX_BYTES + 2)
    return checked(content.removesuffix(b"\n").removesuffix(b"\r"), str(path))


def checked(secret: bytes, origin: str) -> bytes:
    """A password that a server and a URL can carry. Raises ValueError, which does not show it."""
    if not secret:
        raise ValueError(f"the password in {origin} is empty")
    if len(secret) > MAX_BYTES or b"\n" in secret or b"\0" in secret:
        raise ValueError(f"{origin} must be one line of at most {MAX_BYTES} bytes")
    return secret
