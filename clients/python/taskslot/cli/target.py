"""Loads what `taskslot worker` runs: an App or a Worker, named as `module:attribute`."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from operator import attrgetter
from types import ModuleType
from typing import Any

from ..app import App
from ..worker import Worker


def load(target: str) -> App | Worker:
    """The App or Worker that a target names, such as `shop.tasks:app`. The current folder is on the path.

    Raises ValueError, which says what is missing. If the module itself raises an exception, its traceback is written to
    stderr first.
    """
    name, colon, attribute = target.partition(":")
    if not (name and colon and attribute):
        raise ValueError(f"name the module and the App or Worker in it, as shop.tasks:app, not {target!r}")
    module = import_module(name)
    try:
        found = attrgetter(attribute)(module)
    except AttributeError:
        raise ValueError(f"{name} has no {attribute}{suggestion(module)}") from None
    if not isinstance(found, App | Worker):
        raise ValueError(
            f"{target} is neither an App nor a Worker, but of type {type(found).__name__}{suggestion(module)}"
        )
    return found


def import_module(name: str) -> ModuleType:
    """Import a module, also from the current folder. Raises ValueError."""
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name == missing or name.startswith(f"{missing}."):
            raise ValueError(f"there is no module {missing} in {here} or on Python's path") from None
        raise ValueError(f"{name} can't be imported: {shown(error)}") from None
    except Exception as error:
        raise ValueError(f"{name} can't be imported: {shown(error)}") from None


def shown(error: Exception) -> str:
    """An exception in one line, after its traceback is written. The frames of the import itself are left out."""
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename
    ]
    own = [frame for frame in frames if frame.filename != __file__]
    said = traceback.format_exception_only(error)
    # Before its last part, a SyntaxError has the file, the line and the place in it. No frame has these.
    where = said[:-1] if isinstance(error, SyntaxError) else []
    sys.stderr.write("".join(["Traceback (most recent call last):\n", *traceback.format_list(own), *where]))
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error}"
    return "".join(said).strip().splitlines()[-1]


def suggestion(module: ModuleType) -> str:
    """The Apps and Workers that a module has, for an error."""
    names = [name for name, value in vars(module).items() if is_one(value)]
    return f"; it has {', '.join(names)}" if names else ""


def is_one(value: Any) -> bool:
    """Whether `taskslot worker` can run this."""
    return isinstance(value, App | Worker)
