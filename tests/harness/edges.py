"""The bounds of the module under test, which can be a build with tiny ones (`make test-tiny`)."""

import math
import re
from functools import cache

from harness.server import MODULE, ROOT

# A string that only this build contains.
TINY = MODULE.exists() and b"TASKSLOT_EDGES" in MODULE.read_bytes()


@cache
def bound(file: str, name: str) -> int:
    """The value that a constant of a file below src has in the module under test."""
    source = (ROOT / "src" / file).read_text()
    pair = re.search(rf"const {name}: \w+ = edge\(([\d_ *<]+), ([\d_ *<]+)\);", source)
    assert pair, f"{file} has no bound {name}"
    return number(pair[2] if TINY else pair[1])


def number(text: str) -> int:
    """The value of a number in Rust, or of a product or a shift: `64 * 1024`, `8 << 20`."""
    factors, _, shift = text.partition("<<")
    return math.prod(int(factor) for factor in factors.split("*")) << int(shift or 0)
