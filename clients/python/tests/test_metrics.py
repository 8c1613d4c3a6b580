"""The metrics of real servers: what a scrape shows, and what it says of a server that is away."""

import threading

import pytest
import redis
import taskslot
from harness.cluster import Cluster
from harness.server import wait_until
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_metrics
from taskslot.metrics import Exporter, exporter
from taskslot.metrics.reader import Reader
from taskslot.overview import Nodes, nodes

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
HOSTILE = ['a"} 1\ntaskslot_up 0', "<script>", "\x1b[31m\u202e", "x" * 5000, 'back\\slash"', "a b/c?d#e", ""]


@pytest.fixture(autouse=True)
def always_fresh(monkeypatch):
    """Each scrape reads the server."""
    monkeypatch.setattr(exporter, "FRESH_S", 0.0)


@pytest.fixture
def scrapes(client):
    """Scrapes the server: a function that returns the samples."""
    made = Exporter(client)
    yield lambda: scraped(made)
    made.close()


def scraped(of: Exporter, accept: str = "") -> dict[str, float]:
    """The samples of a scrape, as the parser of Prometheus' own library reads them."""
    content_type, body = of.answer(accept)
    parse = open_metrics if content_type.startswith("application/openmetrics-text") else plain_metrics
    found = {}
    for family in parse(body.decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={sample.labels[name]}" for name in sorted(sample.labels))
            found[f"{sample.name.removeprefix('taskslot_')}{{{labels}}}"] = sample.value
    return found


def test_a_scrape_shows_queues_and_nodes(client, server, queue, scrapes):
    """In both forms of the text, which Prometheus' parsers read."""
    queue.push_many(["a", "b", "c"])
    done, dead = queue.claim(count=2, worker="w")
    queue.ack(done)
    queue.fail(dead, error="no", dead=True)
    queue.schedule("morning", "x", cron="0 7 * * *")
    found = scrapes()
    node = f"localhost:{server.port}"
    assert found["queue_tasks{queue=mail,state=ready}"] == found["queue_tasks{queue=mail,state=dead}"] == 1
    assert found["queue_pushed_total{queue=mail}"] == 3 and found["queue_died_total{queue=mail}"] == 1
    assert found["queue_schedules{queue=mail,state=active}"] == found["queues{}"] == found["up{}"] == 1
    assert found[f"node_up{{node={node}}}"] == found[f"node_queues{{node={node}}}"] == 1
    assert (
        found[f"node_pushed_total{{node={node}}}"] == 3 and found[f"node_due_lag_seconds{{node={node}}}"] >= 0
    )
    assert found["search_complete{}"] == 1 and found["scrape_commands{}"] > 3
    assert found["queue_data_bytes{queue=mail}"] > 0
    assert scraped(Exporter(client), OPEN_METRICS).keys() == found.keys()


def test_histograms_are_the_servers(client, queue, scrapes):
    """Each claim is a wait time, each ack a run time."""
    queue.push_many(["a", "b", "c"])
    for task in queue.claim(count=2):
        queue.ack(task)
    found = scrapes()
    assert found["queue_wait_seconds_count{queue=mail}"] == found["queue_run_seconds_count{queue=mail}"] == 2
    assert found["queue_wait_seconds_bucket{le=+Inf,queue=mail}"] == 2
    assert found["queue_wait_seconds_bucket{le=4194.304,queue=mail}"] == 2
    assert found["queue_run_seconds_sum{queue=mail}"] * 1000 == queue.times().run.sum_ms


def test_hostile_names_stay_in_their_labels(client, scrapes):
    """No name adds a line, controls a terminal, or makes the text unreadable."""
    for name in [*HOSTILE, b"\xff\xfe", b"\xed\xa0\x80"]:
        client.execute_command("TASK.PUSH", name, "x")
    found = scrapes()
    named = [line for line in found if line.startswith("queue_tasks{") and line.endswith("state=ready}")]
    assert found["up{}"] == 1 and found["queues{}"] == len(named) == len(HOSTILE) + 2
    assert all(line.isprintable() and len(line) < 250 for line in found)


def test_a_deleted_queue_disappears(client, queue, scrapes):
    """A series of a queue that is gone would never change again."""
    queue.push("a")
    taskslot.Queue(client, "gone").push("a")
    assert "queue_tasks{queue=gone,state=ready}" in scrapes()
    client.delete("gone")
    found = scrapes()
    assert not [line for line in found if "queue=gone" in line] and found["queues{}"] == 1


def test_totals_survive_a_failover(server, start, client, queue):
    """The new primary has the queue's totals, and `refused` of its own. No total falls."""
    replica = start(port=True)
    replica.replicate(server)
    queue.configure(max_len=1)
    queue.push("a")
    with pytest.raises(taskslot.QueueFull):
        queue.push("b")
    wait_until(lambda: replica.client().execute_command("TASK.LEN", "mail") == 1, "the replica has the task")
    with redis.Redis(port=replica.port) as other:
        clients = [client]
        made = Exporter(lambda: clients[-1])
        before = scraped(made)
        # As Sentinel's client does, the next look goes to the new primary.
        other.execute_command("REPLICAOF", "NO", "ONE")
        made._reader = Reader(Nodes(other, 100), times=True)
        after = scraped(made)
        assert before["queue_refused_total{queue=mail}"] == after["queue_refused_total{queue=mail}"] == 1
        assert before["queue_pushed_total{queue=mail}"] == after["queue_pushed_total{queue=mail}"] == 1
        with pytest.raises(taskslot.QueueFull):
            taskslot.Queue(other, "mail").push("b")
        assert scraped(made)["queue_refused_total{queue=mail}"] == 2


def test_scrapers_at_the_same_time_share_a_reading(client, queue, monkeypatch):
    """There is one reading at a time, however many ask."""
    queue.push("a")
    gate, begun, asked, found = threading.Event(), [], [], []
    monkeypatch.setattr(exporter, "FRESH_S", 60.0)
    made = Exporter(client)
    read = Reader.read

    def slow(self):
        begun.append(1)
        gate.wait(20)
        return read(self)

    monkeypatch.setattr(Reader, "read", slow)
    get = made._sharing.get
    monkeypatch.setattr(made._sharing, "get", lambda timeout_s: (asked.append(1), get(timeout_s))[1])
    threads = [threading.Thread(target=lambda: found.append(scraped(made))) for _ in range(5)]
    for thread in threads:
        thread.start()
    wait_until(lambda: begun and len(asked) == 5, "all have asked")
    gate.set()
    for thread in threads:
        thread.join()
    assert len(begun) == 1 and [one["queues{}"] for one in found] == [1] * 5
    assert scraped(made)["queues{}"] == 1 and len(begun) == 1  # it is still fresh


def test_a_scrape_that_takes_too_long_says_that_the_server_is_down(client, queue, monkeypatch, caplog):
    """The reading goes on, for those who ask later."""
    queue.push("a")
    gate, ended = threading.Event(), threading.Event()
    read = Reader.read

    def slow(self):
        gate.wait(20)
        try:
            return read(self)
        finally:
            ended.set()

    monkeypatch.setattr(Reader, "read", slow)
    monkeypatch.setattr(exporter, "FRESH_S", 60.0)
    made = Exporter(client, timeout_s=0.05)
    for count in 1, 2:
        found = scraped(made)
        assert found["up{}"] == 0 and found["scrape_errors_total{}"] == count and "queues{}" not in found
    assert [record.message for record in caplog.records] == ["metrics: no figures in 0.05 s"]
    gate.set()
    assert ended.wait(20)
    wait_until(lambda: scraped(made)["up{}"] == 1, "the reading that went on is given")


def test_a_server_that_is_away_is_down_until_it_comes_back(server, client, queue, scrapes, caplog):
    """The scrape answers all the same, and the log says once why there are no figures."""
    queue.push("a")
    assert scrapes()["up{}"] == 1
    server.kill9()
    node = f"node_up{{node=localhost:{server.port}}}"
    for _ in range(2):
        found = scrapes()
        assert found["up{}"] == found[node] == 0 and "queues{}" not in found
    assert [record.message for record in caplog.records] == [
        f"metrics: no answer from localhost:{server.port}"
    ]
    server.start()
    client.execute_command("TASK.PUSH", "mail", "a")
    found = scrapes()
    assert found["up{}"] == found[node] == found["queues{}"] == 1


def test_a_server_can_be_away_at_first(caplog):
    """The function that connects is called for each scrape until it returns a client."""

    def connect():
        raise redis.ConnectionError("nobody is there")

    made = Exporter(connect)
    assert [scraped(made)["up{}"] for _ in range(2)] == [0, 0]
    assert [record.message for record in caplog.records] == ["metrics: nobody is there"]
    made.close()


def test_a_user_with_few_rights_gets_the_rest(client, server, queue):
    """It is said how many queues could not be read."""
    queue.push("a")
    taskslot.Queue(client, "secret").push("a")
    client.execute_command("ACL", "SETUSER", "few", "on", ">x", "~mail", "+scan", "+task.info", "+ping")
    with redis.Redis(port=server.port, username="few", password="x") as few:
        found = scraped(Exporter(few))
    assert found["queues{}"] == found["queues_unreadable{}"] == found["up{}"] == 1
    assert not [line for line in found if "secret" in line]


def test_a_server_that_lost_the_module_is_down(start, caplog):
    """A restart without it leaves the keys of queues, or none. Both would look like a sound server without work."""
    bare = start(port=True)
    with redis.Redis(port=bare.port) as client:
        client.execute_command("TASK.PUSH", "mail", "a")
        made = Exporter(client)
        assert scraped(made)["up{}"] == 1
        bare.kill9()
        module, bare._module = bare._module, (None, ())
        bare.start()
        found = scraped(made)
        assert found["up{}"] == 0 and "queues{}" not in found and len(caplog.records) == 1
        bare.kill9()
        bare._module = module
        bare.start()
        assert scraped(made)["up{}"] == 1
        made.close()


@pytest.mark.parametrize("rights", ["-@all", "~* +info", "~none +scan +task.help +info"])
def test_a_user_who_may_read_no_queue_has_no_server(client, server, queue, rights):
    """Otherwise the lack of rights would look like a lack of queues."""
    queue.push("a")
    client.execute_command("ACL", "SETUSER", "few", "on", ">x", *rights.split())
    with redis.Redis(port=server.port, username="few", password="x") as few:
        found = scraped(Exporter(few))
    assert found["up{}"] == 0 and "queues{}" not in found


def test_queues_that_were_not_read_in_time_are_counted(client, queue, monkeypatch):
    """Not all is known then."""
    queue.push("a")
    monkeypatch.setattr(nodes, "LOOK_S", -1)
    found = scraped(Exporter(client))
    assert (found["queues_unreadable{}"], found["search_complete{}"], found["up{}"]) == (1, 0, 1)


def test_a_section_that_a_server_refuses_is_asked_for_once(client):
    """An older module has no TIMES. Its queues are read all the same."""
    for n in range(5):
        client.execute_command("TASK.PUSH", f"q{n}", "a")
    with Nodes(client, 100) as nodes:
        seen = nodes.look()
        assert nodes.section(seen, "SOMETHING") == ({}, 1)
        replies, sent = nodes.section(seen, "CRON")
        assert sorted(replies) == [f"q{n}" for n in range(5)] and sent == 5


def test_another_registry_can_have_the_metrics():
    """Nothing is read before the first scrape."""
    asked = []
    registry = CollectorRegistry(auto_describe=True)
    registry.register(Exporter(lambda: asked.append(1)))
    assert asked == []


def test_a_bad_argument_is_an_error(client):
    """At once, not with the first scrape."""
    with pytest.raises(TypeError, match="an asyncio client"):
        Exporter(redis.asyncio.Redis())
    for options in ({"queues": -1}, {"timeout_s": 0}):
        with pytest.raises(ValueError, match="must be"):
            Exporter(client, **options)


@pytest.mark.slow
def test_a_cluster_is_one_scrape(installed):
    """Shards are one queue. If a node is away, its label says so, and no total falls."""
    cluster = Cluster(installed, primaries=3, replicas=0, clock="shared", cluster_require_full_coverage="no")
    try:
        with redis.RedisCluster("127.0.0.1", cluster.nodes[0].port, require_full_coverage=False) as client:
            jobs = taskslot.ShardedQueue(client, "jobs", shards=4)
            for n in range(4):
                jobs.push("a", group=f"g{n}")
            made = Exporter(client)
            found = scraped(made)
            assert found["queue_pushed_total{queue=jobs}"] == 4 and found["queues{}"] == 1
            assert sum(value for line, value in found.items() if line.startswith("node_slots{")) == 16384
            cluster.nodes[1].freeze()
            try:
                found = scraped(made)
            finally:
                cluster.nodes[1].thaw()
            assert found[f"node_up{{node=127.0.0.1:{cluster.nodes[1].port}}}"] == 0 and found["up{}"] == 1
            assert found["queue_pushed_total{queue=jobs}"] == 4
            jobs.close()
            made.close()
    finally:
        cluster.discard()
