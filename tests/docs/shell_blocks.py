"""Runs the `console` and `sh` blocks of a page."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from docs.page import Block
from docs.shell import Shell, Stuck, clone
from docs.workplace import Mismatch, Workplace

# Commands that only read. They are repeated until the output is as shown.
READS = re.compile(
    r"taskslot (--\S+ )*(info|list|get|top)\b|redis-cli .*\b(TASK\.(LEN|GET|INFO|LIST)|INFO)\b|cat |tail ",
    re.I,
)
# Commands that are checked instead of run. Their output is not compared.
CHECKED = re.compile(r"(\w+=\S+ )*(make|pip|python3? -m pip)\b")


@dataclass
class Command:
    """A command in a terminal, with its output on the page."""

    line: int
    text: str
    shown: list[str] = field(default_factory=list)

    @property
    def in_background(self) -> bool:
        """Whether the command ends in `&`."""
        return self.text.endswith("&") and not self.text.endswith("&&")


class ShellBlocks:
    """Runs shell blocks. The shell starts with the first one, in a copy of the tree."""

    def __init__(self, place: Workplace):
        self._place = place
        self._shell: Shell | None = None

    @property
    def pids(self) -> list[int]:
        """The id of the shell's process, if it runs."""
        return [self._shell.pid] if self._shell else []

    def close(self) -> None:
        """End the shell."""
        if self._shell:
            self._shell.close()
        self._shell = None

    def do(self, block: Block) -> None:
        """Run a block."""
        for text in block.texts("before"):
            self._succeed(Command(block.line, text))
        if block.language == "sh":
            self._run(Command(block.line, block.text), all_of=True)
            return
        commands = terminal(block)
        for command in commands:
            is_last = command is commands[-1]
            if command.in_background or (is_last and block.has("background")):
                self._leave(block, command)
            elif CHECKED.match(command.text):
                self._succeed(command)
            else:
                self._place.compare(
                    block,
                    command.line,
                    command.text,
                    command.shown,
                    lambda command=command: self._run(command)[0],
                    bool(READS.match(command.text)),
                )

    def _open(self) -> Shell:
        if not self._shell:
            place = self._place
            if not (place.folder / "Makefile").exists():
                clone(place.root, place.folder)
            # The library of the copy finds the module in the copy.
            environment = {**place.environment, "PYTHONPATH": str(place.folder / "clients/python")}
            self._shell = Shell(place.folder, environment)
        return self._shell

    def _run(self, command: Command, all_of: bool = False) -> tuple[list[str], int]:
        """Run a command. `all_of`: run several commands up to the first that fails."""
        text = self._place.in_place(command.text)
        try:
            return self._open().run_all(text) if all_of else self._open().run(text)
        except Stuck as stuck:
            self.close()
            raise Mismatch(command.line, f"{command.text}\n{stuck}") from None

    def _succeed(self, command: Command) -> None:
        output, status = self._run(command)
        if status:
            raise Mismatch(command.line, "\n".join([command.text, *output, f"ended with {status}"]))

    def _leave(self, block: Block, command: Command) -> None:
        """Start a command and leave it running. Returns when it listens on its port and its output is as shown."""
        text = self._place.in_place(command.text).removesuffix("&").strip()
        output = self._open().begin(text)
        for port in re.findall(r"--port (\d+)", text):
            self._place.ports.wait_served(int(port))
        if command.shown:
            self._place.compare(
                block,
                command.line,
                command.text,
                [*command.shown, "..."],
                lambda: output.read_text().splitlines(),
                is_read=True,
            )


def terminal(block: Block) -> list[Command]:
    """Returns the commands of a `console` block."""
    commands: list[Command] = []
    for number, line in enumerate(block.lines, block.line):
        if line.startswith("$ "):
            commands.append(Command(number, line[2:].strip()))
        elif not commands:
            raise Mismatch(number, f"a terminal begins with `$ `, not with: {line}")
        elif line.startswith("> ") and not commands[-1].shown:
            commands[-1].text += f"\n{line[2:]}"
        else:
            commands[-1].shown.append(line)
    return commands
