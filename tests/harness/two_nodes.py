"""Small clusters for tests with `Floor`: one node with all slots, and a second one to which they can move."""

from __future__ import annotations

from harness.cluster import pass_start_delay
from harness.waiting import Floor

SETTINGS = {"port": True, "clock": "shared", "cluster_enabled": "yes", "cluster_node_timeout": 2000}


def node(start, **settings: object) -> Floor:
    """A node with all slots of its cluster."""
    floor = Floor(start(**{**SETTINGS, **settings}))
    assert floor.boss("CLUSTER", "ADDSLOTS", *range(16384)) == "OK"
    pass_start_delay([floor.server])
    floor.eventually(lambda: is_up(floor), "the cluster is up", 10)
    return floor


def is_up(floor: Floor) -> bool:
    """Whether this node's view of the cluster is ok."""
    return b"cluster_state:ok" in floor.boss("CLUSTER", "INFO")


def pair(start, **settings: object) -> tuple[Floor, Floor]:
    """Two nodes that know each other; the first has all slots."""
    one, two = node(start, **settings), Floor(start(**{**SETTINGS, **settings}))
    # Both use the clocks of one machine.
    pass_start_delay([two.server])
    assert one.boss("CLUSTER", "MEET", "127.0.0.1", two.server.port) == "OK"

    def know_each_other() -> bool:
        views = [floor.boss("CLUSTER", "NODES") for floor in (one, two)]
        return all(view.count(b" connected") == 2 and b"handshake" not in view for view in views)

    one.eventually(know_each_other, "the nodes know each other", 20)
    two.eventually(lambda: is_up(two), "the second sees the slots", 20)
    return one, two


def move(key: str, one: Floor, two: Floor) -> int:
    """Move a key with its slot, as redis-cli does. Returns the slot."""
    slot = one.boss("CLUSTER", "KEYSLOT", key)
    first, second = one.boss("CLUSTER", "MYID"), two.boss("CLUSTER", "MYID")
    assert two.boss("CLUSTER", "SETSLOT", slot, "IMPORTING", first) == "OK"
    assert one.boss("CLUSTER", "SETSLOT", slot, "MIGRATING", second) == "OK"
    assert one.boss("MIGRATE", "127.0.0.1", two.server.port, key, 0, 5000) == "OK"
    assert two.boss("CLUSTER", "SETSLOT", slot, "NODE", second) == "OK"
    assert one.boss("CLUSTER", "SETSLOT", slot, "NODE", second) == "OK"
    return slot
