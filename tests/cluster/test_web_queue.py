"""The page of a sharded queue on a cluster, also while one of its nodes is away."""

import pytest
from harness.server import wait_until
from harness.web import FormClient, create_app, path_of
from redis.cluster import RedisCluster
from taskslot import ShardedQueue
from taskslot.shards import names
from taskslot.web.queue.lens import ROWS


@pytest.mark.slow
def test_the_page_of_a_queue_reads_all_nodes(start_cluster):
    """Counts, lists and tasks are of all shards. A node that is away takes its shards with it, and no others."""
    cluster = start_cluster(primaries=3, replicas=0, cluster_require_full_coverage="no")
    with RedisCluster(host="127.0.0.1", port=cluster.nodes[0].port) as client:
        with ShardedQueue(client, "orders", shards=8) as queue:
            tasks = [queue.push(f"{n}", group=f"g{n}") for n in range(ROWS - 1)]
        app = create_app(client)
        try:
            browser = FormClient(app)
            page = browser.text("/queue?key=orders&shards=8")
            assert f"of {len(tasks)} ready tasks" in page
            for task in (tasks[0], tasks[-1]):
                assert task in page and task in browser.text(
                    path_of("/task", key="orders", shards="8", id=task)
                )
            assert f"{len(tasks)} groups" in browser.text("/queue?key=orders&shards=8&section=groups")
            client.execute_command("TASK.PUSH", b"odd{1}\xff", "x")
            assert "1 to 1 of 1" in browser.text(path_of("/queue", key=b"odd{1}\xff"))
            nodes = [cluster.node_of(key) for key in names("orders", 8)]
            victim = nodes[0]
            victim.kill9()
            there = [number for number, node in enumerate(nodes) if node is not victim]
            left = [task for task in tasks if int(task[0]) in there]

            def is_partly_there() -> bool:
                answer = browser.get("/queue?key=orders&shards=8")
                return answer.status_code == 200 and all(task in answer.text for task in left)

            assert 0 < len(left) < len(tasks)
            wait_until(is_partly_there, "the page shows the shards that are there")
        finally:
            app.state.site.close()
