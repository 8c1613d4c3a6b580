"""What an integration says if its package is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs(package: str, extra: str) -> Iterator[None]:
    """Import a package in this block. If it is missing, the ImportError is one line that says what to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] != package:
            raise
        raise ModuleNotFoundError(
            f"this integration needs the package {package}: pip install 'taskslot[{extra}]'", name=package
        ) from None
