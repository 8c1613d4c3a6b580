"""Values of labels from names that anybody can choose: printable, and of a bounded length. Pure."""

from __future__ import annotations

from hashlib import blake2b

from ..printable import printable

# The longest value, and the length of the end that keeps cut names apart.
LONGEST, DIGEST = 200, 8


def label(name: str) -> str:
    """A name as the value of a label. Bytes that are not UTF-8 are escaped, and long names are cut.

    A cut name ends in a digest of the whole one. An empty name is shown as two quotes, because an empty value means
    that there is no label.
    """
    shown = printable(name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")) or '""'
    if len(shown) <= LONGEST:
        return shown
    digest = blake2b(shown.encode(), digest_size=DIGEST // 2).hexdigest()
    return f"{shown[: LONGEST - DIGEST - 1]}…{digest}"
