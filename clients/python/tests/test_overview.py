"""The overview of real servers: queues by any name, nodes, replicas, users with few rights, servers that go away."""

import threading

import pytest
import redis
import taskslot
import valkey
from harness.server import wait_until
from taskslot import commands
from taskslot.clients import Client
from taskslot.keys import key_bytes, key_text
from taskslot.overview import Nodes, nodes, sweep
from taskslot.overview.node_info import UNREACHED

KEYS = [b"mail", b"q\xff\x1b", "später".encode(), b"a b/c?d#e&f%", b"\xed\xa0\x80", b""]


@pytest.fixture
def client(server):
    """A client that names the server by its address."""
    with redis.Redis(host="127.0.0.1", port=server.port) as client:
        yield client


@pytest.fixture
def watched(client):
    """The overview of the server."""
    with Nodes(client, 1000) as watched:
        yield watched


def test_keys_of_any_bytes_are_found_and_name_the_same_queues(client, watched):
    """What a look says works as a queue's name, also in a claim and in a pipeline."""
    for key in KEYS:
        client.execute_command("TASK.PUSH", key, b"of " + key)
    found = watched.look(whole=True).infos
    assert sorted(map(key_bytes, found)) == sorted(KEYS)
    for name in found:
        queue = taskslot.Queue(client, name)
        (task,) = queue.claim(also=[other for other in found if other != name])
        assert task.payload == b"of " + key_bytes(name) and task.key == name
        assert queue.ack(task) and queue.len() == 0


def test_a_key_that_is_not_text_is_sent_as_its_bytes():
    """Other keys are left to the client, which may have another encoding than UTF-8."""
    assert commands.info(key_text(b"q\xff")).words == ("TASK.INFO", b"q\xff")
    assert commands.info("später").words == ("TASK.INFO", "später")
    assert commands.info(key_text(b"q\xff")).key == key_text(b"q\xff")


def test_a_node_says_what_it_is(client, watched, server, queue):
    """Role, versions, memory, the module's figures, its warnings as texts, and the clock."""
    queue.push("a")
    client.config_set("maxmemory", "1gb")
    client.config_set("maxmemory-policy", "allkeys-lru")

    def warned():
        (node,) = watched.look().nodes
        return node if "eviction" in node.warnings else None

    node = wait_until(warned, "the module has looked at the setting")
    assert (node.address, node.role) == (f"127.0.0.1:{server.port}", "primary")
    assert f"{node.server}-{node.server_version}".startswith(server.name)
    assert node.module and node.queues == 1 and node.totals["pushed"] == 1 and node.maxmemory == 2**30
    assert 0 < node.used_memory < 2**30 and node.queues_memory > 0 and node.uptime_s >= 0
    assert "use noeviction" in node.warnings["eviction"] and node.ahead_ms is not None
    assert (node.slots, node.replicas, node.blocked_workers, node.broken_queues) == ((), (), 0, 0)
    assert watched.look().places == {"mail": node.address}


@pytest.mark.parametrize("library", [redis.Redis, valkey.Valkey])
def test_replicas_are_asked_too(start, server, library, monkeypatch):
    """One that doesn't reply hides nothing of the rest. While its primary hears from it, that is not an outage."""
    replica = start(port=True)
    replica.replicate(server)
    with library(host="127.0.0.1", port=server.port) as client, Nodes(client, 1000, patience_s=1) as watched:
        taskslot.Queue(client, "mail").push("a")
        address = f"127.0.0.1:{replica.port}"
        seen = wait_until(lambda: seen_with(watched, 2), "the replica is listed")
        primary, copy = seen.nodes
        assert [(one.address, one.state) for one in primary.replicas] == [(address, "online")]
        assert (copy.address, copy.role, copy.link) == (address, "replica", "up")
        assert copy.primary == primary.address and copy.module == primary.module and seen.away == []
        replica.freeze()
        seen = watched.look()
        assert seen.away == [] and list(seen.infos) == ["mail"]
        assert [(one.address, one.trouble, one.link) for one in seen.nodes[1:]] == [
            (address, UNREACHED, "up")
        ]
        monkeypatch.setattr(nodes, "MOST_LAG_S", -1)
        seen = watched.look()
        assert seen.away == [address] and list(seen.infos) == ["mail"] and len(seen.nodes) == 1
        replica.thaw()
        assert watched.look().away == [address]  # it is not asked again so soon
        watched._resting.clear()
        assert watched.look().away == []


def seen_with(watched, number):
    """What a look saw, if that were so many nodes."""
    seen = watched.look()
    return seen if len(seen.nodes) == number else None


def test_a_user_with_few_rights_sees_the_rest(client, server, queue):
    """No INFO, and one key of two: both are said, with the server's words."""
    queue.push("a")
    taskslot.Queue(client, "secret").push("a")
    client.execute_command("ACL", "SETUSER", "few", "on", ">x", "~mail", "+scan", "+task.info", "+ping")
    with redis.Redis(port=server.port, username="few", password="x") as few, Nodes(few, 10) as watched:
        seen = watched.look()
        (node,) = seen.nodes
        assert list(seen.infos) == ["mail"] and list(seen.unreadable) == ["secret"]
        assert "permission" in seen.unreadable["secret"] and "permission" in node.trouble
        assert (
            {what for what, _ in seen.refused} == {"INFO", "TIME"} and seen.away == [] and node.queues == -1
        )
        assert watched.look().unreadable.keys() == {"secret"}  # it is not forgotten


def test_a_user_who_may_not_search_sees_the_node(client, server, queue):
    """Without SCAN no queue can be found; that is said."""
    queue.push("a")
    client.execute_command("ACL", "SETUSER", "few", "on", ">x", "~*", "+info", "+task.info")
    with redis.Redis(port=server.port, username="few", password="x") as few, Nodes(few, 10) as watched:
        seen = watched.look()
        assert seen.infos == {} and [node.queues for node in seen.nodes] == [1]
        assert {what for what, _ in seen.refused} == {"SCAN", "TIME"}


def test_a_wrong_password_is_an_error(client, server):
    """It is not a server that is away: nothing changes by waiting."""
    client.config_set("requirepass", "x")
    with Nodes(redis.Redis(port=server.port, password="y"), 10) as watched:
        with pytest.raises(redis.AuthenticationError):
            watched.look()


def test_a_server_without_the_module_is_an_error_once_it_answers(start):
    """SCAN would find no queue there."""
    bare = start(module=None, port=True)
    with Nodes(redis.Redis(port=bare.port), 10) as watched:
        for _ in range(2):
            with pytest.raises(taskslot.errors.Refused, match="no taskslot module"):
                watched.look()


def test_a_server_that_comes_back_is_seen_again(server, client, queue):
    """Also if it was away from the start, and has other queues now."""
    server.kill9()
    with Nodes(client, 1000, patience_s=1) as watched:
        address = f"127.0.0.1:{server.port}"
        assert watched.look().away == [address] and watched.look().nodes == []
        server.start()
        queue.push("a")
        seen = watched.look()
        assert list(seen.infos) == ["mail"] and seen.away == []


def test_a_look_continues_where_the_last_one_stopped(client, queue, watched, monkeypatch):
    """A queue among many keys is found after some looks. A deleted queue is forgotten at once."""
    monkeypatch.setattr(sweep, "SCANS_A_LOOK", 1)
    monkeypatch.setattr(sweep, "SCAN_COUNT", 10)
    client.mset({f"key {n}": "x" for n in range(500)})
    queue.push("a")
    first = watched.look()
    assert not first.is_whole
    seen = wait_until(lambda: (look := watched.look()).is_whole and look, "all keys were looked at")
    assert list(seen.infos) == ["mail"]
    assert list(watched.look().infos) == ["mail"]
    client.delete("mail")
    assert watched.look().infos == {}
    client.set("mail", "another type")
    assert watched.look().infos == {}


def test_names_that_are_too_long_are_left_out(client, queue, watched, monkeypatch):
    """They would fill the memory of whoever looks."""
    monkeypatch.setattr(sweep, "MOST_KEY_BYTES", 10)
    queue.push("a")
    for name in ("x" * 11, "y" * 11):
        client.execute_command("TASK.PUSH", name, "a")
    assert [(list(seen.infos), seen.oversized) for seen in (watched.look(), watched.look())] == [
        (["mail"], 2),
        (["mail"], 2),
    ]


def test_the_limit_holds_and_the_work_of_a_look_is_counted(client, watched, monkeypatch):
    """Of 30 queues, 10 are read."""
    for n in range(30):
        client.execute_command("TASK.PUSH", f"q{n}", "a")
    with Nodes(client, 10) as few:
        seen = few.look()
    assert len(seen.infos) == 10 and seen.was_cut
    # One SCAN, one TASK.HELP, the sections of INFO and TIME, and TASK.INFO of ten queues.
    assert seen.commands == 1 + 1 + len(nodes.SECTIONS) + 1 + 10
    assert len(watched.look().infos) == 30 and not watched.look().was_cut


class CountedLock:
    """A lock that knows how many threads have asked for it."""

    def __init__(self):
        self.lock, self.asked = threading.Lock(), 0

    def __enter__(self):
        self.asked += 1
        self.lock.acquire()

    def __exit__(self, *_):
        self.lock.release()


def test_deleted_queues_make_room_for_others(client):
    """The limit counts the queues that are there."""
    with Nodes(client, 3) as few:
        for n in range(9):
            client.execute_command("TASK.PUSH", f"q{n}", "a")
            assert wait_until(lambda n=n: f"q{n}" in few.look().infos, "the new queue is seen")
            client.delete(f"q{n}")


def test_a_look_that_takes_too_long_reads_no_more(watched, queue, monkeypatch):
    """It says how many queues it has not read. A whole look takes its time."""
    queue.push("a")
    monkeypatch.setattr(nodes, "LOOK_S", -1.0)
    seen = watched.look()
    assert (seen.infos, seen.unread) == ({}, 1)
    assert list(watched.look(whole=True).infos) == ["mail"]


def test_threads_share_a_look(watched, queue, monkeypatch):
    """There is one at a time, and those who waited for it get the next one together."""
    queue.push("a")
    lock, gate, begun, seen = CountedLock(), threading.Event(), [], []
    whole_look = watched._look

    def look(whole):
        begun.append(1)
        gate.wait(20)
        return whole_look(whole)

    monkeypatch.setattr(watched, "_look", look)
    monkeypatch.setattr(watched, "_lock", lock)
    threads = [threading.Thread(target=lambda: seen.append(watched.look())) for _ in range(5)]
    threads[0].start()
    wait_until(lambda: begun, "the first look has begun")
    for thread in threads[1:]:
        thread.start()
    wait_until(lambda: lock.asked == 5, "the others wait")
    assert len(begun) == 1
    gate.set()
    for thread in threads:
        thread.join()
    assert len(begun) == 2 and len(set(map(id, seen))) == 2


def test_a_client_that_decodes_is_no_hindrance(server, queue):
    """The overview has connections of its own."""
    queue.push("a")
    with redis.Redis(port=server.port, decode_responses=True) as client, Nodes(client, 10) as watched:
        assert list(watched.look().infos) == ["mail"]


def test_a_unix_socket_names_its_path(server, queue):
    """There is no host and no port."""
    queue.push("a")
    with redis.Redis(unix_socket_path=server.socket) as client, Nodes(client, 10) as watched:
        assert [node.address for node in watched.look().nodes] == [str(server.socket)]


def test_closing_leaves_the_client_open(client, queue):
    """It was the user's before."""
    queue.push("a")
    watched = Nodes(client, 10)
    assert Client(client).client is client and list(watched.look().infos) == ["mail"]
    watched.close()
    assert client.ping()
