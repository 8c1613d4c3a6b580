"""The command line: `taskslot push mail hello`, `taskslot top`; `taskslot --help` lists the commands.

Nothing here is loaded by `import taskslot`.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command that `sys.argv` names. Status 0, 1 for an error, 2 for bad usage, 130 after Ctrl-C."""
    # Closed ones (`<&-`) are None in Python, and their numbers would go to the next file or socket that is opened.
    sys.stdin = sys.stdin or open(os.open(os.devnull, os.O_RDONLY))
    sys.stdout = sys.stdout or open(os.open(os.devnull, os.O_WRONLY), "w")
    sys.stderr = sys.stderr or open(os.open(os.devnull, os.O_WRONLY), "w")
    try:
        # Loading takes a third of a second, in which Ctrl-C can come, too. From then on typer sees to it, and to a
        # reader that has gone (`| head`).
        from . import output
        from .app import app

        output.take_any_text()
        app(prog_name="taskslot")
    except KeyboardInterrupt:
        sys.exit(130)
