"""Random histories: primary, replica, chained replica, reload and AOF have the same queues at each step."""

import pytest
from harness.files import rewrite_aof, wait_aof
from harness.histories import GROUPS, KEYS, History, pause, state
from harness.queues import info
from harness.server import wait_synced
from harness.talk import Error, Talk

STEPS = 2000


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3))])
def test_every_copy_is_equal_at_every_offset(start, seed):
    """At equal offsets the digests are equal. A reload, each AOF and a promoted replica have them too."""
    aof = {"appendonly": "yes", "aof_use_rdb_preamble": "yes" if seed % 2 else "no"}
    primary, replica, leaf = start(port=True, **aof), start(port=True, **aof), start(**aof)
    replica.replicate(primary)
    leaf.replicate(replica)
    for server in (replica, leaf):
        wait_aof(server)
    history = History(primary, seed)
    for part in range(3):
        history.run(STEPS // 3)
        c = pause(primary, replica)
        wait_synced(replica, leaf)
        before = state(c)
        assert state(Talk(replica)) == before, f"seed {seed}, part {part}"
        assert state(Talk(leaf)) == before, f"seed {seed}, part {part}"
        c("DEBUG", "RELOAD")
        assert state(c) == before, f"seed {seed}, part {part}: a reload"
        if part < 2:
            c("CLIENT", "UNPAUSE")
            rewrite_aof(primary)
    missing = {"TASK.PUSH", "TASK.CLAIM", "TASK.ACK", "TASK.FAIL", "STALE"} - history.replies.keys()
    assert not missing and sum(info(primary.client(), key)["stalled"] for key in before if key != b"all") > 10
    # Each server loads its own AOF as a replica without a primary, so that no timer runs.
    primary.kill9()
    for server in (primary, replica, leaf):
        server.restart(kill=True, replicaof="127.0.0.1 1")
        assert state(Talk(server)) == before, f"seed {seed}: the AOF of {server.dir}"
    # The middle of the chain takes over, and its history goes on.
    replica.client().execute_command("REPLICAOF", "NO", "ONE")
    leaf.replicate(replica)
    history = History(replica, seed + 1000)
    history.run(STEPS // 4)
    assert state(pause(replica, leaf)) == state(Talk(leaf)), f"seed {seed}: after the promotion"


@pytest.mark.parametrize("seed", range(4, 6))
def test_every_task_of_a_history_is_accounted_for(start, seed):
    """After any history a queue can be drained, and its totals add up to the tasks that were pushed."""
    server = start(module_args=("failover-grace", 0))
    history = History(server, seed)
    history.run(STEPS)
    c = Talk(server)
    r = server.client()
    for key in KEYS:
        c("TASK.CONFIG", key, "RESET")
        for group in GROUPS:
            c("TASK.GROUP", key, "DEL", group)
            c("TASK.RESUME", key, "GROUP", group)
        c("TASK.CONFIG", key, "SET", "stalls", -1, "backoff-base", 1, "backoff-max", 1)
        c("TASK.RESUME", key, "ALL")

        def drained(key: str = key) -> dict | None:
            c("TASK.RETRY", key, "COUNT", 1000)
            for handle, *_ in c("TASK.CLAIM", key, "COUNT", 1000, "LEASE", 60_000):
                assert c("TASK.ACK", key, handle) == 1
            counts = info(r, key)
            return counts if sum(counts[name] for name in ("ready", "delayed", "dead")) == 0 else None

        counts = server.wait_until(drained, f"nothing waits in {key}", 15)
        # Some leases belong to workers that have left. They last until their deadlines, which may pass at any time.
        ends = ("leased", "acked", "cancelled", "purged", "dropped")
        assert counts["pushed"] == sum(counts[name] for name in ends), counts
        # Remembered requests count in `bytes` but not against `max-bytes`, which only tasks fill.
        c("TASK.CONFIG", key, "SET", "max-bytes", 1)
        for command in (["MULTI"], ["TASK.LEN", key], ["TASK.PUSH", key, "x"]):
            c(*command)
        remaining, pushed = c("EXEC")
        assert isinstance(pushed, Error) == (remaining > 0)
