"""The command `taskslot`; `taskslot --help` lists its subcommands.

`import taskslot` loads nothing of this package. It needs the extra `cli`, typer and rich, except for `taskslot path`.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command in `sys.argv`. The exit status is 0, 1 for an error, 2 for bad usage, 130 after Ctrl-C."""
    # A stream that the shell closed (`<&-`) is None. Without this, the next file or socket would get its number.
    sys.stdin = sys.stdin or open(os.open(os.devnull, os.O_RDONLY))
    sys.stdout = sys.stdout or open(os.open(os.devnull, os.O_WRONLY), "w")
    sys.stderr = sys.stderr or open(os.open(os.devnull, os.O_WRONLY), "w")
    try:
        # Imported here, because Ctrl-C can come while this loads, which takes a third of a second. After that, typer
        # handles it, and also a closed pipe (`| head`).
        try:
            from . import output
            from .app import app
        except ModuleNotFoundError as error:
            package = str(error.name).partition(".")[0]
            if package not in ("rich", "typer"):
                raise
            if sys.argv[1:] == ["path"]:
                return print_path()
            sys.exit(f"taskslot: the command line needs the package {package}: pip install 'taskslot[cli]'")

        output.take_any_text()
        app(prog_name="taskslot")
    except KeyboardInterrupt:
        sys.exit(130)


def print_path() -> None:
    """Print the path of the module, where typer isn't installed: a machine with a server may have nothing else."""
    from .. import module

    try:
        print(module.path())
    except FileNotFoundError as error:
        sys.exit(f"taskslot: {error}")
