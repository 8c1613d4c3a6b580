"""What the functions of all Python apps of the studio write down: each start and each end of a run, a line of JSON.

Several processes append to one file. A line is written by one call, so lines never mix.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

LEDGER = os.environ["STUDIO_LEDGER"]


def note(what: str, kind: str, key: str, **more: object) -> None:
    """Append a line."""
    line = json.dumps({"what": what, "kind": kind, "key": key, "pid": os.getpid(), "at": time.time(), **more})
    with open(LEDGER, "a", encoding="utf-8") as ledger:
        ledger.write(line + "\n")


@contextmanager
def run(kind: str, key: str) -> Iterator[None]:
    """Note the start of a run, and its end or its failure."""
    note("start", kind, key)
    try:
        yield
    except BaseException:
        note("failed", kind, key)
        raise
    note("end", kind, key)


def smtp(to: str) -> None:
    """A mail server that has no route to every third address, but only the first time."""
    number = int(to.partition("@")[0])
    if number % 3:
        return
    try:
        os.close(os.open(f"{LEDGER}.{number}", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    raise ConnectionError("smtp: no route")
