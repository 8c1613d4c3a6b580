"""Profiles with one server."""

from __future__ import annotations

from functools import partial

from chaos.faults import clock, connections, disk, files, keyspace, memory, process
from chaos.profiles.profile import Profile
from chaos.topologies.single import Single

# What an operator does, or what happens, without harm to the data.
HARMLESS = {
    process.stop: 2.0,
    process.rewrite: 2.0,
    process.save: 1.0,
    process.reload: 1.0,
    process.pause_writes: 0.5,
    process.pause_all: 0.5,
}

ALWAYS = partial(Single, appendfsync="always")
EVERYSEC = partial(Single, appendfsync="everysec", disk=True)

PROFILES = [
    Profile(
        "always",
        "`always`: `kill -9`, rewrites, snapshots, reloads, `SIGSTOP`, `CLIENT PAUSE`",
        ALWAYS,
        {process.kill: 3.0, **HARMLESS},
    ),
    Profile(
        "everysec",
        "`everysec`: the same, and slow syncs",
        EVERYSEC,
        {
            disk.kill_everysec: 2.0,
            disk.slow(0.3, 1.5, False): 1.0,
            disk.slow(0.8, 1.5, True): 2.0,
            **HARMLESS,
        },
        window="what the server puts off writing while a sync is slow",
    ),
    Profile(
        "power-always",
        "`always`: power cut, slow syncs",
        partial(ALWAYS, disk=True),
        {disk.power_cut: 4.0, disk.slow(0.02, 0.2, False): 1.0, process.rewrite: 2.0, process.save: 0.5},
    ),
    Profile(
        "power-everysec",
        "`everysec`: power cut",
        EVERYSEC,
        {disk.power_cut_everysec: 4.0, process.rewrite: 1.0, process.save: 0.5},
        window="since the last sync",
        must_lose=True,
    ),
    Profile(
        "torn",
        "AOF torn at its end",
        partial(ALWAYS, disk=True),
        {disk.torn: 4.0, process.rewrite: 1.0},
        window="what the missing bytes hold",
    ),
    Profile(
        "flipped",
        "a byte of an AOF or RDB file changed, or a snapshot torn; tried on copies",
        ALWAYS,
        {files.flipped_aof: 2.0, files.damaged_rdb: 1.0, process.rewrite: 0.5},
    ),
    Profile(
        "full-everysec",
        "`everysec`: disk full, snapshots that fail (`MISCONF`)",
        EVERYSEC,
        {disk.full: 3.0, disk.failed_save: 1.0, process.rewrite: 1.0},
    ),
    Profile(
        "full-always",
        "`always`: disk full; the server exits and is started again",
        partial(ALWAYS, disk=True),
        {disk.full: 2.0, process.save: 1.0},
    ),
    Profile("memory", "`maxmemory` reached, `noeviction`", ALWAYS, {memory.full: 4.0, process.stop: 1.0}),
    Profile(
        "clock",
        "wall clock set by 5 s or an hour, drifting; `kill -9`, `SIGSTOP`",
        partial(ALWAYS, clock=True),
        {clock.step: 4.0, clock.drift: 1.0, process.kill: 1.0, process.stop: 1.0},
    ),
    Profile(
        "keys",
        "`RENAME`, `MOVE`, `SWAPDB`, `COPY`, `RESTORE` of a queue in use, in `MULTI` and in scripts",
        ALWAYS,
        {**dict.fromkeys(keyspace.KEEP, 1.2), keyspace.restore: 2.0},
        gap_s=(0.02, 0.3),
    ),
    Profile(
        "flush",
        "`FLUSHALL`, `FLUSHDB`, `DEL`, `EXPIRE`, `SET` over a queue in use; a backup restored",
        ALWAYS,
        {**dict.fromkeys(keyspace.LOSE, 1.0), keyspace.restore_older: 1.0},
        window="what is flushed",
        gap_s=(0.2, 1.0),
    ),
    Profile(
        "clients",
        "thousands of waiting workers die at once, `CLIENT KILL`, `CLIENT UNBLOCK`",
        partial(ALWAYS, maxclients=9000),
        {connections.crowd: 1.0, connections.kill_clients: 2.0, connections.unblock: 3.0},
    ),
    Profile(
        "io-threads",
        "`io-threads 4`: `kill -9`, `CLIENT KILL`, `SIGSTOP`, reloads",
        partial(ALWAYS, io_threads=4),
        {process.kill: 2.0, connections.kill_clients: 2.0, **HARMLESS},
    ),
]
