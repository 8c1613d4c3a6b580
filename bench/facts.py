"""What a result is worth nothing without: the date, the machine, and the versions of what ran."""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
from pathlib import Path

from harness.server import ROOT, Server


def machine() -> dict[str, str | int]:
    """The date, the machine and the commit of this tree."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    describe = ["git", "describe", "--always", "--dirty", "--tags"]
    commit = subprocess.run(describe, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": cpu[1] if cpu else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "linux": platform.release(),
        "commit": commit or "unknown",
    }


def version(server: Server) -> dict[str, str]:
    """The version and the allocator of a server that runs."""
    with server.client() as client:
        info, memory = client.info("server"), client.info("memory")
    flavour, number = ("Valkey", info.get("valkey_version")), ("Redis", info["redis_version"])
    name = " ".join(flavour if flavour[1] else number)
    return {"server": name, "allocator": memory["mem_allocator"]}
