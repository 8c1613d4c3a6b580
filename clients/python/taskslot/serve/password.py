"""The password of a server: from the environment, from a file, or made and kept in the data folder.

It is never an argument: every user of a machine can read those.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

VARIABLE = "TASKSLOT_PASSWORD"
FILE = "password"
# A password is short. A mistyped path can name anything.
MAX_BYTES = 4096


@dataclass(frozen=True)
class Password:
    """A password, and where it comes from: the path of a file, or None for the environment. It is not shown."""

    secret: bytes = field(repr=False)
    file: Path | None = None
    is_new: bool = False


def of_environment() -> Password | None:
    """The password in TASKSLOT_PASSWORD, which is then removed, so that programs started from here don't have it."""
    text = os.environ.pop(VARIABLE, None)
    return None if text is None else Password(checked(os.fsencode(text), VARIABLE))


def of_file(path: Path) -> Password:
    """The first line of a file. Raises OSError and ValueError."""
    with open(path, "rb") as file:
        content = file.read(MAX_BYTES + 1)
    return Password(checked(content.removesuffix(b"\n").removesuffix(b"\r"), str(path)), path)


def checked(secret: bytes, origin: str) -> bytes:
    """A password that a server and a URL can carry. Raises ValueError, which does not show it."""
    if not secret:
        raise ValueError(f"the password in {origin} is empty")
    if len(secret) > MAX_BYTES or b"\n" in secret or b"\0" in secret:
        raise ValueError(f"{origin} must be one line of at most {MAX_BYTES} bytes")
    return secret


def kept_in(folder: Path) -> Password | None:
    """The password that an earlier start made in this data folder."""
    path = folder / FILE
    return of_file(path) if path.exists() else None


def made_in(folder: Path) -> Password:
    """Make a password, and keep it in the data folder, for this user's eyes only."""
    path, secret = folder / FILE, secrets.token_urlsafe(24)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secret + "\n")
    return Password(secret.encode(), path, is_new=True)
