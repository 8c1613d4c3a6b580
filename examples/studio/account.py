"""What happened in a trial, from the lines that the functions wrote down."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ALBUM_PICTURES = 20


@dataclass(frozen=True)
class Size:
    """How much is pushed."""

    thumbnails: int
    mails: int
    albums: int

    def keys(self) -> dict[str, list[str]]:
        """What each kind of function has to do, by its keys."""
        pictures = [f"album-{album}/{n}.png" for album in range(self.albums) for n in range(ALBUM_PICTURES)]
        return {
            "thumbnail": [f"{n}.png" for n in range(self.thumbnails)] + pictures,
            "mail": [f"{n}@example.org" for n in range(self.mails)],
            "album": [f"album-{album}" for album in range(self.albums)],
        }


@dataclass
class Run:
    """One run of a function."""

    kind: str
    key: str
    pid: int
    began: float
    ended: float | None = None
    has_failed: bool = False


@dataclass
class Account:
    """All runs, in order."""

    runs: list[Run] = field(default_factory=list)

    @classmethod
    def read(cls, ledger: Path) -> Account:
        """Read the ledger. A last line without its end is left out."""
        account, open_runs = cls(), dict[tuple[str, str, int], Run]()
        for line in ledger.read_text().splitlines(keepends=True):
            if not line.endswith("\n"):
                break
            note = json.loads(line)
            name = (note["kind"], note["key"], note["pid"])
            if note["what"] == "start":
                open_runs[name] = run = Run(*name, note["at"])
                account.runs.append(run)
            elif run := open_runs.pop(name, None):
                run.ended, run.has_failed = note["at"], note["what"] == "failed"
        return account

    def runs_of(self, kind: str) -> list[Run]:
        """The runs of one kind."""
        return [run for run in self.runs if run.kind == kind]

    def succeeded(self, kind: str) -> Counter[str]:
        """For each key of a kind, how many runs ended well."""
        return Counter(run.key for run in self.runs_of(kind) if run.ended is not None and not run.has_failed)

    def done(self, kind: str) -> int:
        """How many different keys of a kind ended well."""
        return len(self.succeeded(kind))

    def running(self) -> list[int]:
        """The processes that run something now, as far as the ledger knows."""
        return [run.pid for run in self.runs if run.ended is None]

    def pids(self) -> set[int]:
        """All processes that ran something."""
        return {run.pid for run in self.runs}

    def ran_since(self, kind: str, at: float) -> bool:
        """Whether a run of this kind began after an instant."""
        return any(run.began > at for run in self.runs_of(kind))

    def missing(self, size: Size) -> list[str]:
        """What was pushed and has not ended well."""
        keys = size.keys()
        return [f"{kind} {key}" for kind in keys for key in keys[kind] if key not in self.succeeded(kind)]


@dataclass(frozen=True)
class Trial:
    """A form's trial, when it is over."""

    name: str
    size: Size
    account: Account
    gone: tuple[float, float]  # when the server went, and when it was back
    killed: set[int]  # the processes that were killed
    took_s: float
    producer: int | None  # its exit status

    def twice(self) -> list[tuple[str, str]]:
        """What ran once more after a run that had not failed, and why."""
        found = []
        for kind in ("thumbnail", "mail", "album"):
            by_key: dict[str, list[Run]] = {}
            for run in self.account.runs_of(kind):
                by_key.setdefault(run.key, []).append(run)
            for key, runs in by_key.items():
                again = [run for run in runs[:-1] if not run.has_failed]
                found += [(f"{kind} {key}", self.reason(run, runs)) for run in again]
        return found

    def reason(self, run: Run, runs: list[Run]) -> str:
        """Why something ran again after this run."""
        gone_at, back_at = self.gone
        if run.pid in self.killed:
            return "its worker was killed"
        if run.ended is None or run.ended >= gone_at - 1 and run.began <= back_at:
            return "it ended while the server was gone"
        if any(gone_at <= other.began <= back_at + 30 for other in runs):
            return "its push was sent again, because the reply was lost with the server"
        return ""

    def is_sound(self) -> bool:
        """Whether nothing was lost, each callback ran, and all that ran twice has a reason."""
        is_complete = not self.account.missing(self.size)
        return is_complete and self.producer == 0 and all(reason for _, reason in self.twice())

    def remarks(self) -> list[str]:
        """What a reader should know, a line each."""
        lost = self.account.missing(self.size)
        lines = [f"lost: {', '.join(lost[:10])}{' …' if len(lost) > 10 else ''}"] if lost else []
        reasons = Counter(reason or "for no known reason" for _, reason in self.twice())
        lines += [f"{number} ran twice: {reason}" for reason, number in reasons.most_common()]
        if self.producer != 0:
            lines.append(f"the producer ended with {self.producer}")
        return lines

    def row(self) -> list[str]:
        """The trial as a row of the table."""
        keys, lost = self.size.keys(), len(self.account.missing(self.size))
        pushed = sum(map(len, keys.values()))
        albums = self.account.succeeded("album")
        return [
            self.name,
            str(pushed),
            str(pushed - lost),
            str(lost),
            str(len(self.twice())),
            f"{len(self.account.runs_of('nightly'))} runs",
            f"{sum(albums.values())} of {self.size.albums}",
            f"{self.took_s:.0f} s",
        ]
