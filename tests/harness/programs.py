"""Programs of Python that tests start: they import the library and the harness of the tree that the tests are of."""

import os

from harness.server import ROOT

# In their environment. What is installed in .venv may be another tree's.
OF_THIS_TREE = {"PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in ("clients/python", "tests"))}
