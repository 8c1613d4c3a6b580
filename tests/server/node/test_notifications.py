"""Keyspace events of class d: who listens learns what happens to tasks."""

import pytest
from harness.server import Server
from harness.talk import Talk


class Listener:
    """A connection that listens to all keyspace events of database 0."""

    def __init__(self, server: Server):
        self.server = server
        self.talk = Talk(server)
        assert self.talk("PSUBSCRIBE", "__keyspace@0__:*")[2] == 1
        self.boss = Talk(server)

    def hears(self, key: bytes = b"q") -> list[str]:
        """The events of a key since this was last asked, in order; others' events are a failure."""
        self.boss("PUBLISH", "__keyspace@0__:end", "end")
        heard = []
        while (message := self.talk.read())[2] != b"__keyspace@0__:end":
            assert message[2] == b"__keyspace@0__:" + key, message
            heard.append(message[3].decode().removeprefix("task."))
        return heard

    def waits_for(self, event: str) -> list[str]:
        """The events up to this one."""
        heard = []
        while event not in heard:
            heard.append(self.talk.read()[3].decode().removeprefix("task."))
        return heard


@pytest.fixture
def listener(start):
    """Who listens to a server that tells of keyspace events."""
    return Listener(start(notify_keyspace_events="Kd"))


@pytest.fixture
def c(listener):
    """A connection to that server."""
    return Talk(listener.server)


def test_nothing_is_told_by_default(server):
    """Neither on the queue's key nor by the event's name."""
    listener = Listener(server)
    c = Talk(server)
    c.push()
    c("TASK.ACK", "q", c.claim())
    assert listener.hears() == []
    # Other classes don't have ours.
    c("CONFIG", "SET", "notify-keyspace-events", "K$gx")
    c.push()
    assert listener.hears() == []


def test_each_command_tells_what_it_did(c, listener):
    """The life of tasks; refusals and looks tell nothing."""
    c.push()
    assert listener.hears() == ["pushed", "ready"]
    c.push("q", "p", "DELAY", 60_000)
    assert listener.hears() == ["pushed"]
    first = c.claim()
    assert listener.hears() == ["claimed"]
    c("TASK.EXTEND", "q", first)
    c("TASK.GET", "q", first)
    c("TASK.INFO", "q")
    c("TASK.CLAIM", "q")
    assert listener.hears() == []
    c("TASK.REQUEUE", "q", first)
    assert listener.hears() == ["requeued", "ready"]
    c("TASK.FAIL", "q", c.claim(), "DELAY", 60_000)
    assert listener.hears() == ["claimed", "failed"]
    c("TASK.RETRY", "q", first.split(b"@")[0])
    assert listener.hears() == ["ready"]
    c("TASK.FAIL", "q", c.claim(), "DEAD")
    assert listener.hears() == ["claimed", "failed", "dead"]
    c("TASK.RETRY", "q", "COUNT", 1)
    c("TASK.ACK", "q", c.claim())
    assert listener.hears() == ["ready", "claimed", "acked"]
    c("TASK.ACK", "q", first)
    assert listener.hears() == []
    c("TASK.CANCEL", "q", c.push())
    assert listener.hears() == ["pushed", "ready", "cancelled"]
    c.push()
    c("TASK.CLAIM", "q", "NOACK")
    assert listener.hears() == ["pushed", "ready", "claimed", "acked"]


def test_a_write_tells_each_kind_once(c, listener):
    """However many tasks it concerns."""
    c("TASK.MPUSH", "q", "TASKS", 100, *range(100))
    assert listener.hears() == ["pushed", "ready"]
    handles = [task[0] for task in c("TASK.CLAIM", "q", "COUNT", 100)]
    assert listener.hears() == ["claimed"]
    c("TASK.ACK", "q", "HANDLES", 100, *handles)
    assert listener.hears() == ["acked"]


def test_what_time_does_is_told(c, listener):
    """A delay that is over, a lease that is over, a task that is dead of stalls."""
    c("TASK.CONFIG", "q", "SET", "stalls", 2, "backoff-base", 1, "backoff-jitter", 0)
    c.push("q", "p", "DELAY", 20, "LEASE", 20)
    assert listener.waits_for("ready") == ["pushed", "ready"]
    c.claim()
    assert listener.waits_for("ready") == ["claimed", "stalled", "ready"]
    c.claim()
    assert listener.waits_for("dead") == ["claimed", "stalled", "dead"]


def test_a_hand_off_is_told_by_the_push(c, listener):
    """A worker that waited has the task in the same write."""
    worker = Talk(listener.server)
    worker.send(["TASK.CLAIM", "q", "BLOCK", 0])
    listener.server.wait_until(lambda: b"blocked_workers:1" in c("INFO", "taskslot"), "a worker waits")
    c.push()
    assert listener.hears() == ["pushed", "ready", "claimed"]
    assert len(worker.read()) == 1


def test_keyevents_have_the_type_in_their_names(start):
    """So that `expired` of the server, a key that has gone, isn't taken for a task's."""
    server = start(notify_keyspace_events="Ed")
    c, listener = Talk(server), Talk(server)
    listener("SUBSCRIBE", "__keyevent@0__:task.ready")
    c.push()
    assert listener.read() == [b"message", b"__keyevent@0__:task.ready", b"q"]


def test_a_transaction_and_a_script_tell_as_well(c, listener):
    """In the order of their commands."""
    c("MULTI")
    c("TASK.PUSH", "q", "p")
    c("TASK.CLAIM", "q")
    c("EXEC")
    assert listener.hears() == ["pushed", "ready", "claimed"]
    c("EVAL", "return redis.call('TASK.PUSH', KEYS[1], 'p')", 1, "q")
    assert listener.hears() == ["pushed", "ready"]


def test_a_replica_tells_what_its_primary_did(start):
    """As the server's own commands do."""
    primary, replica = start(port=True), start(notify_keyspace_events="Kd")
    replica.replicate(primary)
    listener = Listener(replica)
    c = Talk(primary)
    c.push()
    handle = c.claim()
    c("TASK.ACK", "q", handle)
    assert listener.waits_for("acked") == ["pushed", "ready", "claimed", "acked"]
