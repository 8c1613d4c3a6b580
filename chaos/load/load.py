"""`Load`: the processes of the load, from the preparation of the queues to the history of all calls."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.server import ROOT, end_with_parent, wait_until

from chaos.history import Closed, Final, Journal
from chaos.load import nodes, wire
from chaos.load.addresses import Addresses, is_cluster
from chaos.load.calls import group as group_fields
from chaos.load.calls import translate
from chaos.load.plan import LIBRARY, TAGS, Options, setup
from chaos.load.spec import PATIENCE_S, Spec
from chaos.load.words import Words
from chaos.load.words import settings as settings_fields

# How long a process may take to start, or to prepare or drain all queues, in seconds.
START_S, SETUP_S, DRAIN_S = 60.0, 60.0, 180.0
# The roles of processes that hold leases, and can be killed.
WORKERS = ("worker", "library", "asyncio", "node-worker", "node-raw")


@dataclass
class Running:
    """A process of the load."""

    spec: Spec
    process: subprocess.Popen[bytes]


class Load:
    """All clients of a run. `options` are those of `Options`; a cluster gets queues at each of its primaries."""

    def __init__(
        self, addresses: Addresses, seed: int, folder: Path, options: Mapping[str, object] | None = None
    ):
        values: dict[str, Any] = {"tags": TAGS if is_cluster(addresses) else TAGS[:1], **(options or {})}
        self.options = Options.read(values)
        self.addresses, self.seed, self.folder = addresses, seed, folder
        folder.mkdir(parents=True, exist_ok=True)
        self._random = random.Random(f"load {seed}")
        self._numbers: dict[str, itertools.count[int]] = {}
        self._running: list[Running] = []
        # The names of those that have had an answer.
        self._busy: set[str] = set()
        self._errors: list[str] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._journal = Journal(folder / "load.jsonl")
        # Why there are no clients of Node; None if there are.
        self.lacks_node: str | None = None

    # ---- what the rules need to know

    @property
    def settings(self) -> dict[str, dict[str, Any]]:
        """The settings of each queue, by name."""
        found: dict[str, dict[str, Any]] = {}
        for verb, name, *words in setup(self.options):
            if verb == "TASK.CONFIG":
                found.setdefault(str(name), {}).update(settings_fields([str(word) for word in words[1:]]))
        return found

    @property
    def groups(self) -> dict[str, dict[str, dict[str, Any]]]:
        """The limits of each group of each queue."""
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for verb, name, *words in setup(self.options):
            if verb == "TASK.GROUP":
                _, fields = group_fields(Words([str(word) for word in words]), [])
                found.setdefault(str(name), {})[fields.pop("group")] = fields
        return found

    # ---- life

    def start(self) -> None:
        """Prepare the queues and start all processes. Returns when each of them has been answered."""
        self._alone("setup", SETUP_S)
        options = self.options
        roles = ["worker"] * options.workers
        if options.library and LIBRARY in options.kinds:
            roles += ["library", "asyncio"]
        roles += self._of_node()
        roles += ["producer"] * options.producers
        started = [self._start(role) for role in roles]
        started += [self._start("producer", keeps=True) for _ in range(options.keeping)]
        try:
            wait_until(
                lambda: self.problems() or all(map(self._is_busy, started)), "all are at work", START_S
            )
            assert not self.problems(), "\n".join(self.problems())
        except BaseException:
            self.stop()
            raise
        if options.kill_each_s:
            threading.Thread(target=self._kill_now_and_then, daemon=True).start()

    def kill_worker(self, role: str | None = None) -> str | None:
        """Kill a worker's process (SIGKILL), and start another like it. Returns its name; None if there is none.

        That its connections are closed is in the history.
        """
        with self._lock:
            alive = [one for one in self._running if one.spec.role in (WORKERS if role is None else (role,))]
            if not alive or self._over.is_set():
                return None
            victim = self._random.choice(alive)
            self._running.remove(victim)
        at = time.monotonic()
        victim.process.kill()
        victim.process.wait()
        self._journal.write(Closed(victim.spec.name, at))
        self._start(victim.spec.role)
        return victim.spec.name

    def stop(self) -> None:
        """End all processes: each finishes its call, or leaves it unknown."""
        self._over.set()
        with self._lock:
            running, self._running = self._running, []
        at = time.monotonic()
        for one in running:
            one.process.send_signal(signal.SIGTERM)
        for one in running:
            try:
                one.process.wait(max(0.1, at + PATIENCE_S + 2 - time.monotonic()))
            except subprocess.TimeoutExpired:
                one.process.kill()
                one.process.wait()
            self._journal.write(Closed(one.spec.name, at))

    def drain(self) -> list[Final]:
        """Empty all queues, write what is left to the history, and make the history of all calls.

        Faults are off. It goes on after trouble, because the history is wanted then most of all: see `problems`.
        """
        self._alone("drain", DRAIN_S)
        for path in sorted(self.folder.glob(f"*{wire.SUFFIX}")):
            translate(path)
        lines = (self.folder / "final.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        return [
            Final(**{name: value for name, value in record.items() if name != "line"})
            for record in records
            if record["line"] == "queue"
        ]

    def problems(self) -> list[str]:
        """What processes of the load have met that a client must not meet, each with its traceback."""
        found = [path.read_text() for path in sorted(self.folder.glob("*.error"))]
        return found + self._errors

    # ---- processes

    def _of_node(self) -> list[str]:
        """The roles of Node's processes, as far as this machine has Node."""
        if not self.options.node:
            return []
        self.lacks_node = nodes.lacks()
        if self.lacks_node:
            return []
        roles = ["node-producer", "node-raw"]
        return [*roles, "node-worker"] if self.options.library and LIBRARY in self.options.kinds else roles

    def _spec(self, role: str, keeps: bool = False) -> Spec:
        number = next(self._numbers.setdefault(role, itertools.count(1)))
        name = f"{role}-{number}"
        turn = number + (WORKERS.index(role) if role in WORKERS else 0)
        seed, folder, options = str(self.seed), str(self.folder), self.options.plain()
        return Spec(name, role, seed, self.addresses, options, folder, keeps, turn)

    def _start(self, role: str, keeps: bool = False) -> Running:
        with self._lock:
            spec = self._spec(role, keeps)
        running = Running(spec, self._popen(spec))
        with self._lock:
            self._running.append(running)
        return running

    def _popen(self, spec: Spec) -> subprocess.Popen[bytes]:
        path = spec.write()
        is_node = spec.role.startswith("node-")
        command = nodes.command(path) if is_node else [sys.executable, "-m", "chaos.load.process", str(path)]
        folders = [str(ROOT), str(ROOT / "tests"), str(ROOT / "clients/python")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "PYTHONDONTWRITEBYTECODE": "1"}
        with open(self.folder / f"{spec.name}.out", "ab") as out:
            return subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                preexec_fn=end_with_parent,
            )

    def _alone(self, role: str, timeout_s: float) -> None:
        """Run a process that does one thing and ends."""
        spec = self._spec(role)
        process = self._popen(spec)
        try:
            status = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        out = (self.folder / f"{spec.name}.out").read_text("utf-8", "replace")
        if status != 0:
            self._errors.append(f"{role} ended with {status}:\n{out}")
            raise AssertionError(self._errors[-1])

    def _is_busy(self, one: Running) -> bool:
        """Whether a process has had an answer. If it ended instead, that is an error."""
        path = self.folder / f"{one.spec.name}{wire.SUFFIX}"
        if one.spec.name in self._busy or (path.exists() and b'"r":' in path.read_bytes()):
            self._busy.add(one.spec.name)
            return True
        if one.process.poll() is not None:
            out = (self.folder / f"{one.spec.name}.out").read_text("utf-8", "replace")
            self._errors.append(f"{one.spec.name} ended with {one.process.returncode}:\n{out}")
        return False

    def _kill_now_and_then(self) -> None:
        while not self._over.wait(self.options.kill_each_s * self._random.uniform(0.5, 1.5)):
            self.kill_worker()
