"""`make studio`: one small application in five forms, each tried with a killed worker and a server that is gone.

The application of a photo studio makes thumbnails, sends mail with retries, runs a job by a schedule, and has albums:
a batch of thumbnails with a callback. It is written with taskslot's Python worker (sync and asyncio), Celery, Dramatiq
and TypeScript. For each form, two worker processes work while tasks are pushed. One worker is killed with -9 while it
has a task. Then the server is killed, and comes back after ten seconds. In the end the program reads what the functions
wrote down: what was lost, and what ran twice, with the reason.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from account import Account, Size, Trial
from forms import FORMS, Form
from harness.server import ROOT, SERVERS, Server, end_with_parent, find_servers
from rich.console import Console
from rich.table import Table

APPS = Path(__file__).parent / "apps"
# Longer than any lease, and than every pause of a client before it tries again.
DRAIN_S = 90.0


class Workplace:
    """A server, the processes of one form, and the ledger of its functions."""

    def __init__(self, form: Form, server: Server, folder: Path):
        self.form, self.server, self.folder = form, server, folder / "apps"
        shutil.copytree(APPS, self.folder)
        form.prepare(self.folder)
        self.ledger = folder / "ledger"
        self.ledger.touch()
        self.log = folder / "log"
        self._env = {
            **os.environ,
            "PYTHONPATH": str(ROOT / "clients/python"),
            "STUDIO_URL": f"redis://127.0.0.1:{server.port}",
            "STUDIO_LEDGER": str(self.ledger),
        }
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, command: list[str]) -> subprocess.Popen[bytes]:
        """Start a process of this form; its output goes to the log."""
        words = [word.format(folder=self.folder, number=len(self._processes)) for word in command]
        with open(self.log, "ab") as log:
            process = subprocess.Popen(
                words,
                cwd=self.folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
        self._processes.append(process)
        return process

    def account(self) -> Account:
        """What the functions have written down so far."""
        return Account.read(self.ledger)

    def close(self) -> None:
        """End all processes, with their children."""
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.wait()
        self.server.discard()


def wait_until(condition: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    """Wait for a condition. Raises TimeoutError."""
    ends_at = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends_at:
            raise TimeoutError(f"{what}: not in {seconds:g} s")
        time.sleep(0.05)


def try_out(place: Workplace, size: Size, gone_s: float, say: Callable[[str], None]) -> Trial:
    """Run one form through its trial."""
    form, server = place.form, place.server
    began = time.monotonic()
    try:
        workers = [place.start(form.worker) for _ in range(2)]
        for command in form.beside:
            place.start(command)
        wait_until(lambda: place.account().runs_of("nightly"), "the first run of the schedule")
        producer = place.start([*form.producer, *map(str, (size.thumbnails, size.mails, size.albums))])
        wait_until(lambda: place.account().done("thumbnail") >= size.thumbnails // 8, "the first thumbnails")
        killed = kill_busy(place, workers)
        say(f"{form.name}: killed a worker that had tasks, with -9")
        place.start(form.worker)
        wait_until(lambda: place.account().done("thumbnail") >= size.thumbnails // 4, "more thumbnails")
        server.kill9()
        gone_at = time.time()
        say(f"{form.name}: killed the server")
        time.sleep(gone_s)  # this is the time that the server is gone
        server.start()
        back_at = time.time()
        say(f"{form.name}: the server is back after {gone_s:g} s")
        producer.wait(DRAIN_S)
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: not place.account().missing(size), "", DRAIN_S)
        wait_until(
            lambda: place.account().ran_since("nightly", back_at), "a run of the schedule after the fault"
        )
        account = place.account()
    finally:
        place.close()
    took_s = time.monotonic() - began
    return Trial(form.name, size, account, (gone_at, back_at), killed, took_s, producer.returncode)


def kill_busy(place: Workplace, workers: list[subprocess.Popen[bytes]]) -> set[int]:
    """Kill a worker, with its children, while one of its processes runs a task. Returns the ids of its processes."""
    groups = {worker.pid: worker for worker in workers}

    def busy() -> int | None:
        for pid in place.account().running():
            with contextlib.suppress(ProcessLookupError):
                if os.getpgid(pid) in groups:
                    return os.getpgid(pid)
        return None

    wait_until(busy, "a worker that runs a task")
    group = busy() or workers[0].pid
    members = {pid for pid in place.account().pids() if group_of(pid) == group}
    os.killpg(group, 9)
    groups[group].wait()
    return members


def group_of(pid: int) -> int | None:
    """The process group of a process; None if it has ended."""
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def table_of(trials: list[Trial]) -> Table:
    """The trials side by side."""
    table = Table("form", "pushed", "done", "lost", "ran twice", "schedule", "album callbacks", "took")
    for trial in trials:
        table.add_row(*trial.row())
    return table


def options() -> argparse.Namespace:
    """The command-line options."""
    parser = argparse.ArgumentParser(prog="make studio", description=__doc__.split("\n")[0])
    parser.add_argument(
        "forms", nargs="*", help=f"which: {', '.join(FORMS)} (default: all that can run here)"
    )
    parser.add_argument("--thumbnails", type=int, default=400, help="(default: %(default)s)")
    parser.add_argument("--mails", type=int, default=120, help="(default: %(default)s)")
    parser.add_argument("--albums", type=int, default=3, help="of 20 pictures (default: %(default)s)")
    parser.add_argument(
        "--gone", type=float, default=10, help="seconds without a server (default: %(default)s)"
    )
    parser.add_argument(
        "--server", default="valkey-9.1", choices=sorted(SERVERS), help="(default: %(default)s)"
    )
    chosen = parser.parse_args()
    if unknown := set(chosen.forms) - set(FORMS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; the forms are {', '.join(FORMS)}")
    return chosen


def main() -> int:
    """Try the forms. Returns 0 if nothing was lost, and all that ran twice has a reason."""
    chosen, console = options(), Console()
    size = Size(chosen.thumbnails, chosen.mails, chosen.albums)
    trials = []
    for name in chosen.forms or FORMS:
        form = FORMS[name]
        if (missing := form.missing()) is not None:
            console.print(f"{name} is skipped: {missing}")
            continue
        with tempfile.TemporaryDirectory(prefix="taskslot-studio-") as folder:
            server = Server(find_servers()[chosen.server], port=True, appendonly="yes")
            place = Workplace(form, server, Path(folder))
            try:
                trials.append(try_out(place, size, chosen.gone, console.print))
            finally:
                if not trials or trials[-1].name != name or not trials[-1].is_sound():
                    console.print(place.log.read_text(errors="replace")[-4000:], markup=False)
        for line in trials[-1].remarks():
            console.print(f"{name}: {line}", highlight=False)
    console.print(table_of(trials))
    return 0 if all(trial.is_sound() for trial in trials) else 1


if __name__ == "__main__":
    sys.exit(main())
