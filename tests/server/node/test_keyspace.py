"""A queue is a value like any other: it can be renamed, copied, moved, swapped, expired, watched and freed."""

import pytest
from harness.queues import Builder, contents, goes_on, id_of, info, refusal, rich_queue, task, tasks
from harness.server import digest

LEFT = {
    "RENAME": (("RENAME", "queue", "other"), 0),
    "RENAMENX": (("RENAMENX", "queue", "other"), 0),
    "MOVE": (("MOVE", "queue", 1), 1),
    "SWAPDB": (("SWAPDB", 0, 1), 1),
}


@pytest.mark.parametrize("way", LEFT)
def test_a_renamed_moved_or_swapped_queue_is_the_same(r, server, way):
    """Digest and contents are equal, and its handles stay valid."""
    rich = rich_queue(r)
    before = digest(r, "queue"), contents(r, "queue")
    command, db = LEFT[way]
    r.execute_command(*command)
    assert not r.exists("queue")
    r.select(db)
    key = "other" if "other" in command else "queue"
    assert (digest(r, key), contents(r, key)) == before
    rich.key = key
    goes_on(r, rich)


def leaves(r, command, how):
    """Run the command alone or in a transaction."""
    with r.pipeline(transaction=how == "in MULTI") as commands:
        commands.execute_command(*command)
        commands.execute()


@pytest.mark.parametrize("how", ["alone", "in MULTI"])
@pytest.mark.parametrize("way", LEFT)
def test_leases_and_delays_end_where_the_queue_is_now(r, server, way, how):
    """The timer finds a queue that was renamed, moved or swapped while a lease and a delay ran."""
    r.execute_command("TASK.PUSH", "queue", "leased", "LEASE", 100)
    r.execute_command("TASK.CLAIM", "queue")
    r.execute_command("TASK.PUSH", "queue", "delayed", "DELAY", 100)
    command, db = LEFT[way]
    leaves(r, command, how)
    r.select(db)
    key = "other" if "other" in command else "queue"
    server.wait_until(lambda: r.execute_command("TASK.LEN", key, "ready") == 2, "both are ready")
    assert info(r, key)["stalled"] == 1


@pytest.mark.parametrize("how", ["alone", "in MULTI"])
@pytest.mark.parametrize("way", LEFT)
def test_a_tied_lease_ends_where_the_queue_is_now(r, server, way, how):
    """The lease ends with its connection, even if the queue was renamed, moved or swapped."""
    worker = server.client()
    r.execute_command("TASK.PUSH", "queue", "a")
    assert len(worker.execute_command("TASK.CLAIM", "queue", "TIED")) == 1
    command, db = LEFT[way]
    leaves(r, command, how)
    r.select(db)
    key = "other" if "other" in command else "queue"
    worker.close()
    server.wait_until(lambda: r.execute_command("TASK.LEN", key, "ready") == 1, "the tied task is back")


def test_a_copy_has_no_leases(r, server):
    """In a COPY, leased tasks are ready in their place, and tasks with a requested cancellation are cancelled."""
    rich = rich_queue(r)
    before, ready = digest(r, "queue"), {one["id"] for one in tasks(r, "queue", "ready")}
    assert r.execute_command("COPY", "queue", "copy") == 1
    assert r.execute_command("COPY", "queue", "copy", "DB", 2) == 1
    assert digest(r, "queue") == before
    copy, origin = contents(r, "copy"), contents(r, "queue")
    assert copy["config"] == origin["config"]
    assert copy["cron"] == [] and len(origin["cron"]) == 2
    for state in ("delayed", "dead"):
        assert copy["tasks"][state] == origin["tasks"][state]
    assert copy["tasks"]["leased"] == []
    leased = {one["id"] for one in origin["tasks"]["leased"]}
    cancelled = rich.cancelled.split(b"@")[0]
    assert {one["id"] for one in copy["tasks"]["ready"]} == ready | leased - {cancelled}
    assert copy["info"]["cancelled"] == origin["info"]["cancelled"] + 1
    assert [copy["info"][field] for field in ("paused-in", "paused-out")] == ["for a while", -1]


def test_a_handle_of_the_original_is_stale_in_its_copy(r, server):
    """This holds for ACK, EXTEND, FAIL and REQUEUE, and for a late ACK."""
    rich = rich_queue(r)
    r.execute_command("COPY", "queue", "copy")
    before = digest(r, "copy")
    for handle in (rich.leased, rich.extended, rich.tied, rich.requested, rich.stalled):
        for verb in ("TASK.ACK", "TASK.EXTEND", "TASK.FAIL", "TASK.REQUEUE"):
            assert refusal(r, verb, "copy", handle) == "STALE", (verb, task(r, "copy", handle))
    assert r.execute_command("TASK.ACK", "copy", rich.cancelled) == 0
    assert digest(r, "copy") == before
    r.execute_command("TASK.RESUME", "copy", "ALL")
    # The token belongs to a lease of the original. In the copy it gets a new lease.
    ((handle, *_),) = r.execute_command("TASK.CLAIM", "copy", "REQUEST", "claim-token")
    assert handle != rich.requested
    assert r.execute_command("TASK.ACK", "copy", handle) == 1
    assert refusal(r, "TASK.ACK", "copy", rich.leased) == "STALE"
    goes_on(r, rich)


def test_an_expired_queue_is_removed_with_its_tasks(r, server):
    """A queue that is created again has new and larger ids."""
    id_ = r.execute_command("TASK.PUSH", "queue", "a", "DELAY", 50)
    r.execute_command("TASK.PUSH", "stays", "a")
    assert r.pexpire("queue", 100_000) and r.persist("queue")
    assert r.pexpire("queue", 1) == 1
    server.wait_until(lambda: not r.exists("queue"), "the queue has expired")
    assert r.execute_command("TASK.CLAIM", "queue") == []
    assert id_of(r.execute_command("TASK.PUSH", "queue", "b")) > id_of(id_)
    assert r.execute_command("TASK.LEN", "queue") == r.execute_command("TASK.LEN", "stays") == 1
    assert r.ttl("queue") == -1


def test_a_queue_has_a_type_of_its_own(r, server):
    """TYPE, OBJECT and SCAN show it. Commands for other types are refused, and queue commands on other types."""
    r.set("text", "x")
    r.execute_command("TASK.PUSH", "queue", "a")
    assert r.type("queue") == b"taskqueue"
    assert r.object("ENCODING", "queue") == b"raw"
    assert r.object("REFCOUNT", "queue") == 1
    assert r.scan(0, count=1000, _type="taskqueue")[1] == [b"queue"]
    assert refusal(r, "GET", "queue") == refusal(r, "LPUSH", "queue", "x") == "WRONGTYPE"
    assert refusal(r, "TASK.PUSH", "text", "x") == refusal(r, "TASK.LEN", "text") == "WRONGTYPE"
    assert r.get("text") == b"x"


def test_object_freq_counts_uses_of_a_queue(start):
    """With an LFU policy a queue has a frequency, as other values have."""
    r = start(maxmemory_policy="volatile-lfu").client()
    r.execute_command("TASK.PUSH", "queue", "a")
    assert r.object("FREQ", "queue") > 0


@pytest.mark.parametrize("flush", ["FLUSHALL ASYNC", "FLUSHALL SYNC", "FLUSHDB ASYNC", "DEL", "UNLINK"])
def test_leases_and_delays_of_a_removed_queue_do_nothing(r, server, flush):
    """They do not affect a new queue of the same name either."""
    worker = server.client()
    for _ in range(200):
        r.execute_command("TASK.PUSH", "queue", "a", "LEASE", 30)
    r.execute_command("TASK.PUSH", "queue", "a", "DELAY", 30)
    worker.execute_command("TASK.CLAIM", "queue", "COUNT", 100, "TIED")
    r.execute_command("TASK.CLAIM", "queue", "COUNT", 100)
    assert r.execute_command(*flush.split(), *(["queue"] if " " not in flush else []))
    assert r.keys() == []
    r.execute_command("TASK.PUSH", "queue", "b")
    ((handle, *_),) = r.execute_command("TASK.CLAIM", "queue", "LEASE", 60_000)
    r.execute_command("TASK.PUSH", "due", "b", "DELAY", 100)
    worker.close()
    server.wait_until(lambda: r.execute_command("TASK.LEN", "due", "ready"), "later work was done")
    assert info(r, "queue")["stalled"] == 0
    assert r.execute_command("TASK.ACK", "queue", handle) == 1


def test_a_transaction_fails_only_if_the_watched_queue_changed(r, server):
    """A command that finds nothing, reads or is refused does not touch the queue."""
    other = server.client()
    made = Builder(other, "queue")
    handle = made.claim()

    def exec_after(*command: object) -> bool:
        """Whether a transaction on the watched queue still runs after another client's command."""
        with r.pipeline() as p:
            p.watch("queue")
            refusal_of = command and other.execute_command(*command)
            p.multi()
            p.echo("ran")
            try:
                return p.execute() == [b"ran"]
            except Exception as error:
                assert type(error).__name__ == "WatchError", (error, refusal_of)
                return False

    assert exec_after("TASK.CLAIM", "queue")
    assert exec_after("TASK.INFO", "queue") and exec_after("TASK.LIST", "queue", "leased")
    assert exec_after("TASK.GET", "queue", handle) and exec_after("TASK.RESUME", "queue")
    assert exec_after("TASK.CLAIM", "missing") and exec_after("TASK.PUSH", "others", "x")
    assert exec_after("TASK.RETRY", "queue", "COUNT", 1) and exec_after("TASK.PURGE", "queue", "ready")
    for changes in (
        ("TASK.EXTEND", "queue", handle, "LEASE", 50_000_000),
        ("TASK.PUSH", "queue", "x"),
        ("TASK.CLAIM", "queue"),
        ("TASK.CONFIG", "queue", "SET", "lease", 1234),
        ("TASK.PAUSE", "queue"),
        ("TASK.ACK", "queue", handle),
        ("DEL", "queue"),
    ):
        assert not exec_after(*changes), changes


def test_a_due_task_touches_a_watched_queue(r, server):
    """The timer makes the task ready, and WATCH sees that change."""
    other = server.client()
    r.execute_command("TASK.PUSH", "queue", "x", "DELAY", 20)
    with r.pipeline() as p:
        p.watch("queue")
        server.wait_until(lambda: other.execute_command("TASK.LEN", "queue", "ready"), "it is due")
        p.multi()
        p.echo("ran")
        with pytest.raises(Exception, match="Watched variable changed"):
            p.execute()


def test_transactions_and_scripts_work_on_queues(r, server):
    """Commands run in order, and BLOCK does not wait."""
    with r.pipeline(transaction=True) as p:
        p.execute_command("TASK.PUSH", "queue", "a")
        p.execute_command("TASK.CLAIM", "queue")
        p.execute_command("TASK.CLAIM", "queue", "BLOCK", 0)
        p.execute_command("TASK.LEN", "queue", "leased")
        id_, ((handle, payload, deliveries),), nothing, leased = p.execute()
    assert handle.startswith(id_) and (payload, deliveries, nothing, leased) == (b"a", 1, [], 1)
    script = """
        redis.call('TASK.ACK', KEYS[1], ARGV[1])
        local id = redis.call('TASK.PUSH', KEYS[1], 'b')
        local tasks = redis.call('TASK.CLAIM', KEYS[1], 'BLOCK', 0)
        local none = redis.call('TASK.CLAIM', KEYS[1], 'BLOCK', 0)
        return {id, tasks[1][1], none, redis.call('TASK.LEN', KEYS[1])}
    """
    id_, handle, nothing, count = r.eval(script, 1, "queue", handle)
    assert handle.startswith(id_) and (nothing, count) == ([], 1)
    assert r.execute_command("TASK.ACK", "queue", handle) == 1
    assert info(r, "queue")["acked"] == 2
