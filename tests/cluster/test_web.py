"""The web page of a cluster: all primaries, how shards are spread over them, and a failover."""

import re

import pytest
from harness.server import wait_until
from harness.web import FormClient, create_app
from taskslot import ShardedQueue
from taskslot.web.live import sampler


@pytest.fixture
def browser(start_cluster, monkeypatch):
    """A browser of a page that looks at a new cluster often, and the cluster."""
    monkeypatch.setattr(sampler, "INTERVAL_S", 0.1)
    cluster = start_cluster()
    port = cluster.primaries()[0].port
    browser = FormClient(create_app(f"redis://127.0.0.1:{port}"))
    yield browser, cluster
    browser.app.state.site.close()


@pytest.mark.slow
def test_the_page_shows_all_nodes_and_lives_through_a_failover(browser):
    """A queue on a primary that is away is said to be missing, and is there again with its replica."""
    from redis.cluster import RedisCluster

    page, cluster = browser
    first, *others = cluster.primaries()
    with (
        RedisCluster("127.0.0.1", others[0].port) as client,
        ShardedQueue(client, "orders", shards=8) as queue,
    ):
        for number in range(32):
            queue.push(b"x", unique=f"{number}")
        total = queue.info().ready
    wait_until(lambda: "×8" in page.text("/"), "all shards were found")
    html = page.text("/nodes")
    assert all(f"127.0.0.1:{node.port}</h2>" in html for node in cluster.primaries())
    assert html.count('<span class="">online</span>') == 3
    spread = re.findall(r'<td class="n[^"]*">(\d+)</td>', html.partition("Shards by node")[2])
    assert [int(count) for count in spread][0] == 8 == sum(int(count) for count in spread[1:])
    cluster.kill(first)
    wait_until(lambda: f"No answer from 127.0.0.1:{first.port}" in page.text("/"), "it is missed")
    wait_until(lambda: f"ready <b>{total}</b>" in page.text("/"), "its replica has taken over", 40)
    assert page.get("/queue?key=orders&shards=8").status_code == 200
