"""A primary that dies, steps down or loads: its queues continue, on its replica or on itself."""

import threading

import pytest
import redis
from harness.cluster import Cluster, Node
from harness.schedule_runs import fired, made
from harness.server import Server, wait_synced, wait_until
from harness.talk import Error, Talk
from harness.traffic import Traffic, again
from harness.waiting import Floor

# Short, so that leases that ended without a primary are acted on soon.
GRACE = {"module_args": ("failover-grace", 200)}
HOUR = 3_600_000


def replaced(cluster: Cluster, primary: Node) -> Node:
    """Kill a primary once its replica has all its changes. Returns the replica, which is the primary now."""
    replica = cluster.replica_of(primary)
    wait_synced(primary, replica)
    cluster.kill(primary)
    cluster.wait_promoted(replica)
    return replica


def counts(talk: Talk, key: str, *names: bytes) -> list[int]:
    """The fields of TASK.INFO with these names."""
    info = talk.map("TASK.INFO", key)
    return [info[name] for name in names]


def test_the_times_of_a_killed_primary_run_on_at_its_replica(start_cluster):
    """Leases end there as stalls, delays run out, and schedules continue without making a run twice."""
    cluster = start_cluster(appendonly="yes", aof_use_rdb_preamble="no", **GRACE)
    primary = cluster.node_of("{q}")
    talk = Talk(primary)
    talk("TASK.MPUSH", "{q}leases", "LEASE", 1500, "TASKS", 5, *"abcde")
    handles = [handle for handle, *_ in talk("TASK.CLAIM", "{q}leases", "COUNT", 5)]
    talk("TASK.MPUSH", "{q}delays", "DELAY", 1500, "TASKS", 5, *"abcde")
    talk("TASK.CRON", "{q}cron", "SET", "beat", "EVERY", 300, "PAYLOAD", "tick")
    primary.wait_until(lambda: made(talk, "{q}cron") >= 2, "some runs")
    far_server = replaced(cluster, primary)
    far = Talk(far_server)
    before = made(far, "{q}cron")
    far_server.wait_until(lambda: counts(far, "{q}leases", b"ready", b"stalled") == [5, 5], "the leases end")
    far_server.wait_until(lambda: counts(far, "{q}delays", b"ready", b"delayed") == [5, 0], "the delays end")
    far_server.wait_until(lambda: made(far, "{q}cron") >= before + 3, "the schedule goes on")
    again_claimed = far("TASK.CLAIM", "{q}leases", "COUNT", 5)
    assert [(payload, deliveries) for _, payload, deliveries in again_claimed] == [
        (b, 2) for b in each("abcde")
    ]
    assert far("TASK.ACK", "{q}leases", "HANDLES", 5, *handles) == [-2] * 5, "the old handles are stale"
    far("TASK.PAUSE", "{q}cron", "IN")
    runs = fired(far_server, "{q}cron")
    assert len(runs) == made(far, "{q}cron") == far("TASK.LEN", "{q}cron")
    assert len({instant for instant, _ in runs}) == len(runs), "no run twice"


def each(letters: str) -> list[bytes]:
    """The letters, one by one."""
    return [letter.encode() for letter in letters]


def test_what_a_killed_primary_held_is_held_at_its_replica(cluster):
    """Leases with their handles, tokens, a group at its limit and a request token. Workers wait there too."""
    primary = cluster.node_of("{q}")
    talk = Talk(primary)
    task, handle = talk.push("{q}held", "x", "LEASE", HOUR), talk.claim("{q}held")
    unique = talk("TASK.PUSH", "{q}unique", "x", "UNIQUE", "one")
    assert unique[1] == 1
    talk("TASK.GROUP", "{q}groups", "SET", "g", "CONCURRENCY", 1)
    talk("TASK.MPUSH", "{q}groups", "GROUP", "g", "LEASE", HOUR, "TASKS", 2, "first", "second")
    first = talk.claim("{q}groups")
    requested = talk.push("{q}requests", "x", "REQUEST", "token")
    served: list[object] = []

    def wait_for_work() -> None:
        client = cluster.client()
        while not served:
            try:
                served.extend(again(client, "TASK.CLAIM", "{q}waiting", "BLOCK", 500))
            except (redis.ConnectionError, redis.exceptions.ClusterDownError):
                continue  # the primary is dead, and its replica has not taken over yet

    worker = threading.Thread(target=wait_for_work, daemon=True)
    worker.start()
    primary.wait_until(lambda: Floor(primary).counted() == 1, "the worker waits")
    floor = Floor(replaced(cluster, primary))
    far = floor.boss
    assert far("TASK.EXTEND", "{q}held", handle) > 0
    assert far("TASK.ACK", "{q}held", handle) == 1 and far("TASK.GET", "{q}held", task) is None
    assert far("TASK.PUSH", "{q}unique", "y", "UNIQUE", "one") == [unique[0], 0]
    assert far("TASK.CLAIM", "{q}groups") == []
    assert far("TASK.ACK", "{q}groups", first) == 1
    assert far("TASK.CLAIM", "{q}groups")[0][1] == b"second"
    assert far("TASK.PUSH", "{q}requests", "x", "REQUEST", "token") == requested
    assert far("TASK.LEN", "{q}requests") == 1
    floor.eventually(lambda: floor.counted() == 1, "the worker waits at the new primary", 10)
    waits = floor.waiting("{q}waiting")
    far("TASK.MPUSH", "{q}waiting", "TASKS", 2, "for the first", "for the second")
    worker.join(10)
    assert sorted([served[0][1], *waits.payloads()]) == [b"for the first", b"for the second"]


def test_a_primary_that_steps_down_under_load_loses_nothing(cluster):
    """CLUSTER FAILOVER and back, while tasks are pushed, waited for and acked. Each task is worked on once."""
    keys = [f"{{q}}{n}" for n in range(6)]
    first = cluster.node_of("{q}")
    second = cluster.replica_of(first)
    with Traffic(cluster, keys) as traffic:
        for replica in (second, first):
            cluster.failover(replica)
            traffic.passes(100)
    assert cluster.node_of("{q}") is first
    traffic.account()


@pytest.mark.slow
@pytest.mark.timeout(180)  # sentinels that disagree take their time
def test_sentinels_put_in_a_replica_that_goes_on(start_sentinel):
    """A client of the sentinels finds it. A lease ends, a delay runs out, a handle works and a worker is served."""
    sentinel = start_sentinel(**GRACE)
    primary, replica = sentinel.primary(), sentinel.replica()
    client = sentinel.client()
    send = client.execute_command
    send("TASK.MPUSH", "stalls", "LEASE", 1000, "TASKS", 1, "a")
    send("TASK.CLAIM", "stalls")
    send("TASK.PUSH", "delays", "b", "DELAY", 1000)
    send("TASK.PUSH", "held", "c", "LEASE", HOUR)
    ((handle, *_),) = send("TASK.CLAIM", "held")
    assert send("WAIT", 1, 5000) == 1
    primary.kill9()
    sentinel.wait_promoted(replica)
    assert [task[1:] for task in send("TASK.CLAIM", "stalls", "BLOCK", 10_000)] == [[b"a", 2]]
    assert [task[1:] for task in send("TASK.CLAIM", "delays", "BLOCK", 10_000)] == [[b"b", 1]]
    assert send("TASK.ACK", "held", handle) == 1
    sentinel.restart(primary)
    talk = Talk(primary)
    replica.wait_until(lambda: talk.digest("stalls") == Talk(replica).digest("stalls"), "the old one follows")


def test_a_server_that_loads_says_so_and_then_has_all(start):
    """After a kill and a restart, it replies LOADING to each command until it has read its file."""
    server = start(appendonly="yes", appendfsync="always")
    tasks, held = filled(server)
    server.kill9()
    refuses_while_it_loads(server, "LOADING ", tasks[0], held)
    has_all(server.client(), tasks, held)


def test_a_node_of_a_cluster_that_loads_does_nothing_and_then_has_all(start_cluster):
    """Without a replica. It replies CLUSTERDOWN, because servers check the cluster before they check for loading."""
    cluster = start_cluster(replicas=0, appendonly="yes", appendfsync="always")
    node = cluster.node_of("{q}")
    tasks, held = filled(node)
    cluster.kill(node)
    refuses_while_it_loads(node, "CLUSTERDOWN ", tasks[0], held)
    cluster.wait_ok()
    has_all(cluster.client(), tasks, held)


def filled(server: Server) -> tuple[list[bytes], bytes]:
    """Push enough tasks that loading takes a while, and claim the first. Returns all ids, and its handle."""
    talk = Talk(server)
    tasks = talk.many([["TASK.PUSH", "{q}", f"task {n}"] for n in range(3000)])
    return tasks, talk.claim("{q}", "LEASE", HOUR)


def refuses_while_it_loads(server: Server, word: str, task: bytes, held: bytes) -> None:
    """Start a server again, and check that it refuses each command with this code until it has loaded."""
    # It waits 0.1 ms for each command in the file, and handles sockets after each thousand, so loading takes 0.5 s.
    server.begin(key_load_delay=100)
    commands = [
        ("TASK.PUSH", "{q}", "y"),
        ("TASK.CLAIM", "{q}", "BLOCK", 0),
        ("TASK.ACK", "{q}", held),
        ("TASK.LEN", "{q}"),
        ("TASK.RESULT", "{q}", task, "BLOCK", 0),
        ("TASK.CRON", "{q}", "SET", "beat", "EVERY", 1000, "PAYLOAD", "x"),
    ]
    talk = wait_until(lambda: connected(server), "it can be reached")
    talk.send(*commands, ["INFO", "persistence"])
    for command in commands:
        reply = talk.read()
        assert isinstance(reply, Error) and reply.startswith(word), (command, reply)
    assert b"loading:1" in talk.read()
    server.ready()


def connected(server: Server) -> Talk | None:
    """A connection to a server that is starting; None while it doesn't listen."""
    try:
        return Talk(server)
    except OSError:
        return None


def has_all(client: redis.Redis | redis.RedisCluster, tasks: list[bytes], held: bytes) -> None:
    """Fail unless the first task's lease holds, and exactly the others are ready, in their order."""
    send = client.execute_command
    assert send("TASK.ACK", "{q}", held) == 1
    assert send("TASK.LEN", "{q}") == send("TASK.LEN", "{q}", "ready") == len(tasks) - 1
    left = [task[0].split(b"@")[0] for _ in range(3) for task in send("TASK.CLAIM", "{q}", "COUNT", 1000)]
    assert left == tasks[1:]
