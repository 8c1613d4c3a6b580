"""The error of a task as a text: first what was raised, then the traceback, cut to what the server keeps."""

from __future__ import annotations

import traceback
from collections.abc import Iterator

from .printable import printable

# The server keeps 4 KiB of an error. The text of an exception can contain a payload of many MiB.
MOST_BYTES = 4096
# What a long text of an exception leaves to the traceback.
TRACE_BYTES = 2560
# How many calls of each exception are looked at: the last ones, of which a recursion can have thousands.
MOST_CALLS = 30
HEADER = "Traceback (most recent call last):\n"
CUT = "  ...\n"


def asks_for_password(error: BaseException) -> bool:
    """Whether a server asks for a password that the client didn't give. Servers and clients say so in several ways."""
    text = str(error)
    return "HELLO must be called" in text or text.startswith(("Authentication required", "NOAUTH"))


def described(error: BaseException) -> str:
    """An exception in a line, or as many as its text has: `ValueError: no such address`."""
    try:
        text = str(error)
    except BaseException:
        text = ""
    return sendable(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def error_text(error: BaseException, within: str = "") -> str:
    """An exception with its traceback, whose end is kept.

    The calls at its beginning that are in files of the folder `within` are left out.
    """
    what, trace = described(error), traced(error, within)
    if not trace:
        return what
    what = cut(what, MOST_BYTES - min(len(trace.encode()) + 1, TRACE_BYTES))
    return f"{what}\n{ending(trace, MOST_BYTES - len(what.encode()) - 1)}"


def log_text(error: BaseException, within: str) -> str:
    """An exception as a log shows it: its traceback, and below it in one line what was raised.

    The calls at its beginning that are in files of the folder `within` are left out, unless there are no others.
    """
    what, trace = printable(described(error)), traced(error, within) or traced(error, "")
    return f"{ending(trace, MOST_BYTES)}\n{what}" if trace else what


def traced(error: BaseException, within: str) -> str:
    """The traceback of an exception; empty if it has none."""
    try:
        lines = "".join(full_trace(error, within)).splitlines(keepends=True)
        return "".join(line for line in lines if is_telling(line))
    except BaseException:  # methods of the user's exceptions can raise anything
        return ""


def parted(error: str) -> tuple[str, str | None]:
    """The two parts of such a text: what was raised, and the traceback; None if there is none."""
    what, header, trace = error.partition("\n" + HEADER)
    return what, (header + trace).lstrip("\n") if header else None


def is_telling(line: str) -> bool:
    """Whether a line of a traceback is no row of marks under the one above, for which there is no room."""
    return not line.strip() or bool(line.strip(" ^~\n"))


def full_trace(error: BaseException, within: str) -> Iterator[str]:
    """A traceback in parts, without what was raised at its end."""
    trace = error.__traceback__
    while within and trace is not None and trace.tb_frame.f_code.co_filename.startswith(within):
        trace = trace.tb_next
    told = traceback.TracebackException(type(error), error, trace, limit=-MOST_CALLS)
    if told.exceptions:  # of an ExceptionGroup, drawn beside each other
        yield HEADER
        yield from map(shown, told.format())
        return
    cause = told.__cause__ or (None if told.__suppress_context__ else told.__context__)
    calls = told.stack.format()
    yield HEADER if calls or cause else ""
    if cause is not None:
        for number, part in enumerate(cause.format()):
            if number or part != HEADER:
                yield shown(part)
        yield "\nwhich led to:\n\n"
    yield from map(shown, calls)


def shown(part: str) -> str:
    """A part of a traceback without control characters. Its newlines are Python's, not those of an exception's text.

    Calls and groups are indented, whatever their texts. The line of an exception is not.
    """
    text = sendable(part).removesuffix("\n")
    return printable(text, "\n\t" if part.startswith(("  ", "\n", HEADER)) else "\t") + "\n"


def ending(trace: str, most: int) -> str:
    """The last lines of a traceback that fit, below its header."""
    trace = trace.rstrip("\n")
    if len(trace.encode()) <= most:
        return trace
    left, kept = most - len((HEADER + CUT).encode()), list[str]()
    for line in reversed(trace.removeprefix(HEADER).splitlines()):
        left -= len(line.encode()) + 1
        if left < 0:
            break
        kept.append(line)
    return HEADER + CUT + "\n".join(reversed(kept))


def sendable(text: str) -> str:
    """The text in a form that can be sent. Parts that are not valid Unicode, as in file names, are escaped."""
    return text[:MOST_BYTES].encode("utf-8", "backslashreplace").decode()


def cut(text: str, most: int) -> str:
    """The beginning of a text that takes at most so many bytes."""
    return text.encode()[:most].decode("utf-8", "ignore")
