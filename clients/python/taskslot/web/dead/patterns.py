"""The pattern of an error: what texts of the same kind have in common. Pure functions.

`ValueError: no user 17` and `ValueError: no user 42` have the pattern `ValueError: no user #`. Errors are those of any
language, so this only knows what tracebacks look like: Python's begins or ends with what was raised, Ruby's has the
class in parentheses, Rust's has the message in the second line.
"""

from __future__ import annotations

import re

from ...printable import shortened

# How much of an error is looked at, and how long a pattern is. The server keeps 4 KiB of an error.
MOST_READ, MOST_SHOWN = 4096, 160
NO_TEXT = "(no error text)"

PYTHON_TRACE = "Traceback (most recent call last):"
# What `raise … from` and an exception while another is handled put between two tracebacks.
PYTHON_LINKS = ("The above exception", "During handling of")
RUBY = re.compile(r"^\S+:\d+:in [`'][^']*': (?P<message>.*?)(?: \((?P<kind>[A-Z][\w:]*)\))?$")
JAVA_THREAD = re.compile(r'^Exception in thread "[^"]*" ')
RUST_PANIC = re.compile(r"^thread '[^']*' (?:\(\d+\) )?panicked at (?P<rest>.*)$")
NODE_UNCAUGHT = re.compile(r"^Uncaught (?=\w)")
STALLS = re.compile(r"^\d+ stalls?, the last after \d+ ms( at worker ).*$", re.DOTALL)

# In this order: what stands in quotes can contain all the others. What opens a quote is not in it: otherwise each of
# many that are never closed would be followed to the end.
UUID = re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.IGNORECASE)
QUOTED = re.compile(r"(?<!\w)'[^'\n]*'(?!\w)|\"[^\"\n]*\"|`[^`\n]*`|“[^“”\n]*”|«[^«»\n]*»")
MAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
HEX = re.compile(r"\b0x[0-9a-f]+\b|\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{7,}\b", re.IGNORECASE)
NUMBERS = re.compile(r"\d+")
# Dates, times, versions and addresses: placeholders with a single mark between them.
JOINED = re.compile(r"#(?:[.,:/_T+-]#)+(?:Z\b)?")
# What is quoted is the whole of the error here: the name of a function that the worker does not have.
UNKNOWN_FUNCTION = re.compile(r"^(?:[\w.]+\.)?UnknownFunction: ")
SPACES = re.compile(r"\s+")


def headline(error: str | None) -> str:
    """What was raised, in one line: of a traceback, the line that says it."""
    lines = [line.rstrip() for line in (error or "")[:MOST_READ].splitlines() if line.strip()]
    if not lines:
        return NO_TEXT
    first = lines[0].strip()
    if first == PYTHON_TRACE:
        return raised_last(lines)
    if match := RUST_PANIC.match(first):
        return f"panicked: {lines[1].strip()}" if len(lines) > 1 else f"panicked at {match['rest']}"
    if match := RUBY.match(first):
        return f"{match['kind']}: {match['message']}" if match["kind"] else match["message"]
    return NODE_UNCAUGHT.sub("", JAVA_THREAD.sub("", first))


def raised_last(lines: list[str]) -> str:
    """The line of a Python traceback that says what was raised: the last one that begins it and is not indented."""
    starts = [line for line in lines if begins_text(line)]
    # The text of an exception can have more lines. They follow the frames, so the first line after these counts.
    last_frame = max((at for at, line in enumerate(lines) if line[0].isspace()), default=0)
    after = [line for line in lines[last_frame + 1 :] if begins_text(line)]
    return (after or starts[-1:] or [lines[0]])[0].strip()


def begins_text(line: str) -> bool:
    """Whether a line of a Python traceback can be what was raised."""
    return not line[0].isspace() and line != PYTHON_TRACE and not line.startswith(PYTHON_LINKS)


def pattern(error: str | None) -> str:
    """The pattern of an error: its headline with `#` for numbers and ids, and `…` for what is quoted."""
    text = headline(error)
    if match := STALLS.match(text):
        return f"# stalls, the last after # ms{match[1]}…"
    if UNKNOWN_FUNCTION.match(text):
        return shortened(SPACES.sub(" ", text).strip(), MOST_SHOWN)
    text = UUID.sub("#", text)
    text = QUOTED.sub(lambda found: f"{found[0][0]}…{found[0][-1]}", text)
    text = MAIL.sub("…@…", text)
    text = HEX.sub("#", text)
    text = JOINED.sub("#", NUMBERS.sub("#", text))
    return shortened(SPACES.sub(" ", text).strip(), MOST_SHOWN)
