"""Keyspace events of class d report the events of tasks."""

import pytest
from harness.server import Server
from harness.talk import Talk


class Listener:
    """A connection that is subscribed to all keyspace events of database 0."""

    def __init__(self, server: Server):
        self.server = server
        self.talk = Talk(server)
        assert self.talk("PSUBSCRIBE", "__keyspace@0__:*")[2] == 1
        self.boss = Talk(server)

    def events(self, key: bytes = b"q") -> list[str]:
        """The events of a key since the last call, in order. An event of another key is a failure."""
        self.boss("PUBLISH", "__keyspace@0__:end", "end")
        events = []
        while (message := self.talk.read())[2] != b"__keyspace@0__:end":
            assert message[2] == b"__keyspace@0__:" + key, message
            events.append(message[3].decode().removeprefix("task."))
        return events

    def wait_for(self, event: str) -> list[str]:
        """The events up to this one."""
        events = []
        while event not in events:
            events.append(self.talk.read()[3].decode().removeprefix("task."))
        return events


@pytest.fixture
def listener(start):
    """A listener on a server with keyspace events of class d."""
    return Listener(start(notify_keyspace_events="Kd"))


@pytest.fixture
def c(listener):
    """A connection to the same server."""
    return Talk(listener.server)


def test_no_event_is_sent_by_default(server):
    """The class d must be enabled. Other classes do not include these events."""
    listener = Listener(server)
    c = Talk(server)
    c.push()
    c("TASK.ACK", "q", c.claim())
    assert listener.events() == []
    # Other classes do not include the module's events.
    c("CONFIG", "SET", "notify-keyspace-events", "K$gx")
    c.push()
    assert listener.events() == []


def test_each_command_sends_its_events(c, listener):
    """Commands that are refused, change nothing or only read send none."""
    c.push()
    assert listener.events() == ["pushed", "ready"]
    c.push("q", "p", "DELAY", 60_000)
    assert listener.events() == ["pushed"]
    first = c.claim()
    assert listener.events() == ["claimed"]
    c("TASK.EXTEND", "q", first)
    c("TASK.GET", "q", first)
    c("TASK.INFO", "q")
    c("TASK.CLAIM", "q")
    assert listener.events() == []
    c("TASK.REQUEUE", "q", first)
    assert listener.events() == ["requeued", "ready"]
    c("TASK.FAIL", "q", c.claim(), "DELAY", 60_000)
    assert listener.events() == ["claimed", "failed"]
    c("TASK.RETRY", "q", first.split(b"@")[0])
    assert listener.events() == ["ready"]
    c("TASK.FAIL", "q", c.claim(), "DEAD")
    assert listener.events() == ["claimed", "failed", "dead"]
    c("TASK.RETRY", "q", "COUNT", 1)
    c("TASK.ACK", "q", c.claim())
    assert listener.events() == ["ready", "claimed", "acked"]
    c("TASK.ACK", "q", first)
    assert listener.events() == []
    c("TASK.CANCEL", "q", c.push())
    assert listener.events() == ["pushed", "ready", "cancelled"]
    c.push()
    c("TASK.CLAIM", "q", "NOACK")
    assert listener.events() == ["pushed", "ready", "claimed", "acked"]
    c.push()
    c.push()
    handle = c.claim()
    assert listener.events() == ["pushed", "ready"] * 2 + ["claimed"]
    c("TASK.NEXT", "q", handle)
    assert listener.events() == ["claimed", "acked"]  # as for every write: in the order of the kinds


def test_a_command_sends_each_event_once(c, listener):
    """The number of tasks does not matter."""
    c("TASK.MPUSH", "q", "TASKS", 100, *range(100))
    assert listener.events() == ["pushed", "ready"]
    handles = [task[0] for task in c("TASK.CLAIM", "q", "COUNT", 100)]
    assert listener.events() == ["claimed"]
    c("TASK.ACK", "q", "HANDLES", 100, *handles)
    assert listener.events() == ["acked"]


def test_the_timer_sends_events(c, listener):
    """They report a due task, a stall, and a task that is dead after its last stall."""
    c("TASK.CONFIG", "q", "SET", "stalls", 2, "backoff-base", 1, "backoff-jitter", 0)
    c.push("q", "p", "DELAY", 20, "LEASE", 20)
    assert listener.wait_for("ready") == ["pushed", "ready"]
    c.claim()
    assert listener.wait_for("ready") == ["claimed", "stalled", "ready"]
    c.claim()
    assert listener.wait_for("dead") == ["claimed", "stalled", "dead"]


def test_a_hand_off_sends_claimed_after_the_events_of_the_push(c, listener):
    """The worker gets the task in the same command."""
    worker = Talk(listener.server)
    worker.send(["TASK.CLAIM", "q", "BLOCK", 0])
    listener.server.wait_until(lambda: b"blocked_workers:1" in c("INFO", "taskslot"), "a worker waits")
    c.push()
    assert listener.events() == ["pushed", "ready", "claimed"]
    assert len(worker.read()) == 1


def test_keyevents_have_the_prefix_task(start):
    """So `task.expired` differs from the server's `expired` for a key."""
    server = start(notify_keyspace_events="Ed")
    c, listener = Talk(server), Talk(server)
    listener("SUBSCRIBE", "__keyevent@0__:task.ready")
    c.push()
    assert listener.read() == [b"message", b"__keyevent@0__:task.ready", b"q"]


def test_transactions_and_scripts_send_events(c, listener):
    """The order is that of their commands."""
    c("MULTI")
    c("TASK.PUSH", "q", "p")
    c("TASK.CLAIM", "q")
    c("EXEC")
    assert listener.events() == ["pushed", "ready", "claimed"]
    c("EVAL", "return redis.call('TASK.PUSH', KEYS[1], 'p')", 1, "q")
    assert listener.events() == ["pushed", "ready"]


def test_a_replica_sends_the_events_of_its_primary(start):
    """The server's own commands do the same."""
    primary, replica = start(port=True), start(notify_keyspace_events="Kd")
    replica.replicate(primary)
    listener = Listener(replica)
    c = Talk(primary)
    c.push()
    handle = c.claim()
    c("TASK.ACK", "q", handle)
    assert listener.wait_for("acked") == ["pushed", "ready", "claimed", "acked"]
