"""What the Python programs of tests begin with: the library and the harness of this tree, and a working Ctrl-C."""

import os
import signal

from harness.server import ROOT

# Added to their environment. The packages that are installed in .venv may belong to another tree.
OF_THIS_TREE = {"PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in ("clients/python", "tests"))}


def with_ctrl_c() -> None:
    """For `preexec_fn`: let SIGINT end the program. Programs inherit it ignored if the tests run in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
