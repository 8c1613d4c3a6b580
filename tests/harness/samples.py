"""Samples of the module's stored data, a set for each version of effects. Every later version must load them.

`python -m harness.samples 1` creates the set of version 1 again. That is only allowed before the version is released.
After that, a sample never changes, and a new version gets its own set.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict

from harness.files import rewrite_aof
from harness.queues import Rich, contents, rich_queue
from harness.server import ROOT, SERVERS, Server, digest

FOLDER = ROOT / "tests/server/durability/samples"
# The oldest supported server. All others load its files.
OLDEST = "redis-6.2"


def text(value: object) -> object:
    """The value for JSON: bytes become texts, with a character for each byte."""
    match value:
        case bytes():
            return value.decode("latin-1")
        case dict():
            return {text(name): text(part) for name, part in value.items()}
        case list():
            return [text(part) for part in value]
    return value


def rich_of(stored: dict) -> Rich:
    """The opposite of `text(asdict(rich))`."""
    made = {
        name: part.encode("latin-1")
        for name, part in stored.items()
        if isinstance(part, str) and name != "key"
    }
    return Rich(stored["key"], **made, acked=[handle.encode() for handle in stored["acked"]])


def make(version: int) -> None:
    """Write a set: a queue `queue` stored as effects, `loaded` in stored form, and a description of their contents."""
    server = Server(SERVERS[OLDEST], appendonly="yes", aof_use_rdb_preamble="no")
    r = server.client()
    loaded = rich_queue(r, "loaded", many=30)
    rewrite_aof(server)
    # One effect after the stored form.
    r.execute_command("TASK.CONFIG", "loaded", "SET", "lease", 12_345)
    rich = rich_queue(r, many=30)
    r.save()
    aof = (server.dir / "appendonly.aof").read_bytes()
    assert b"TASK._LOAD" in aof and aof.count(b"TASK._APPLY") > 50
    description = {
        "made_at": round(time.time() * 1000),
        "handles": {"queue": text(asdict(rich)), "loaded": text(asdict(loaded))},
        "contents": {key: text(contents(r, key)) for key in ("queue", "loaded")},
    }
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"queue-v{version}.dump").write_bytes(r.dump("queue"))
    (FOLDER / f"queues-v{version}.rdb").write_bytes((server.dir / "dump.rdb").read_bytes())
    (FOLDER / f"queues-v{version}.aof").write_bytes(aof)
    (FOLDER / f"queues-v{version}.json").write_text(json.dumps(description, indent=1) + "\n")
    print(f"made version {version}: {digest(r, 'queue').decode()}")
    server.discard()


if __name__ == "__main__":
    make(int(sys.argv[1]))
