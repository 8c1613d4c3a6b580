"""The environment for Python programs that tests start: they import the library and the harness of this tree."""

import os

from harness.server import ROOT

# Added to their environment. The packages that are installed in .venv may belong to another tree.
OF_THIS_TREE = {"PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in ("clients/python", "tests"))}
