"""Builds each mistake, and runs the profiles that should find it until a rule does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.server import ROOT

from chaos.injector import ROUND
from chaos.wrong.build import UnbuildableError, build
from chaos.wrong.mistakes import MISTAKES, Mistake
from chaos.wrong.profiles import PROFILES

# How long the load of one run lasts, how many seeds are tried, and how long a run may take in all, in seconds.
SECONDS, SEEDS, RUN_TIMEOUT_S = 12.0, ROUND, 400


@dataclass(frozen=True)
class Caught:
    """What found a mistake. `rules` is empty if nothing did; `trouble` says why it couldn't be tried."""

    name: str
    rules: dict[str, int]
    profile: str = ""
    seed: int = 0
    seconds: float = 0.0
    trouble: str = ""

    def row(self) -> str:
        """A row of the table."""
        rules = ", ".join(sorted(self.rules, key=lambda rule: -self.rules[rule])[:4])
        where = f"{self.profile}, seed {self.seed}" if self.profile else ""
        return f"| `{self.name}` | {rules or 'NOTHING ' + self.trouble} | {where} | {self.seconds:.0f} s |"


def main(words: Sequence[str], server: str = "valkey-9.1") -> int:
    """Try the mistakes whose names contain one of these words, or all. Exit status 1 if one isn't caught."""
    if set(words) & {"-h", "--help"}:
        print(
            f"usage: python -m chaos wrong [WORD ...]    a part of a name: {', '.join(one.name for one in MISTAKES)}"
        )
        return 0
    chosen = [one for one in MISTAKES if not words or any(word in one.name for word in words)]
    if not chosen:
        print(f"no mistake has a name with one of {list(words)}: {', '.join(one.name for one in MISTAKES)}")
        return 1
    print("| build | rules that found it | first in | after |\n|---|---|---|---|", flush=True)
    missed = 0
    for mistake in chosen:
        found = hunt(mistake, server)
        missed += not found.rules
        print(found.row(), flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} wrong builds were caught")
    return 1 if missed else 0


def hunt(mistake: Mistake, server: str) -> Caught:
    """Build a mistake and try it."""
    try:
        module = build(mistake)
    except UnbuildableError as error:
        return Caught(mistake.name, {}, trouble=str(error))
    profiles = [name for name in mistake.profiles if name in PROFILES]
    began, trouble = time.monotonic(), "" if profiles else f"none of its profiles exists: {mistake.profiles}"
    for seed in range(1, SEEDS + 1):
        for profile in profiles:
            rules, trouble = once(module, server, profile, seed)
            if rules:
                return Caught(mistake.name, rules, profile, seed, time.monotonic() - began)
    return Caught(mistake.name, {}, seconds=time.monotonic() - began, trouble=trouble)


def once(module: Path, server: str, profile: str, seed: int) -> tuple[dict[str, int], str]:
    """One run. Returns how often each rule spoke, and what else went wrong."""
    folders = [str(ROOT), str(ROOT / "tests"), str(ROOT / "clients/python")]
    environment = {**os.environ, "TASKSLOT_MODULE": str(module), "PYTHONPATH": os.pathsep.join(folders)}
    command = [sys.executable, "-m", "chaos.wrong.once", server, profile, str(seed), str(SECONDS)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=RUN_TIMEOUT_S
    )
    try:
        said = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return {}, done.stderr.strip()[-500:]
    return said["rules"], "; ".join(said["problems"])
