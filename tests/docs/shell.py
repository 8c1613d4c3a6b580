"""A shell for the commands of a page: one bash in the page's folder. No command builds or installs anything in it."""

from __future__ import annotations

import os
import re
import secrets
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from harness.server import CLI, MODULE, Installed, wait_until

# The longest that a command can take.
TIMEOUT_S = 30

# Scripts that come first in PATH. Instead of building or installing, they check their arguments.
MAKE = """
# The targets exist.
exec {make} -n -C "$TREE" "$@" >/dev/null
"""
PYTHON = """
[ "$1 $2" = "-m pip" ] && exec pip "${{@:3}}"
exec {python} "$@"
"""
PIP = """
# Each folder is a Python package. Nothing is fetched.
[ "$1" = install ] || exec {python} -m pip "$@"
for word in "${{@:2}}"; do
  case $word in
    -*) ;;
    ./*|../*|*/*) [ -f "${{word%%[*}}/pyproject.toml" ] || {{ echo "$word is no Python package" >&2; exit 1; }} ;;
    *) echo "only folders can be checked here, not '$word'" >&2; exit 1 ;;
  esac
done
"""


class Stuck(Exception):
    """A command that does not finish, or that ended the shell."""


class Shell:
    """A bash that runs commands one after the other."""

    def __init__(self, folder: Path, environment: dict[str, str]):
        self.folder = folder
        self._outputs = 0
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """The id of the bash process."""
        return self._process.pid

    def run(self, command: str) -> tuple[list[str], int]:
        """Run a command. Returns the lines of its stdout and stderr, and its status."""
        mark = secrets.token_hex(8)
        # Braces, not a subshell, so that `cd` and `export` affect later commands.
        script = f"{{ {command}\n}} </dev/null\nprintf '%s %d\\n' {mark} $?\n"
        self._process.stdin.write(script.encode())
        self._process.stdin.flush()
        output = self._read_until(mark)
        text, _, status = output.rpartition(mark)
        return text.splitlines(), int(status)

    def begin(self, command: str) -> Path:
        """Run a command in the background. Returns the file with its output."""
        self._outputs += 1
        output = self.folder / f".output-{self._outputs}"
        output.touch()
        self.run(f"{{ {command}\n}} >{output} 2>&1 &")
        return output

    def run_all(self, commands: str) -> tuple[list[str], int]:
        """Run commands. The first one that fails ends the shell; it is the last line of the output."""
        failed = "trap 'status=$?; echo \"$BASH_COMMAND\"; (exit $status)' ERR"
        return self.run(f"{failed}; set -e\n{commands}\nset +e; trap - ERR")

    def _read_until(self, mark: str) -> str:
        output, end = b"", time.monotonic() + TIMEOUT_S
        while not re.search(rb"%s \d+\n$" % mark.encode(), output):
            ready, _, _ = select.select([self._process.stdout], [], [], max(0, end - time.monotonic()))
            piece = os.read(self._process.stdout.fileno(), 65536) if ready else b""
            if not piece:
                why = "the shell ended" if ready else f"not finished after {TIMEOUT_S} s"
                raise Stuck(f"{why}; the output so far:\n{output.decode('utf-8', 'replace')}")
            output += piece
        return output.decode("utf-8", "replace")

    def close(self) -> None:
        """End the shell and the processes it started."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


def programs(folder: Path, installed: Installed) -> None:
    """Fill a folder with the programs that pages use."""
    folder.mkdir()
    links = {
        "redis-server": installed.path,
        "valkey-server": installed.path,
        "redis-cli": CLI,
        "valkey-cli": CLI,
    }
    for name, path in links.items():
        (folder / name).symlink_to(path)
    python = sys.executable
    scripts = {
        "python": PYTHON.format(python=python),
        "python3": PYTHON.format(python=python),
        "taskslot": f'exec {python} -m taskslot "$@"',
        "celery": f'exec {python} -m celery "$@"',
        "make": MAKE.format(make=shutil.which("make")),
        "pip": PIP.format(python=python),
    }
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/bash\n{script}\n")
        (folder / name).chmod(0o755)


def clone(root: Path, folder: Path) -> None:
    """Copy a tree into a folder: the files that git doesn't ignore, and the module where `make build` writes it."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate"]
    names = subprocess.check_output(command, cwd=root, text=True).split("\0")
    for name in filter(None, names):
        if (root / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, folder / name)
    (folder / "target/release").mkdir(parents=True, exist_ok=True)
    (folder / "target/release/libtaskslot.so").symlink_to(MODULE)


def end_all_in(folder: Path, *others_than: int) -> None:
    """End the processes whose working folder is in `folder`, except `others_than`: servers and workers of a page."""

    def remaining() -> list[int]:
        found = []
        for entry in Path("/proc").glob("[0-9]*/cwd"):
            try:
                if Path(os.readlink(entry)).is_relative_to(folder):
                    found.append(int(entry.parent.name))
            except OSError:
                continue  # it has ended, or isn't ours
        return [pid for pid in found if pid not in (os.getpid(), *others_than)]

    def are_ended() -> bool:
        for pid in remaining():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return not remaining()

    wait_until(are_ended, f"all processes in {folder} have ended", 10)
