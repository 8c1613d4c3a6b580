"""Runs the command line in the test's own process, which saves the start of a Python process."""

import json
from dataclasses import dataclass

from typer.testing import CliRunner


@dataclass
class Output:
    """The lines that a command wrote."""

    lines: list[str]
    errors: list[str]
    output: bytes

    def json(self) -> list[dict]:
        """The lines, read as JSON."""
        return [json.loads(line) for line in self.lines]

    def words(self) -> dict[str, str]:
        """The lines as a map from their first word to the rest."""
        return {name: rest.strip() for name, _, rest in (line.partition("  ") for line in self.lines)}


def run(*words: str, status: int = 0, stdin: str | bytes | None = None, env: dict | None = None) -> Output:
    """Run `taskslot` with these arguments. Fails if the exit status is another one, or if there is a traceback."""
    from taskslot.cli.app import app

    result = CliRunner().invoke(app, [str(word) for word in words], input=stdin, env=env)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == status, result.output
    return Output(result.stdout.splitlines(), result.stderr.splitlines(), result.stdout_bytes)
