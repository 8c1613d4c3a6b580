"""The short campaign of CI: a fixed list of runs, the same at each time. `make chaos PROFILE=short` does it.

The list has what differs most: how a server syncs, each topology, files, keys and clocks, and each server at least
twice; an upgrade too, if `make older` was done. It has a positive control (`Profile.must_lose`): a run that loses
tasks, which the rules must find once no fault permits it.
"""

from __future__ import annotations

from collections.abc import Collection

from harness.server import SERVERS

from chaos.campaign import Wanted
from chaos.older import SAME_FORMATS

# How long the load of one run lasts, in seconds; longer if its share of the faults takes longer.
LENGTH_S = 3.5
# Profile, server and seed.
RUNS: tuple[Wanted, ...] = (
    ("cluster", "valkey-9.1", 2),
    ("sentinel-killed", "redis-7.0", 1),
    ("promoted", "redis-8.2", 2),
    ("replicas", "redis-6.2", 1),
    ("power-everysec", "valkey-9.1", 1),
    ("always", "redis-7.0", 7),
    ("power-always", "redis-8.2", 4),
    ("torn", "redis-6.2", 4),
    ("clock", "valkey-9.1", 4),
    ("keys", "redis-7.0", 1),
    ("calm", "redis-8.2", 1),
    ("cluster-replaced", "redis-8.2", 1),
    ("sentinel-stopped", "redis-6.2", 1),
)


# Comes first where its older build is there: it takes the longest.
UPGRADE: Wanted = ("upgrade", "valkey-9.1", 4)


def chosen(servers: Collection[str]) -> list[Wanted]:
    """The runs on these servers that can be done here. Says which others are left out, and why."""
    listed = (UPGRADE, *RUNS) if SAME_FORMATS.is_built() else RUNS
    if UPGRADE not in listed:
        print(f"{UPGRADE[0]}: skipped. Its older build is not there; make older builds it", flush=True)
    for profile, server, _ in listed:
        if server not in SERVERS:
            print(f"{profile}: skipped. {server} is not installed", flush=True)
    return [one for one in listed if one[1] in servers]
