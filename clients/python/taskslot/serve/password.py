"""The password of the server to start: given, or made and kept in its data folder."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from ..password import VARIABLE, of_environment, of_file

FILE = "password"


@dataclass(frozen=True)
class Password:
    """A password, and where it comes from: the path of a file, or None for the environment. It is not shown."""

    secret: bytes = field(repr=False)
    file: Path | None = None
    is_new: bool = False


def given(file: Path | None, make: bool) -> Password | None:
    """The password of the environment or of a file. Raises OSError, and ValueError if there are several.

    The variable is removed, so that the server's process does not have it.
    """
    of_variable = of_environment()
    os.environ.pop(VARIABLE, None)
    if [of_variable is not None, file is not None, make].count(True) > 1:
        raise ValueError(f"give one of {VARIABLE}, --password-file and --make-password")
    if file is not None:
        return Password(of_file(file), file)
    return None if of_variable is None else Password(of_variable)


def kept_in(folder: Path) -> Password | None:
    """The password that an earlier start made in this data folder."""
    path = folder / FILE
    return Password(of_file(path), path) if path.exists() else None


def made_in(folder: Path) -> Password:
    """Make a password, and keep it in the data folder, for this user's eyes only."""
    path, secret = folder / FILE, secrets.token_urlsafe(24)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secret + "\n")
    return Password(secret.encode(), path, is_new=True)
