"""Tests of the harness: clusters start, and their faults and moves do what they say."""

import pytest
import redis


def test_a_cluster_is_up_and_its_client_reaches_each_queue(cluster):
    """Three primaries share all slots evenly, each has a replica, and a client finds a queue from any node."""
    assert cluster.primaries() == cluster.nodes[:3]
    assert [cluster.replica_of(node) for node in cluster.nodes[:3]] == cluster.nodes[3:]
    assert len(cluster.owners()) == 16384
    assert {len(node.itself().slots) for node in cluster.primaries()} == {5461, 5462}
    client = cluster.client()
    for name in "abcdefgh":
        client.execute_command("TASK.PUSH", name, name)
        assert cluster.node_of(name).say("TASK.LEN", name) == 1
    assert len({cluster.node_of(name) for name in "abcdefgh"}) == 3
    assert cluster.node_of("{x}a") is cluster.node_of(b"x") is cluster.node_of(cluster.slot("x"))


def test_a_restarted_node_is_a_replica_and_can_become_the_primary_again(cluster):
    """It is killed, replaced and restarted, and becomes the primary again by a manual failover."""
    first = cluster.node_of("q")
    second = cluster.replica_of(first)
    cluster.kill(first)
    cluster.wait_promoted(second)
    assert cluster.node_of("q") is second and first not in cluster.alive()
    with pytest.raises(AssertionError, match="no replica"):
        cluster.replica_of(second)
    cluster.restart(first)
    assert cluster.replica_of(second) is first
    cluster.failover(first)
    assert cluster.node_of("q") is first and cluster.replica_of(first) is second


def test_a_frozen_primary_is_replaced_and_follows_when_it_goes_on(cluster):
    """Its successor counts, even while the old primary itself still claims its slots."""
    first = cluster.node_of("q")
    second = cluster.replica_of(first)
    cluster.freeze(first)
    cluster.wait_promoted(second)
    cluster.thaw(first)
    assert cluster.node_of("q") is second
    cluster.wait_ok()
    assert cluster.replica_of(second) is first


def test_slots_move_with_their_keys_and_all_nodes_know(cluster):
    """With SETSLOT and MIGRATE, and back with the server's own migration if it has one."""
    source, target, _ = cluster.primaries()
    owners = cluster.owners()
    tags = [tag for tag in "abcdefghijkl" if owners[cluster.slot(tag)] is source]
    names = [f"{{{tag}}}{n}" for tag in tags for n in range(15)]
    slots = sorted({cluster.slot(tag) for tag in tags})
    assert len(slots) > 1
    client = cluster.client()
    for name in names:
        client.execute_command("TASK.PUSH", name, "x")
    assert cluster.move_slots(slots, source, target) == len(names)
    cluster.wait_ok()
    assert all(cluster.node_of(slot) is target for slot in slots)
    assert [client.execute_command("TASK.LEN", name) for name in names] == [1] * len(names)
    with pytest.raises(redis.exceptions.MovedError):
        source.say("TASK.LEN", names[0])
    if cluster.migrates_by_itself:
        cluster.migrate_slots(slots, target, source)
        assert all(cluster.node_of(slot) is source for slot in slots)
        assert [client.execute_command("TASK.LEN", name) for name in names] == [1] * len(names)


@pytest.mark.slow
def test_sentinels_put_the_replica_in_the_place_of_a_killed_primary(start_sentinel):
    """A client of the sentinels finds it, and the old primary returns as the replica."""
    sentinel = start_sentinel()
    first, second = sentinel.primary(), sentinel.replica()
    client = sentinel.client()
    client.execute_command("TASK.PUSH", "q", "x")
    assert client.execute_command("WAIT", 1, 5000) == 1
    first.kill9()
    sentinel.wait_promoted(second)
    assert sentinel.primary() is second
    assert client.execute_command("TASK.LEN", "q") == 1
    sentinel.restart(first)
    assert sentinel.replica() is first
