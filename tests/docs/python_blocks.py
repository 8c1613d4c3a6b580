"""Runs the Python blocks of a page: programs, and `>>> ` sessions."""

from __future__ import annotations

import re
from doctest import DocTestParser, Example

from docs.namespace import Namespace
from docs.page import Block
from docs.workplace import Mismatch, Workplace

# Calls that only read. They are repeated until the value is as shown.
READS = re.compile(r"(await )?[\w.]+\.(len|infos?|get|tasks|settings|groups|workers|schedules)\(")
# A comment with the text that the line prints.
PRINTED = re.compile(r"^ *print\(.*\) +# (.*)$", re.M)


class PythonBlocks:
    """Runs Python blocks. The process starts with the first one."""

    def __init__(self, place: Workplace):
        self._place = place
        self._namespace: Namespace | None = None

    @property
    def pids(self) -> list[int]:
        """The id of the process, if it runs."""
        return [self._namespace.pid] if self._namespace else []

    def close(self) -> None:
        """End the process."""
        if self._namespace:
            self._namespace.close()

    def do(self, block: Block) -> None:
        """Run a block."""
        if not self._namespace:
            place = self._place
            self._namespace = Namespace(place.folder, place.environment, place.root / place.page.name)
        if block.has("before"):
            self._run(block.one("before") + "\n", block.line)
        if block.file:
            self._place.write(block)
        elif is_session(block):
            for example in examples(block):
                self._try(block, example)
        else:
            printed = self._run(block.text, block.line)
            shown = [line for promise in PRINTED.findall(block.text) for line in ("...", promise)]
            self._place.compare(block, block.line, "the program", [*shown, "..."], lambda: printed)

    def _run(self, source: str, line: int) -> list[str]:
        output, error = self._namespace.run(self._place.in_place(source), line)
        if error:
            raise Mismatch(line, error)
        return output.splitlines()

    def _try(self, block: Block, example: Example) -> None:
        line, source = block.line + example.lineno, self._place.in_place(example.source)

        def output() -> list[str]:
            printed, error = self._namespace.run(source, line, single=True)
            if error and example.exc_msg is None:
                raise Mismatch(line, f"{example.source}{printed}{error}")
            return error.splitlines()[-1:] if error else printed.splitlines()

        shown = (example.exc_msg or example.want).splitlines()
        self._place.compare(block, line, example.source.rstrip(), shown, output, bool(READS.match(source)))


def is_session(block: Block) -> bool:
    """Returns whether a block is a `>>> ` session."""
    return bool(re.search(r"^>>> ", block.text, re.M))


def examples(block: Block) -> list[Example]:
    """Returns the statements of a session, each with its output."""
    return [part for part in DocTestParser().parse(block.text) if isinstance(part, Example)]
