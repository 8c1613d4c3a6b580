"""The short campaign of CI: a fixed list of runs, the same at each time. `make chaos PROFILE=short` does it.

The list has what differs most: how a server syncs, each topology, files, keys and clocks, and each server at least
twice. It has a positive control (`Profile.must_lose`): a run that loses tasks, which the rules must find once no fault
permits it.
"""

from __future__ import annotations

from collections.abc import Collection

from harness.server import SERVERS

from chaos.campaign import Wanted

# How long the load of one run lasts, in seconds.
LENGTH_S = 4.0
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


def chosen(servers: Collection[str]) -> list[Wanted]:
    """The runs on these servers that are installed here. Says which others are left out for that reason."""
    for profile, server, _ in RUNS:
        if server not in SERVERS:
            print(f"{profile}: skipped. {server} is not installed", flush=True)
    return [one for one in RUNS if one[1] in servers]
