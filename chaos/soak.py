"""One server for hours: faults of all kinds under load, in periods of their own, with its memory and files watched.

After each period the load ends, everything is drained and judged, the queues are removed, and memory and open files are
noted. It ends with 1 if either has grown since the first periods, or if there were too few periods to tell.
"""

from __future__ import annotations

import argparse
import random
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass

from harness.server import SERVERS, Server

from chaos.campaign import Judged, judged
from chaos.faults import connections, keyspace, memory
from chaos.history import read
from chaos.injector import Injector
from chaos.profiles.profile import Profile
from chaos.profiles.single import ALWAYS, HARMLESS
from chaos.report import line
from chaos.run import Order, under_load
from chaos.topologies.single import Single

# Faults after which the process is the same one, so that its memory can be compared.
FAULTS: dict[Injector, float] = {
    **HARMLESS,
    **dict.fromkeys(keyspace.KEEP, 0.4),
    keyspace.restore: 1.0,
    memory.full: 1.0,
    connections.kill_clients: 1.0,
    connections.unblock: 1.0,
    connections.crowd: 0.5,
}
PERIOD_S = 60.0
# Periods that warm a server up, and how many there must be after them so that something can be compared.
WARM, LEAST = 3, 4
# A quarter of the periods has no faults, and each of the others so many kinds.
CALM, KINDS = 0.25, 4
# Memory may grow by so many bytes from the first to the last quarter of the periods. The server makes room once for
# each command that it has not had before, about 0.3 MB in all. A leak of two bytes for each push is more in an hour.
GROWTH = 1 << 20
# And open files by so many: now and then a connection of the load's last client is not closed yet.
FILES = 4


@dataclass(frozen=True)
class Empty:
    """What the server's process has when nothing is stored: bytes that it has allocated, and open files.

    What the system gave it as memory varies far more than what it has allocated.
    """

    memory: int
    files: int


def main(words: list[str]) -> int:
    """Run for some hours. Returns 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="chaos soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=1)
    parser.add_argument("--server", default="valkey-9.1", choices=list(SERVERS))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--period", type=float, default=PERIOD_S, help="seconds of each period (%(default)s)")
    options = parser.parse_args(words)
    print(f"Seed {options.seed}", flush=True)
    topology = ALWAYS(SERVERS[options.server], maxclients=9000)
    topology.start()
    is_bad, noted = False, list[Empty]()
    end, seed = time.monotonic() + options.hours * 3600, options.seed
    try:
        while time.monotonic() < end:
            profile = subset(random.Random(f"soak {seed}"))
            found = period(Order(profile, SERVERS[options.server], seed, options.period), topology)
            noted.append(emptied(topology.server))
            uses = f"{noted[-1].memory / 1e6:.2f} MB and {noted[-1].files} files when empty"
            print(f"seed {seed} {line(found.row)}, {uses}", flush=True)
            for story in found.told:
                print(f"\n{story}\n", flush=True)
            is_bad |= bool(found.told)
            seed += 1
    finally:
        topology.stop()
    verdict, has_grown = judgement(noted)
    print(verdict)
    return int(is_bad or has_grown)


def judgement(noted: Sequence[Empty]) -> tuple[str, bool]:
    """What became of memory and open files since the first periods, and whether that is too much or can't be told."""
    compared = noted[WARM:]
    if len(compared) < LEAST:
        return f"Too short: {len(noted)} periods, and {WARM + LEAST} are needed to compare anything", True
    memory = growth([one.memory for one in compared])
    files = growth([one.files for one in compared])
    text = f"The empty server after {len(noted)} periods: grown by {memory / 1e6:.2f} MB and {files} files since warm"
    return text, memory > GROWTH or files > FILES


def subset(rng: random.Random) -> Profile:
    """The faults of a period."""
    kinds = [] if rng.random() < CALM else rng.sample(list(FAULTS), KINDS)
    return Profile("soak", "random faults", ALWAYS, {kind: FAULTS[kind] for kind in kinds})


def period(order: Order, topology: Single) -> Judged:
    """Load and faults for a while on a server that goes on running, then the judgement."""
    shutil.rmtree(order.folder, ignore_errors=True)
    order.folder.mkdir(parents=True)
    problems = under_load(order, topology, compares=False)
    found = judged(read(order.folder), problems)
    if not found.told:
        shutil.rmtree(order.folder)
    return found


def growth(noted: Sequence[int]) -> int:
    """How much more the last quarter of these has than the first."""
    quarter = max(1, len(noted) // 4)
    first, last = sorted(noted[:quarter]), sorted(noted[-quarter:])
    return last[len(last) // 2] - first[len(first) // 2]


def emptied(server: Server) -> Empty:
    """Remove all that is stored, and look at the process."""
    with server.client() as client:
        client.execute_command("FLUSHALL", "SYNC")
        server.wait_until(lambda: client.info("memory")["lazyfree_pending_objects"] == 0, "all is freed")
        return Empty(int(client.info("memory")["used_memory"]), connections.descriptors(server))
