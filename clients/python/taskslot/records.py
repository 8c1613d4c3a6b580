"""The records of the library's logger, `taskslot`: bounded and printable, whatever the program does with its log.

Names, errors and the texts of exceptions can contain a payload, which is long or has control characters and newlines.
A filter on the logger cuts and escapes them before any handler sees a record. It also writes the traceback, so that no
formatter writes the text of an exception in full.
"""

from __future__ import annotations

import logging
from pathlib import Path

from .printable import printable
from .tracebacks import MOST_BYTES, log_text

# Calls in files of this folder are left out at the beginning of a traceback.
OURS = str(Path(__file__).parent)


class Bounded(logging.Filter):
    """Bounds and escapes what a record shows. The exception becomes `exc_text`, the text that formatters use."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let the record through, changed."""
        if isinstance(record.args, tuple):
            record.args = tuple(bounded(arg) for arg in record.args)
        if record.exc_info and record.exc_info[1] is not None:
            record.exc_text, record.exc_info = log_text(record.exc_info[1], OURS), None
        return True


def bounded(arg: object) -> object:
    """An argument of a log message as a part of one line."""
    if isinstance(arg, int | float):
        return arg
    try:
        text = str(arg)
    except BaseException:  # methods of the user's exceptions can raise anything
        text = type(arg).__name__
    return printable(text[:MOST_BYTES])


logging.getLogger("taskslot").addFilter(Bounded())
