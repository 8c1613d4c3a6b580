"""Notices that a Python file of the project has changed, for `taskslot worker --watch`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

# Folders that have no code of the project, besides hidden ones and virtual environments.
SKIPPED = {"__pycache__", "node_modules", "site-packages"}

Seen = dict[str, tuple[int, int]]  # the time and size of each file


class Watch:
    """The Python files below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen = self._look()

    def changes(self) -> list[str]:
        """The files that were changed, added or removed since the last call, by their paths in the folder."""
        before, self._seen = self._seen, self._look()
        either = {*before, *self._seen}
        return sorted(name for name in either if before.get(name) != self._seen.get(name))

    def _look(self) -> Seen:
        found: Seen = {}
        for path in python_files(self._folder):
            try:
                stat = path.stat()
            except OSError:  # it has gone, or is a link to nothing
                continue
            found[str(path.relative_to(self._folder))] = (stat.st_mtime_ns, stat.st_size)
        return found


def python_files(folder: Path) -> Iterator[Path]:
    """The Python files below a folder."""
    for here, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if is_project(Path(here, name))]
        yield from (Path(here, name) for name in files if name.endswith(".py"))


def is_project(folder: Path) -> bool:
    """Whether a folder can have code of the project."""
    name = folder.name
    return not name.startswith(".") and name not in SKIPPED and not (folder / "pyvenv.cfg").exists()
