"""Samples of what the module stores, a set for each version of its formats: made once, then loaded for ever.

`python -m harness.samples 1` makes the set of version 1 anew. That is for the time before the version is
released; after that a sample never changes, and a new version gets a set of its own.
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
# The oldest server we know: what it stores all others load.
OLDEST = "redis-6.2"


def text(value: object) -> object:
    """The value with texts for bytes, as JSON has it; each byte is a character."""
    match value:
        case bytes():
            return value.decode("latin-1")
        case dict():
            return {text(name): text(part) for name, part in value.items()}
        case list():
            return [text(part) for part in value]
    return value


def rich_of(told: dict) -> Rich:
    """What `asdict` and `text` made of it."""
    made = {
        name: part.encode("latin-1") for name, part in told.items() if isinstance(part, str) and name != "key"
    }
    return Rich(told["key"], **made, acked=[handle.encode() for handle in told["acked"]])


def make(version: int) -> None:
    """Write a set: a queue `queue` that came by effects, `loaded` that was rewritten, and what is in them."""
    server = Server(SERVERS[OLDEST], appendonly="yes", aof_use_rdb_preamble="no")
    r = server.client()
    loaded = rich_queue(r, "loaded", many=30)
    rewrite_aof(server)
    # One effect behind the stored form.
    r.execute_command("TASK.CONFIG", "loaded", "SET", "lease", 12_345)
    rich = rich_queue(r, many=30)
    r.save()
    aof = (server.dir / "appendonly.aof").read_bytes()
    assert b"TASK._LOAD" in aof and aof.count(b"TASK._APPLY") > 50
    told = {
        "made_at": round(time.time() * 1000),
        "handles": {"queue": text(asdict(rich)), "loaded": text(asdict(loaded))},
        "contents": {key: text(contents(r, key)) for key in ("queue", "loaded")},
    }
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"queue-v{version}.dump").write_bytes(r.dump("queue"))
    (FOLDER / f"queues-v{version}.rdb").write_bytes((server.dir / "dump.rdb").read_bytes())
    (FOLDER / f"queues-v{version}.aof").write_bytes(aof)
    (FOLDER / f"queues-v{version}.json").write_text(json.dumps(told, indent=1) + "\n")
    print(f"made version {version}: {digest(r, 'queue').decode()}")
    server.discard()


if __name__ == "__main__":
    make(int(sys.argv[1]))
