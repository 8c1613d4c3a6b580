"""The parts that all blocks of a page share: folder, ports, ids and the comparison of program output."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from harness.server import MODULE, Installed

from docs.comparison import Names, OtherTask, align, masked_output, without_numbers
from docs.page import Block, Page
from docs.ports import Ports
from docs.shell import programs

# How long reads are repeated, and how long to wait for a blocking command.
PATIENCE_S = 10
# The module, on pages.
MODULE_PATH = "/path/to/libtaskslot.so"
# The longest that a program of a block can take.
TIMEOUT_S = 30


class Mismatch(Exception):
    """The page shows something other than the actual result. `line` is the line on the page."""

    def __init__(self, line: int, what: str):
        super().__init__(what)
        self.line = line


class Lacking(Exception):
    """A block needs a program that this machine doesn't have."""


class Workplace:
    """The parts that all blocks of a page share. `root` is the tree of the page."""

    def __init__(self, page: Page, installed: Installed, root: Path, patience_s: float = PATIENCE_S):
        self.page, self.installed, self.root, self.patience_s = page, installed, root, patience_s
        self.top = Path(tempfile.mkdtemp(prefix="taskslot-docs-"))
        self.folder = self.top / "work"
        self.folder.mkdir()
        programs(self.top / "bin", installed)
        self.ports = Ports(self.top)
        self.names = Names()

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.top, ignore_errors=True)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the page's programs."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("TASKSLOT_")},
            **self.ports.environment(),
            "PATH": f"{self.top / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.root / "clients/python"),
            "PYTHONUNBUFFERED": "1",
            "TASKSLOT_MODULE": str(MODULE),  # for servers that a page's own tests start
            "TREE": str(self.root),
            "NO_COLOR": "1",
            "COLUMNS": "100",
        }

    def in_place(self, text: str) -> str:
        """Replaces the ids and the module's path in a text of the page by the actual ones."""
        return self.names.in_place(text).replace(MODULE_PATH, str(MODULE))

    def write(self, block: Block) -> None:
        """Write a block to its file."""
        file = self.folder / block.file
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(self.in_place(block.text))

    def succeed(self, line: int, *command: object) -> None:
        """Run a program, which must succeed."""
        try:
            done = subprocess.run(
                list(map(str, command)),
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            raise Mismatch(line, f"not finished after {TIMEOUT_S} s") from None
        if done.returncode:
            raise Mismatch(line, f"{done.stdout}{done.stderr}ended with {done.returncode}")

    def compare(
        self,
        block: Block,
        line: int,
        command: str,
        shown: list[str],
        output: Callable[[], list[str]],
        is_read: bool = False,
    ) -> None:
        """Compare the output of a program with `shown`. If it only reads, repeat it until they are equal."""

        def aligned(actual: list[str]) -> list[tuple[int, int]] | None:
            one, other = masked_output(shown), masked_output(actual)
            if block.has("numbers"):
                one, other = without_numbers(one), without_numbers(other)
            return align(one, other, within=True)

        end = time.monotonic() + self.patience_s
        actual = output()
        while (pairs := aligned(actual)) is None and is_read and time.monotonic() < end:
            select.select([], [], [], 0.02)
            actual = output()
        if pairs is None:
            raise Mismatch(line, difference(command, shown, actual))
        try:
            for one, other in pairs:
                self.names.learn(shown[one], actual[other])
        except OtherTask as error:
            raise Mismatch(line, f"{command}\n{error}") from None


def difference(command: str, shown: list[str], actual: list[str]) -> str:
    """Formats a failure: the command, its output on the page, its actual output."""
    return "\n".join([command, "--- shown:", *shown, "--- actual:", *actual])
