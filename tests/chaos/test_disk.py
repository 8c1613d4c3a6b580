"""The disk that loses what wasn't synced, and that can be full."""

from __future__ import annotations

import os

import redis
from harness.server import ServerDied, wait_until

from chaos.disk import (
    Event,
    appended,
    appends,
    has_open_transaction,
    kept_since,
    lose_unsynced,
    synced_size,
)
from chaos.faults.disk import is_rewritten, start
from chaos.topologies.single import Single

NOT_IN_TIME = 3_600.0


def write(began: float, before: int, size: int, inode: int = 1) -> Event:
    """A write to a file."""
    return Event(began, inode, before, size, False)


def sync(began: float, size: int, inode: int = 1) -> Event:
    """A sync of a file."""
    return Event(began, inode, size, size, True)


def test_a_power_cut_takes_what_was_written_after_the_last_sync(installed):
    """A push before the sync is there after the restart, and one after it is gone."""
    topology = Single(installed, disk=True, appendfsync="no")
    topology.start()
    try:
        server, disk = topology.server, topology.disk
        client = server.client()
        client.execute_command("TASK.PUSH", "q", "kept")
        client.config_set("appendfsync", "always")
        client.execute_command("TASK.PUSH", "q", "synced")
        client.config_set("appendfsync", "no")
        client.execute_command("TASK.PUSH", "q", "lost")
        server.kill9()
        cut = lose_unsynced(disk, server, NOT_IN_TIME)
        assert list(cut.bytes.values()) > [0]
        server.start()
        tasks = server.client().execute_command("TASK.CLAIM", "q", "COUNT", 10)
        assert [task[1] for task in tasks] == [b"kept", b"synced"]
    finally:
        topology.stop()


def test_a_full_disk_refuses_writes_until_there_is_space(installed):
    """Under everysec the server says MISCONF, and takes writes again afterwards."""
    topology = Single(installed, disk=True, appendfsync="everysec")
    topology.start()
    try:
        client = topology.server.client()
        topology.disk.fill(is_torn=True)

        def refuses() -> bool:
            try:
                client.execute_command("TASK.PUSH", "q", "x")
            except Exception as error:
                return "MISCONF" in str(error) or "persist" in str(error)
            return False

        wait_until(refuses, "pushes are refused")
        topology.settle()
        assert client.execute_command("TASK.PUSH", "q", "y")
    finally:
        topology.stop()


def test_a_write_that_is_cut_short_damages_a_file_that_is_not_open_for_appending(installed):
    """It is the file of a rewrite, from 7.0 on: the server can't load it. All others are as before."""
    topology = Single(installed, disk=True, appendfsync="everysec")
    topology.start()
    try:
        server = topology.server
        assert appends(server)
        with server.client() as client:
            client.execute_command("BGREWRITEAOF")
            wait_until(lambda: is_rewritten(client), "the file is rewritten")
            safe = appends(server)
            topology.disk.fill(is_torn=True)
            client.execute_command("TASK.PUSH", "q", "x" * 1000)
            wait_until(lambda: status(client) != "ok", "a write fails")
            topology.settle()
            client.execute_command("TASK.PUSH", "q", "y")
        try:
            server.restart()
        except ServerDied:
            assert not safe
        else:
            assert safe
    finally:
        topology.stop()


def test_a_file_that_ends_within_a_transaction_loses_what_comes_after_it(installed):
    """At the start after the next one, on Redis. Valkey removes that end, and the fault's start rewrites the file."""
    for heals in (False, True):
        topology = Single(installed)
        topology.start()
        try:
            server = topology.server
            client = server.client()
            with client.pipeline(transaction=True) as both:
                both.set("cut off", 1)
                both.set("this too", 1)
                both.execute()
            server.kill9()
            path = appended(server)
            os.truncate(path, path.stat().st_size - 1)
            was_open = start(server) if heals else has_open_transaction(server.start())
            assert was_open != installed.is_valkey
            server.client().set("after it", 1)
            server.restart(kill=True)
            assert server.client().exists("after it") == (heals or installed.is_valkey)
        finally:
            topology.stop()


def status(client: redis.Redis) -> str:
    """How the last write to the file went."""
    return str(client.info("persistence")["aof_last_write_status"])


def test_a_file_keeps_what_its_last_sync_covered():
    """Writes after a sync are not on the disk, and a file with a used inode begins anew."""
    events = [write(1, 0, 10), sync(2, 10), write(3, 10, 20)]
    assert synced_size(events, 1) == 10
    assert synced_size([*events, write(4, 0, 5)], 1) == 0
    assert synced_size(events, 2) == 0


def test_the_window_begins_with_the_last_write_before_the_first_missing_one():
    """What happened before a write began is in it, or in an earlier one."""
    events = [write(1, 0, 10), write(2, 10, 20), write(3, 20, 30)]
    assert kept_since(events, {1: 20}) == 2
    assert kept_since(events, {1: 30}) == 3
    assert kept_since(events, {1: 5}) == 0
