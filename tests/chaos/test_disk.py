"""The disk that loses what wasn't synced, and the sums of the report."""

from __future__ import annotations

from collections import Counter

import pytest
from harness.server import SERVERS, wait_until

from chaos.campaign import Plan, controls, judged_run
from chaos.disk import Event, kept_since, lose_unsynced, synced_size
from chaos.profiles import PROFILES
from chaos.report import Row, added
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


def test_rows_of_a_profile_and_server_are_added():
    """Counts are summed, and spans are the longest."""
    one = Row("p", "s", 1, [1], Counter(kill=2), acknowledged=5, pause_s=1.5, causes=Counter(a=1))
    two = Row("p", "s", 1, [2], Counter(kill=1), acknowledged=7, pause_s=0.5, causes=Counter(b=1))
    other = Row("p", "t", 1, [1])
    both, alone = added([one, two, other])
    assert (both.runs, both.seeds, both.faults["kill"], both.acknowledged) == (2, [1, 2], 3, 12)
    assert (both.pause_s, both.causes, alone.runs) == (1.5, Counter(a=1, b=1), 1)
    assert Row.read(both.plain()) == both


def test_a_control_that_loses_nothing_is_told():
    """A power cut under everysec that loses nothing has no effect."""
    sound = Row("power-everysec", "s", 1, [1])
    assert controls([sound]) and not controls([sound, Row("power-everysec", "t", 1, [1], in_window=3)])


def test_each_round_has_each_profile_on_another_server():
    """After as many rounds as servers, each profile was on each server."""
    names, servers = list(PROFILES)[:3], list(SERVERS)[:2]
    orders = list(Plan(names, servers, 7, 60, rounds=2).orders())
    assert {(profile, server) for profile, server, _ in orders} == {(p, s) for p in names for s in servers}
    assert {seed for _, _, seed in orders} == {7, 8}


@pytest.mark.slow
def test_a_run_of_a_sound_build_has_no_finding(installed):
    """Ten seconds of kills and restarts under load."""
    found = judged_run("always", installed.name, 1, 10.0, False)
    assert not found.told, "\n".join(found.told)
    assert found.row.acknowledged > 100
