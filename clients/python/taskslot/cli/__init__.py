"""The command line: `taskslot push mail hello`, `taskslot top`; `taskslot --help` lists the commands.

Nothing here is loaded by `import taskslot`.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command that `sys.argv` names. Status 0, 1 for an error, 2 for bad usage, 130 after Ctrl-C."""
    try:
        # Loading takes a third of a second, in which Ctrl-C can come, too.
        from .app import app

        app(prog_name="taskslot")
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`). Python would complain when it flushes what is left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
