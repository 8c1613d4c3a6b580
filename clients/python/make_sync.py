"""Generates the library's sync classes from the asyncio ones (taskslot/_async -> taskslot/_sync), with unasync.

make_sync.py            write them (`make fmt`)
make_sync.py --check    fail if they are out of date (`make lint`)
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import unasync

HERE = Path(__file__).parent
SOURCE, TARGET = HERE / "taskslot/_async", HERE / "taskslot/_sync"
NAMES = {
    "AsyncBaseQueue": "BaseQueue",
    "AsyncBatch": "Batch",
    "AsyncBatchQueue": "BatchQueue",
    "AsyncQueue": "Queue",
    "AsyncShardClaims": "ShardClaims",
    "AsyncShardMonitor": "ShardMonitor",
    "AsyncShardedQueue": "ShardedQueue",
    "AsyncWire": "Wire",
    "AsyncPipelinedConnection": "PipelinedConnection",
    "_async": "_sync",
    "aclose": "close",
    "asyncio": "time",
}
# The class names without `Async`. Docstrings contain them too.
SYNC_CLASSES = "|".join(name.removeprefix("Async") for name in NAMES if name.startswith("Async"))
NOTE = "# Generated from taskslot/_async/{name} by make_sync.py: make changes there.\n"


def written(folder: Path) -> dict[str, str]:
    """Generate the sync files in an empty folder. Returns their texts by name."""
    copies = folder / "_async"
    shutil.copytree(SOURCE, copies, ignore=shutil.ignore_patterns("__pycache__"))
    files = sorted(copies.glob("*.py"))
    rule = unasync.Rule(f"{copies}/", f"{folder}/_sync/", additional_replacements=NAMES)
    unasync.unasync_files([str(file) for file in files], [rule])
    for file in files:
        made = folder / "_sync" / file.name
        text = made.read_text()
        # unasync doesn't change strings, and docstrings contain names of classes.
        made.write_text(NOTE.format(name=file.name) + re.sub(rf"\bAsync(?=({SYNC_CLASSES})\b)", "", text))
    (folder / "_sync/__init__.py").write_text(
        '"""The sync classes. make_sync.py generates them from those in `_async`, so make changes there."""\n'
    )
    ruff = [Path(sys.executable).with_name("ruff"), "--config", HERE.parents[1] / "pyproject.toml"]
    for step in (["check", "--fix-only", "--quiet"], ["format", "--quiet"]):
        subprocess.run([ruff[0], *step, *ruff[1:], folder / "_sync"], check=True)
    return {file.name: file.read_text() for file in sorted((folder / "_sync").glob("*.py"))}


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        files = written(Path(folder))
    if "--check" in sys.argv:
        here = {file.name: file.read_text() for file in sorted(TARGET.glob("*.py"))}
        if here != files:
            print("taskslot/_sync is out of date: run `make fmt`")
            return 1
        return 0
    TARGET.mkdir(exist_ok=True)
    for name, text in files.items():
        (TARGET / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
