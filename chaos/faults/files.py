"""Files that lie: a byte of an append-only file or of a snapshot is changed, or a snapshot is cut.

This is done to copies, on a server aside, while the load goes on: a damaged file permits nothing there. What a server
makes of a damaged file must be one of these:

- `refused`: it exits at start and says why
- `broken`: it starts, and at least one queue is BROKEN, or was until the file deleted it: then the log says so
- `equal`: it starts, and all queues are as in the undamaged file

A snapshot has a checksum, and so has what the module writes to an AOF. A difference that nobody notices, `changed`, is
a problem of the run. So is a crash. Commands of the server itself in an AOF, like SELECT and DEL, have no checksum, so
they are not damaged here.
"""

from __future__ import annotations

import os
import random
import re
import shutil
from pathlib import Path

import redis
from harness.files import commands_in
from harness.server import CRASH, Server, digest, wait_until
from harness.talk import packed

from chaos.disk import data_files
from chaos.injector import injector
from chaos.stage import Stage
from chaos.topologies.compare import queues

# How many damaged copies are tried in one fault.
TRIES = 4
# What the log says of damage that the queues may not show any more.
NOTICED = re.compile(r"is BROKEN: |is skipped: |can't be made here: ")


@injector("AOF flipped")
def flipped_aof(stage: Stage) -> None:
    """The AOF of a server that was killed: a bit of it is changed."""
    node, server = stage.any_primary()
    with stage.fault("AOF flipped", node) as fault:
        server.kill9()
        aside = Aside(stage, server)
        server.start()
        fault.permits.closes = ["*"]
        fault.details["became"] = tried(stage, aside, aof=True)


@injector("RDB flipped or torn")
def damaged_rdb(stage: Stage) -> None:
    """A snapshot: a bit of it is changed, or it is cut."""
    node, server = stage.any_primary()
    with stage.fault("RDB flipped or torn", node) as fault:
        with server.client() as client:
            wait_until(
                lambda: not client.info("persistence")["aof_rewrite_in_progress"], "no rewrite goes on"
            )
            client.execute_command("SAVE")
        aside = Aside(stage, server)
        fault.details["became"] = tried(stage, aside, aof=False)


def tried(stage: Stage, aside: Aside, aof: bool) -> dict[str, int]:
    """Damage copies, and count what became of them. What must not be is a problem of the run."""
    became: dict[str, int] = {}
    try:
        truth = aside.load(aof)
        assert truth is not None, "the server starts with undamaged copies"
        for _ in range(TRIES):
            what = aside.damage(stage, aof)
            found = aside.judge(aof, truth)
            became[found] = became.get(found, 0) + 1
            if aside.crash():
                stage.problems.append(f"{what}: {aside.crash()}")
            if found == "changed":
                stage.problems.append(f"{what}: the server started, and its queues differ silently")
    finally:
        aside.close()
    return became


class Aside:
    """A server of the same kind that starts with copies of another one's files."""

    def __init__(self, stage: Stage, origin: Server):
        self.copies = stage.folder / "copies"
        shutil.rmtree(self.copies, ignore_errors=True)
        for path in data_files(origin):
            target = self.copies / path.relative_to(origin.dir)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        # A replica decides nothing, so that what it has loaded stays as it is. It never finds its primary.
        self.server = Server(origin.installed, aof_load_truncated="no", replicaof="127.0.0.1 1")
        self.server.kill9()

    def put(self, aof: bool) -> list[Path]:
        """Put the undamaged copies into the server's folder. Returns those that can be damaged."""
        for path in data_files(self.server):
            path.unlink()
        shutil.copytree(self.copies, self.server.dir, dirs_exist_ok=True)
        return [path for path in data_files(self.server) if (path.name != "dump.rdb") == aof]

    def damage(self, stage: Stage, aof: bool) -> str:
        """Change one bit of one file, or cut a snapshot. Returns what was done."""
        paths = [path for path in self.put(aof) if path.stat().st_size]
        path = stage.random.choice(paths)
        at = random_place(stage.random, path) if aof else stage.random.randrange(path.stat().st_size)
        if not aof and stage.random.random() < 0.3:
            os.truncate(path, at)
            return f"{path.name} cut to {at} bytes"
        data = bytearray(path.read_bytes())
        data[at] ^= 1 << stage.random.randrange(8)
        path.write_bytes(data)
        return f"{path.name}: byte {at} is {data[at]:#x} now"

    def load(self, aof: bool) -> dict[str, tuple[bytes, bool]] | None:
        """Each queue's digest and whether it is BROKEN, from undamaged copies; None if the server doesn't start."""
        self.put(aof)
        return self.started(aof)

    def started(self, aof: bool) -> dict[str, tuple[bytes, bool]] | None:
        """The same from the files as they are."""
        self.server.begin(appendonly="yes" if aof else "no")
        wait_until(lambda: not self.server.alive() or self.answers(), "it has loaded or refused")
        if not self.server.alive():
            return None
        with self.server.client() as client:
            found = {name: (digest(client, name), is_broken(client, name)) for name in queues(self.server)}
        self.server.kill9()
        return found

    def answers(self) -> bool:
        """Whether it has loaded, and serves."""
        if not self.server.alive():
            return False
        try:
            with self.server.client() as client:
                return bool(client.ping())
        except (redis.RedisError, OSError):
            return False

    def judge(self, aof: bool, truth: dict[str, tuple[bytes, bool]]) -> str:
        """What the server makes of its damaged files."""
        said = len(self.server.log())
        found = self.started(aof)
        if found is None:
            self.server.ends_by_itself()
            return "refused"
        if any(broken for _, broken in found.values()) or NOTICED.search(self.server.log()[said:]):
            return "broken"
        return "equal" if found == truth else "changed"

    def crash(self) -> str:
        """What its log says of a crash or a panic; empty if there was none."""
        found = CRASH.search(self.server.log())
        return f"its log says {found[0]!r}" if found else ""

    def close(self) -> None:
        """End it, and remove the copies."""
        self.server.discard()
        shutil.rmtree(self.copies, ignore_errors=True)


def random_place(dice: random.Random, aof: Path) -> int:
    """A place in an AOF that a checksum covers: in its RDB part, or in a command of the module."""
    data = aof.read_bytes()
    commands = commands_in(data)
    ours = [(at, at + len(packed(words))) for at, words in commands if words[0].startswith(b"TASK.")]
    covered = [(0, commands[0][0] if commands else len(data)), *ours]
    begin, end = dice.choices(covered, weights=[end - begin for begin, end in covered])[0]
    return dice.randrange(begin, end)


def is_broken(client: redis.Redis, name: str) -> bool:
    """Whether a queue is BROKEN."""
    reply = client.execute_command("TASK.INFO", name)
    fields = dict(zip(reply[::2], reply[1::2], strict=True))
    return bool(fields.get(b"broken"))
