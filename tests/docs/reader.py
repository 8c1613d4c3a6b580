"""Runs a page: starts its servers and runs its blocks in order, like a reader who tries everything."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from harness.cluster import Cluster
from harness.server import Installed, Server, ServerDied

from docs.file_blocks import check_syntax, check_types, do_module_of_node, do_settings
from docs.page import Block, Page
from docs.python_blocks import PythonBlocks
from docs.sessions import Sessions
from docs.shell import end_all_in
from docs.shell_blocks import ShellBlocks
from docs.workplace import PATIENCE_S, Lacking, Mismatch, Workplace

PORT, CLUSTER_PORT = 6379, 7001
# Languages whose blocks can use a server.
NEEDS_SERVER = {"redis", "python", "js", "console", "sh"}


@dataclass
class Outcome:
    """The result of a page. Problems and skipped blocks have their line."""

    done: int = 0
    problems: list[tuple[int, str]] = field(default_factory=list)
    skipped: list[tuple[int, str]] = field(default_factory=list)
    # A program that this machine doesn't have, so that some blocks were not run.
    lacking: str | None = None


class Reader:
    """Runs one page. `root` is the tree of the page."""

    def __init__(self, page: Page, installed: Installed, root: Path, patience_s: float = PATIENCE_S):
        self._place = Workplace(page, installed, root, patience_s)
        self._sessions = Sessions(self._place)
        self._python = PythonBlocks(self._place)
        self._shell = ShellBlocks(self._place)
        self._servers: list[Server | Cluster] = []

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._python.close()
        self._shell.close()
        end_all_in(self._place.top)
        for server in self._servers:
            server.discard()
        self._place.remove()

    def read(self) -> Outcome:
        """Run all blocks, also those after a problem."""
        outcome = Outcome()
        blocks = [block for block in self._place.page.blocks if block.language != "text"]
        self._start([block for block in blocks if not block.has("skip")])
        for block in blocks:
            if not self._is_for_newer(block):
                self._read_block(block, outcome)
        try:
            self._sessions.end_all()
        except Mismatch as mismatch:
            outcome.problems.append((mismatch.line, str(mismatch)))
        for server in self._servers:
            server.check()
        return outcome

    def _start(self, blocks: list[Block]) -> None:
        place = self._place
        if any(block.language in NEEDS_SERVER for block in blocks):
            # Like the server of `make run`.
            include = place.root / "redis.conf"
            environment = place.ports.environment()
            self._servers.append(Server(place.installed, port=PORT, env=environment, include=include))
        if any(str(CLUSTER_PORT) in block.text + block.one("before") for block in blocks):
            environment = place.ports.environment(with_clock=True)
            self._servers.append(
                Cluster(place.installed, first_port=CLUSTER_PORT, env=environment, clock="shared")
            )

    def _is_for_newer(self, block: Block) -> bool:
        if not block.has("from"):
            return False
        least = tuple(int(part) for part in block.one("from").split("."))
        return not self._place.installed.is_valkey and self._place.installed.version < least

    def _read_block(self, block: Block, outcome: Outcome) -> None:
        try:
            if block.has("skip"):
                outcome.skipped.append((block.line, block.one("skip")))
                check_syntax(self._place, block)
                return
            if block.has("fresh"):
                # Also end programs in the background.
                end_all_in(self._place.top, *self._python.pids, *self._shell.pids)
            over = self._sessions.begin(block)
            self._do(block)
            self._sessions.end(over)
            outcome.done += 1
        except Mismatch as mismatch:
            outcome.problems.append((mismatch.line, str(mismatch)))
        except Lacking as lacking:
            outcome.lacking = str(lacking)
        except (ServerDied, OSError, AssertionError) as error:
            outcome.problems.append((block.line, f"{type(error).__name__}: {error}"))

    def _do(self, block: Block) -> None:
        match block.language:
            case "redis":
                self._sessions.do(block)
            case "python":
                self._python.do(block)
            case "console" | "sh":
                self._shell.do(block)
            case "js":
                do_module_of_node(self._place, block)
            case "ts":
                check_types(self._place, block)
            case "conf":
                do_settings(self._place, block)
            case _:
                check_syntax(self._place, block)
