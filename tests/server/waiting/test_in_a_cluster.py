"""Waiting and time-outs in cluster mode, on a node that has all slots and while slots move."""

import pytest
import redis
from harness.talk import Error
from harness.two_nodes import move, node, pair
from harness.waiting import claim


def test_workers_wait_in_a_cluster(start):
    """Each push serves the first worker of its key, in many slots, with and without hash tags."""
    floor = node(start)
    keys = [f"queue:{at}" for at in range(20)] + ["{tag}a", "{tag}b", "a{}b"]
    workers = {key: floor.line(2, key) for key in keys}
    for key in keys:
        floor.boss.push(key, f"first of {key}")
        assert workers[key][0].payloads() == [f"first of {key}".encode()]
        assert floor.all_wait([workers[key][1]])
    for key in keys:
        floor.boss.push(key, "x", "DELAY", 5)
    assert all(waiting[1].payloads() == [b"x"] for waiting in workers.values())
    floor.nobody_waits()


def test_a_claim_of_several_queues_needs_keys_of_one_slot(start):
    """The server refuses keys of different slots."""
    floor = node(start)
    crossed = Error("CROSSSLOT Keys in request don't hash to the same slot")
    for keys in (["a", "b"], ["{t}a", "{t}b", "t2"], ["{t}a", "{u}b"]):
        for options in ([], ["BLOCK", 0], ["WORKER", "KEYS"]):
            assert floor.boss(*claim(keys), *options) == crossed
    tags = ["t", "u", "{", "0"]
    workers = [floor.waiting([f"{{{tag}}}a", f"{{{tag}}}b"]) for tag in tags]
    for tag, worker in zip(tags, workers, strict=True):
        floor.boss.push(f"{{{tag}}}b", tag)
        assert worker.served() == (f"{{{tag}}}b".encode(), [tag.encode()])
    floor.nobody_waits()


def test_a_cluster_client_finds_the_node_of_several_queues(start):
    """redis-py asks the server for the keys of TASK.MCLAIM, and refuses those of different slots."""
    one, two = pair(start)
    with redis.RedisCluster(host="127.0.0.1", port=two.server.port) as client:
        for tag in "tuv":
            client.execute_command("TASK.PUSH", f"{{{tag}}}b", tag)
            reply = client.execute_command(*claim([f"{{{tag}}}a", f"{{{tag}}}b"]), "WORKER", "KEYS")
            assert (reply[0], reply[1][0][1]) == (f"{{{tag}}}b".encode(), tag.encode())
        with pytest.raises(redis.exceptions.RedisClusterException):
            client.execute_command(*claim(["{t}a", "{u}a"]))


def test_a_moved_slot_ends_the_wait_for_several_of_its_queues(start, installed):
    """From 7.0 on, workers get MOVED and no longer wait on the old node."""
    if installed.version < (7, 0):
        pytest.skip("on 6.2 they wait until their time is up")
    one, two = pair(start)
    one.boss.push("{q}b", "x")
    one.boss("TASK.PAUSE", "{q}b")
    keys = ["{q}a", "{q}b", "{q}c"]
    workers = [one.waiting(keys), one.waiting(keys, block=60_000)]
    slot = move("{q}b", one, two)
    moved = Error(f"MOVED {slot} 127.0.0.1:{two.server.port}")
    assert [worker.read() for worker in workers] == [moved] * 2
    one.nobody_waits()
    assert one.boss(*claim(keys)) == moved
    worker = two.waiting(keys)
    two.boss("TASK.RESUME", "{q}b")
    assert worker.served() == (b"{q}b", [b"x"])


def test_a_next_that_waits_is_redirected_and_its_answer_has_counted(start, installed):
    """From 7.0 on, the old node sends MOVED. A cluster client finds the new one, which answers 0 and has the task."""
    if installed.version < (7, 0):
        pytest.skip("on 6.2 it waits until its time is up")
    one, two = pair(start)
    one.boss.push("q", "a")
    handle = one.boss.claim("q")
    worker = one.worker()
    one.seen_to_wait(lambda: worker.send(["TASK.NEXT", "q", handle, "BLOCK", 0]))
    slot = move("q", one, two)
    assert worker.read() == Error(f"MOVED {slot} 127.0.0.1:{two.server.port}")
    one.nobody_waits()
    two.boss.push("q", "b")
    with redis.RedisCluster(host="127.0.0.1", port=one.server.port) as client:
        answer, [[handle, payload, _]] = client.execute_command("TASK.NEXT", "q", handle, "BLOCK", 1)
        assert (answer, payload) == (0, b"b")
        assert client.execute_command("TASK.NEXT", "q", "HANDLES", 1, handle) == [[1], []]


def test_leases_end_in_a_cluster(start):
    """Time-outs and tied leases work on a node of a cluster."""
    floor = node(start)
    worker = floor.worker()
    floor.boss.push("q", "x")
    worker("TASK.CLAIM", "q", "LEASE", 10)
    assert floor.worker().asks("q", "TIED").payloads() == [b"x"]
    floor.boss.push("p", "x")
    worker.claim("p", "TIED")
    worker.leave()
    floor.eventually(lambda: floor.counts("p")["stalled"] == 1, "the tied lease is over")


def test_a_moved_slot_redirects_its_workers(start):
    """From 7.0 on, the old node sends MOVED. The queue moves with its leases and delays."""
    one, two = pair(start)
    one.boss("TASK.MPUSH", "q", "TASKS", 2, "kept", "lost")
    kept = one.boss.claim("q", "LEASE", 30_000)
    one.boss.claim("q", "LEASE", 300)
    one.boss.push("q", "delayed", "DELAY", 300)
    one.boss("TASK.PAUSE", "q")
    sends_moved = one.server.installed.version >= (7, 0)
    waiting = [one.waiting("q"), one.waiting("q", block=60_000)] if sends_moved else []
    slot = move("q", one, two)
    moved = Error(f"MOVED {slot} 127.0.0.1:{two.server.port}")
    assert [worker.read() for worker in waiting] == [moved for _ in waiting]
    one.nobody_waits()
    workers = [two.worker().asks("q"), two.worker().asks("q")]
    assert two.boss("TASK.RESUME", "q") == "OK"
    assert sorted(worker.payloads() for worker in workers) == [[b"delayed"], [b"lost"]]
    assert two.boss("TASK.ACK", "q", kept) == 1
    assert one.boss("DBSIZE") == 0


def test_on_6_2_a_worker_whose_slot_moves_waits_until_its_time_is_up(start, installed):
    """The server sends no MOVED, and the reply is an empty array."""
    if installed.version >= (7, 0):
        pytest.skip("from 7.0 on the server sends MOVED")
    one, two = pair(start)
    one.boss("TASK.CONFIG", "q", "SET", "lease", 1000)
    worker = one.waiting("q", block=1500)
    move("q", one, two)
    assert worker.read() == []
    one.nobody_waits()


def test_timers_of_a_moved_slot_do_nothing_on_the_old_node(start):
    """They do not create the queue again."""
    one, two = pair(start)
    one.boss.push("q", "x", "DELAY", 300)
    move("q", one, two)
    assert two.worker().asks("q").payloads() == [b"x"]
    assert one.boss("DBSIZE") == 0


def test_atomic_slot_migration_moves_queues_with_leases_and_delays(start, installed):
    """Leases and delays that end during CLUSTER MIGRATESLOTS (Valkey 9) end once, on the node with the slot."""
    if not (installed.is_valkey and installed.version >= (9, 0)):
        pytest.skip("only Valkey 9 has CLUSTER MIGRATESLOTS here")
    one, two = pair(start)
    keys = [f"q{{{tag}}}" for tag in range(40)]
    for key in keys:
        one.boss.push(key, "soon", "DELAY", 50)
        one.boss.push(key, "x", "DELAY", 800)
        one.boss.push(key, "leased", "LEASE", 600)
        one.boss.claim(key)
    waiting = one.waiting("nothing")
    order = ["CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", 0, 16383, "NODE", two.boss("CLUSTER", "MYID")]
    assert one.boss(*order) == "OK"
    reply = waiting.read()
    assert isinstance(reply, Error) and reply.startswith("MOVED"), reply
    two.eventually(lambda: two.boss("DBSIZE") == len(keys), "all queues have moved", 20)

    def is_done(key: str) -> bool:
        counts = two.counts(key)
        return counts["ready"] == 3 and counts["stalled"] == 1

    for key in keys:
        two.eventually(lambda key=key: is_done(key), f"leases and delays of {key} have ended", 10)
