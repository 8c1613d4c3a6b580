"""Runs the command line within the test's process, which costs milliseconds instead of Python's start."""

import json
from dataclasses import dataclass

from typer.testing import CliRunner


@dataclass
class Output:
    """What a command wrote, by lines."""

    lines: list[str]
    errors: list[str]
    output: bytes

    def json(self) -> list[dict]:
        """Its lines as JSON."""
        return [json.loads(line) for line in self.lines]

    def words(self) -> dict[str, str]:
        """Lines of a name and what follows, as a map."""
        return {name: rest.strip() for name, _, rest in (line.partition("  ") for line in self.lines)}


def run(*words: str, status: int = 0, stdin: str | bytes | None = None, env: dict | None = None) -> Output:
    """Run `taskslot` with these words; fails unless it ends with the status, without a traceback."""
    from taskslot.cli.app import app

    result = CliRunner().invoke(app, [str(word) for word in words], input=stdin, env=env)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == status, result.output
    return Output(result.stdout.splitlines(), result.stderr.splitlines(), result.stdout_bytes)
