"""The committed figures of `make chaos`: one file for each server in chaos/results."""

from __future__ import annotations

import datetime
import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.server import ROOT, SERVERS

from chaos.report import Row, added

FOLDER = ROOT / "chaos/results"


@dataclass(frozen=True)
class Result:
    """What was measured on one server: its version, when, the commit of the module, and a row for each profile."""

    server: str
    version: str
    date: str
    commit: str
    rows: list[Row]


def main(words: list[str]) -> None:
    """Write the rows of these files, which are those of campaigns, together."""
    write([Row.read(row) for word in words for row in json.loads(Path(word).read_text())])


def write(rows: Sequence[Row], folder: Path = FOLDER) -> None:
    """Write a file for each server in these rows, in the place of an earlier one."""
    folder.mkdir(parents=True, exist_ok=True)
    for server in dict.fromkeys(one.server for one in rows):
        result = {
            "server": server,
            "version": version(server),
            "date": datetime.date.today().isoformat(),
            "commit": commit(),
            "rows": [one.plain() for one in added(one for one in rows if one.server == server)],
        }
        (folder / f"{server}.json").write_text(json.dumps(result, indent=1) + "\n")


def read(folder: Path = FOLDER) -> list[Result]:
    """All results, by the names of their servers."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    return [Result(**{**one, "rows": [Row.read(row) for row in one["rows"]]}) for one in found]


def version(server: str) -> str:
    """Name and version of a server as it says them: `Valkey 9.1.2`."""
    output = subprocess.run(
        [SERVERS[server].path, "--version"], capture_output=True, text=True, check=True
    ).stdout
    name, number = re.match(r"(\w+) server v=([\d.]+)", output).groups()  # type: ignore[union-attr]
    return f"{name} {number}"


def commit() -> str:
    """The short name of the last commit that changed the module."""
    command = ["git", "log", "-1", "--format=%h", "--", "src", "Cargo.toml", "Cargo.lock"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()
