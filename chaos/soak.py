"""One server for hours: faults of all kinds under load, in periods of their own, with its memory and files watched.

After each period the load ends, everything is drained and judged, and the memory is noted. Memory that goes on growing
after the first periods, or files that stay open, are told.
"""

from __future__ import annotations

import argparse
import random
import shutil
import time

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
# Periods that warm a server up. The memory of an allocator is not compared before.
WARM = 3
# A quarter of the periods has no faults, and each of the others so many kinds.
CALM, KINDS = 0.25, 4
# Memory may grow by so many bytes from the first to the last quarter of the periods. The server makes room once for
# each command that it has not had before, about 0.3 MB in all. A leak of two bytes for each push is more in an hour.
GROWTH = 1 << 20


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
    is_bad, noted = False, []
    end, seed = time.monotonic() + options.hours * 3600, options.seed
    try:
        while time.monotonic() < end:
            profile = subset(random.Random(f"soak {seed}"))
            found = period(Order(profile, SERVERS[options.server], seed, options.period), topology)
            noted.append(emptied(topology.server))
            uses = f"{noted[-1] / 1e6:.2f} MB when empty, {connections.descriptors(topology.server)} files"
            print(f"seed {seed} {line(found.row)}, {uses}", flush=True)
            for story in found.told:
                print(f"\n{story}\n", flush=True)
            is_bad |= bool(found.told)
            seed += 1
    finally:
        topology.stop()
    grown = growth(noted[WARM:])
    print(f"Memory of the empty server after {len(noted)} periods: grown by {grown / 1e6:.2f} MB since warm")
    return int(is_bad or grown > GROWTH)


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


def growth(noted: list[int]) -> int:
    """How much more the last quarter of these has than the first."""
    quarter = max(1, len(noted) // 4)
    first, last = sorted(noted[:quarter]), sorted(noted[-quarter:])
    return last[len(last) // 2] - first[len(first) // 2] if noted else 0


def emptied(server: Server) -> int:
    """The bytes that the process has allocated, once nothing is stored. What the system gave it varies far more."""
    with server.client() as client:
        client.execute_command("FLUSHALL", "SYNC")
        server.wait_until(lambda: client.info("memory")["lazyfree_pending_objects"] == 0, "all is freed")
        return int(client.info("memory")["used_memory"])
