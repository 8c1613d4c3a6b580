"""Reads a page as a person would who tries all of it: starts its servers, and does its blocks in order."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import subprocess
import tempfile
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from doctest import DocTestParser, Example
from pathlib import Path

from harness import recipes
from harness.cluster import Cluster
from harness.server import MODULE, Installed, Server, ServerDied

from docs.comparison import Names, OtherTask, align, masked_output, without_numbers
from docs.namespace import Namespace
from docs.page import Block, Page
from docs.ports import Ports
from docs.sessions import PATIENCE_S, Mismatch, Sessions, difference
from docs.shell import Shell, Stuck, clone, end_all_in, programs

PORT, CLUSTER_PORT = 6379, 7001
# Python expressions and commands of a shell that only read: repeated until they show what is shown.
PYTHON_READS = re.compile(r"(await )?[\w.]+\.(len|infos?|get|tasks|settings|groups|workers|schedules)\(")
SHELL_READS = re.compile(
    r"taskslot (--\S+ )*(info|list|get|top)\b|redis-cli .*\b(TASK\.(LEN|GET|INFO|LIST)|INFO)\b|cat |tail ",
    re.I,
)
# A comment that says what is printed.
PRINTED = re.compile(r"^ *print\(.*\) +# (.*)$", re.M)
# What a server is told besides redis.conf; the harness sets what is left out here: bind, dir and the like.
MODULE_PATH = "/path/to/libtaskslot.so"


@dataclass
class Outcome:
    """What became of a page."""

    done: int = 0
    problems: list[tuple[int, str]] = field(default_factory=list)
    # Blocks with `skip`, and their reasons.
    skipped: list[tuple[int, str]] = field(default_factory=list)
    # What is missing on this machine.
    lacking: str | None = None


class Reader:
    """One reader of one page. `root` is the tree that the page is of."""

    def __init__(self, page: Page, installed: Installed, root: Path, patience_s: float = PATIENCE_S):
        self._page, self._installed, self._root = page, installed, root
        self._top = Path(tempfile.mkdtemp(prefix="taskslot-docs-"))
        self._folder = self._top / "work"
        self._folder.mkdir()
        self._ports = Ports(self._top)
        self._names = Names()
        self._sessions = Sessions(self._ports, self._names, patience_s)
        self._patience_s = patience_s
        self._server: Server | None = None
        self._cluster: Cluster | None = None
        self._shell: Shell | None = None
        self._python: Namespace | None = None

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._sessions.forget()
        for one in (self._python, self._shell):
            if one:
                one.close()
        end_all_in(self._top)
        for one in (self._cluster, self._server):
            if one:
                one.discard()
        shutil.rmtree(self._top, ignore_errors=True)

    # ---- the page

    def read(self) -> Outcome:
        """Do all blocks."""
        outcome = Outcome()
        blocks = [block for block in self._page.blocks if block.language != "text"]
        self._start([block for block in blocks if not block.has("skip")])
        for block in blocks:
            if self._is_for_newer(block):
                continue
            try:
                if block.has("skip"):
                    outcome.skipped.append((block.line, block.one("skip")))
                    self._look_at(block)
                    continue
                if block.has("fresh"):
                    # Others that run in the background are over, too.
                    end_all_in(self._top, *(one.pid for one in (self._shell, self._python) if one))
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
        try:
            self._sessions.end_all()
        except Mismatch as mismatch:
            outcome.problems.append((mismatch.line, str(mismatch)))
        for one in (self._cluster, self._server):
            if one:
                one.check()
        return outcome

    def _start(self, blocks: list[Block]) -> None:
        text = "".join(block.text + block.one("before") for block in blocks)
        if any(block.language in ("redis", "python", "js", "console", "sh") for block in blocks):
            # As `make run` starts one, but for syncing to the disk.
            self._server = Server(
                self._installed,
                port=PORT,
                env=self._ports.environment(),
                include=self._root / "redis.conf",
            )
            programs(self._top / "bin", self._installed)
        if str(CLUSTER_PORT) in text:
            environment = self._ports.environment(with_clock=True)
            self._cluster = Cluster(self._installed, first_port=CLUSTER_PORT, env=environment, clock="shared")

    def _is_for_newer(self, block: Block) -> bool:
        if not block.has("from"):
            return False
        least = tuple(int(part) for part in block.one("from").split("."))
        return not self._installed.is_valkey and self._installed.version < least

    def _do(self, block: Block) -> None:
        match block.language:
            case "redis":
                self._sessions.do(block, block.texts("before"))
                self._sessions.type(block)
            case "python":
                self._do_python(block)
            case "js":
                self._do_js(block)
            case "console":
                self._do_console(block)
            case "sh":
                self._do_sh(block)
            case "conf":
                self._do_conf(block)
            case _:
                self._look_at(block)

    @property
    def _environment(self) -> dict[str, str]:
        """Of the programs of the page."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("TASKSLOT_")},
            **self._ports.environment(),
            "PATH": f"{self._top / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(self._root / "clients/python"),
            "PYTHONUNBUFFERED": "1",
            "TREE": str(self._root),
            "NO_COLOR": "1",
            "COLUMNS": "100",
        }

    # ---- Python

    def _do_python(self, block: Block) -> None:
        self._python = self._python or Namespace(
            self._folder, self._environment, self._root / self._page.name
        )
        if block.has("before"):
            self._run_python(block.one("before") + "\n", block.line)
        if block.file:
            self._write(block)
        elif ">>> " in block.text:
            for example in examples(block):
                self._try(block, example)
        else:
            printed = self._run_python(block.text, block.line)
            shown = [line for promise in PRINTED.findall(block.text) for line in ("...", promise)]
            self._compare(block, block.line, "the program", [*shown, "..."], lambda: printed, False)

    def _run_python(self, source: str, line: int) -> list[str]:
        output, error = self._python.run(self._names.in_place(source), line)
        if error:
            raise Mismatch(line, error)
        return output.splitlines()

    def _try(self, block: Block, example: Example) -> None:
        line = block.line + example.lineno
        source = self._names.in_place(example.source)
        is_read = bool(PYTHON_READS.match(source))

        def lines() -> list[str]:
            output, error = self._python.run(source, line, single=True)
            if error and example.exc_msg is None:
                raise Mismatch(line, f"{example.source}{output}{error}")
            return ([error.splitlines()[-1]] if error else []) or output.splitlines()

        shown = (example.exc_msg or example.want).splitlines()
        self._compare(block, line, example.source.rstrip(), shown, lines, is_read)

    # ---- JavaScript

    def _do_js(self, block: Block) -> None:
        modules = self._folder / "node_modules"
        if not modules.exists():
            modules.symlink_to(found(recipes.node_modules))
        if block.file:
            self._write(block)
            return
        program = self._folder / f"block-{block.line}.mjs"
        program.write_text(self._names.in_place(block.one("before") + "\n" + block.text))
        self._succeed(block, [found(lambda: recipes.need("node")), program])

    # ---- a shell

    def _bash(self) -> Shell:
        if not self._shell:
            if not (self._folder / "Makefile").exists():
                clone(self._root, self._folder)
            # The copy's library finds the copy's module.
            environment = {**self._environment, "PYTHONPATH": str(self._folder / "clients/python")}
            self._shell = Shell(self._folder, environment)
        return self._shell

    def _do_console(self, block: Block) -> None:
        for command in block.texts("before"):
            self._run(block.line, command)
        commands = list(console(block))
        for line, command, shown in commands:
            command = self._in_place(command)
            in_background = command.endswith("&") and not command.endswith("&&")
            if in_background or (block.has("background") and line == commands[-1][0]):
                self._in_background(block, line, command.removesuffix("&").strip(), shown)
            elif re.match(r"(\w+=\S+ )*(make|pip|python -m pip)\b", command):
                self._run(line, command)
            else:
                self._compare(
                    block,
                    line,
                    command,
                    shown,
                    lambda c=command, n=line: self._output(n, c),
                    SHELL_READS.match(command),
                )

    def _output(self, line: int, command: str) -> list[str]:
        try:
            return self._bash().run(command)[0]
        except Stuck as stuck:
            self._lose_shell()
            raise Mismatch(line, f"{command}\n{stuck}") from None

    def _run(self, line: int, command: str) -> None:
        try:
            output, status = self._bash().run(self._in_place(command))
        except Stuck as stuck:
            self._lose_shell()
            raise Mismatch(line, f"{command}\n{stuck}") from None
        if status:
            raise Mismatch(line, "\n".join([command, *output, f"ended with {status}"]))

    def _in_background(self, block: Block, line: int, command: str, shown: list[str]) -> None:
        output = self._bash().begin(command)
        for port in re.findall(r"--port (\d+)", command):
            self._ports.wait_served(int(port))
        if shown:
            shown = shown if shown[-1] == "..." else [*shown, "..."]
            self._compare(block, line, command, shown, lambda: output.read_text().splitlines(), True)

    def _do_sh(self, block: Block) -> None:
        for command in block.texts("before"):
            self._run(block.line, command)
        try:
            self._bash().run_all(self._in_place(block.text))
        except Stuck as stuck:
            self._lose_shell()
            raise Mismatch(block.line, str(stuck)) from None

    def _lose_shell(self) -> None:
        self._shell.close()
        self._shell = None

    # ---- files

    def _do_conf(self, block: Block) -> None:
        settings = self._top / f"block-{block.line}.conf"
        settings.write_text(block.text.replace(MODULE_PATH, str(MODULE)))
        module = None if re.search(r"^loadmodule ", block.text, re.M) else MODULE
        include = [self._root / "redis.conf", settings]
        try:
            server = Server(self._installed, port=True, module=module, include=include)
        except ServerDied as died:
            raise Mismatch(block.line, f"a server with these settings doesn't start:\n{died}") from None
        try:
            server.check()
        finally:
            server.discard()

    def _look_at(self, block: Block) -> None:
        """Check the syntax of a block, where that is possible."""
        try:
            match block.language:
                case "json":
                    json.loads(block.text)
                case "toml":
                    tomllib.loads(block.text)
                case "yaml":
                    parse_yaml(block.text)
                case "python" if ">>> " in block.text:
                    for example in examples(block):
                        compile(example.source, self._page.name, "single")
                case "python":
                    compile(block.text, self._page.name, "exec")
                case "sh":
                    self._succeed(block, ["bash", "-n", "-c", block.text])
        except (ValueError, SyntaxError) as error:
            raise Mismatch(block.line, f"{type(error).__name__}: {error}") from None

    def _write(self, block: Block) -> None:
        file = self._folder / block.file
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(self._names.in_place(block.text))

    def _in_place(self, text: str) -> str:
        return self._names.in_place(text).replace(MODULE_PATH, str(MODULE))

    def _succeed(self, block: Block, command: list[object]) -> None:
        try:
            done = subprocess.run(
                list(map(str, command)),
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=30,
            )
        except subprocess.TimeoutExpired:
            raise Mismatch(block.line, "it didn't end within 30 s") from None
        if done.returncode:
            raise Mismatch(block.line, f"{done.stdout}{done.stderr}ended with {done.returncode}")

    # ---- comparing

    def _compare(self, block: Block, line: int, command: str, shown: list[str], come, is_read: bool) -> None:
        """Compare output with what is shown; what only reads is repeated until they agree."""

        def aligned(came: list[str]) -> list[tuple[int, int]] | None:
            one, other = masked_output(shown), masked_output(came)
            if block.has("numbers"):
                one, other = without_numbers(one), without_numbers(other)
            return align(one, other, within=True)

        end = time.monotonic() + self._patience_s
        came = come()
        while (pairs := aligned(came)) is None and is_read and time.monotonic() < end:
            select.select([], [], [], 0.02)
            came = come()
        if pairs is None:
            raise Mismatch(line, difference(command, shown, came))
        try:
            for one, other in pairs:
                self._names.learn(shown[one], came[other])
        except OtherTask as error:
            raise Mismatch(line, f"{command}\n{error}") from None


def parse_yaml(text: str) -> None:
    """Fail with a ValueError where a text isn't YAML."""
    import yaml

    try:
        list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        raise ValueError(error) from None


class Lacking(Exception):
    """Something that a block needs isn't here."""


def found(look):
    """What the recipes' helper finds; where it would skip the test, `Lacking` says why."""
    try:
        return look()
    except recipes.pytest.skip.Exception as skipped:
        raise Lacking(str(skipped)) from None


def examples(block: Block) -> list[Example]:
    """The statements of a `>>> ` session, with what is shown."""
    return [example for example in DocTestParser().parse(block.text) if isinstance(example, Example)]


def console(block: Block) -> Iterator[tuple[int, str, list[str]]]:
    """The commands of a terminal: line, text, output that is shown."""
    commands: list[tuple[int, list[str], list[str]]] = []
    for number, line in enumerate(block.lines, block.line):
        if line.startswith("$ "):
            commands.append((number, [line[2:]], []))
        elif not commands:
            raise Mismatch(number, f"a terminal begins with `$ `, not with: {line}")
        elif line.startswith("> ") and not commands[-1][2]:
            commands[-1][1].append(line[2:])
        else:
            commands[-1][2].append(line)
    for number, command, shown in commands:
        yield number, "\n".join(command), shown
