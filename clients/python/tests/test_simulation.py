"""The cluster in simulated time (harness/simulation.py), which runs the library's own code."""

import pytest
from harness.simulation import Costs, Node, Traffic, Waiter, World, simulate, work

COSTS = Costs(
    push=7, push_each=1, claim=6, claim_each=2, ack=4, ack_each=1,
    claim_empty=5, wait_over=15, handed=12, bulk=4, length=1, info=8,
)  # fmt: skip


def total(world, count):
    """A figure of all shards, added up."""
    return sum(count(shard) for node in world.nodes for shard in node.shards.values())


def busy(world):
    """The µs that all nodes have worked."""
    return sum(node.busy_s for node in world.nodes) * 1e6


def test_the_outcome_depends_only_on_the_seed():
    """Another seed gives another outcome."""
    traffic = Traffic(rate=3000, producers=4, workers=12, shards=16)
    first, again, other = (simulate(2, COSTS, traffic, lasts_s=0.3, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_each_task_that_was_pushed_is_ready_leased_or_acked():
    """No task is lost, and none is duplicated."""
    world, pushed = World(3, COSTS), 0

    async def push():
        nonlocal pushed
        queue = world.queue(16)
        for _ in range(300):
            await queue.push(b"")
            pushed += 1

    with world.library():
        for _ in range(3):
            world.start(push())
        for _ in range(2):
            world.start(work(world, Traffic(0, 0, 2, shards=16, run_s=0.002)))
        world.env.run(until=0.05)
        assert total(world, lambda shard: len(shard.ready)) > 0 < world.acked
        assert pushed <= total(world, lambda shard: shard.made) <= pushed + 3
        leased = total(world, lambda shard: shard.leased)
        assert total(world, lambda shard: len(shard.ready)) + leased == total(world, lambda shard: shard.made)
        assert world.acked <= leased <= world.acked + 2
        world.env.run(until=5.0)
    assert world.acked == pushed == 900 == len(world.waits_s)


def test_a_node_does_one_thing_after_another():
    """Two commands that arrive at the same time take the sum of both times."""
    world = World(1, COSTS)
    node = world.nodes[0]
    first, _ = node.serve(("TASK.PUSH", "a", b""))
    second, _ = node.serve(("TASK.PUSH", "b", b""))
    assert (first, second) == pytest.approx((8e-6, 16e-6))
    assert busy(world) == pytest.approx(16)


def test_tasks_of_one_call_cost_the_call_once():
    """Ten tasks that are pushed, claimed and acked together cost what Costs.life gives for ten."""
    world = World(1, COSTS)

    async def live():
        queue = world.queue(1).queues[0]
        await queue.push_many([b""] * 10)
        assert await queue.ack_many(await queue.claim(10)) == [1] * 10

    with world.library():
        world.start(live())
        world.env.run()
    assert busy(world) == pytest.approx(10 * COSTS.life(10))
    assert world.now == pytest.approx(6 * world.net_s + 10 * COSTS.life(10) / 1e6)


def test_a_push_serves_the_worker_that_waits_longest():
    """The other worker gets the next task."""
    world = World(1, COSTS)
    node, served = Node(world), []
    waits = [node.serve(("TASK.CLAIM", "q", "COUNT", 1, "BLOCK", 1000)) for _ in range(2)]
    assert all(isinstance(one, Waiter) for one in waits)
    for at, waiter in enumerate(waits):
        waiter.event.callbacks.append(lambda event, at=at: served.append((at, len(event.value))))
    node.serve(("TASK.PUSH", "q", b""))
    world.env.run(until=0.5)
    assert served == [(0, 1)]
    node.serve(("TASK.PUSH", "q", b""))
    world.env.run(until=0.6)
    assert served == [(0, 1), (1, 1)]


def test_a_wait_that_times_out_leaves_the_wait_queue():
    """A later push is not given to a wait that has ended."""
    world = World(1, COSTS)
    node = world.nodes[0]
    waiter = node.serve(("TASK.CLAIM", "q", "COUNT", 1, "BLOCK", 30))
    replied = []
    waiter.event.callbacks.append(lambda event: replied.append((world.now, event.value)))
    world.env.run(until=1.0)
    [(at, tasks)] = replied
    assert tasks == [] and 0.03 <= at < 0.031
    node.serve(("TASK.PUSH", "q", b""))
    assert len(node.shard("q").ready) == 1


def test_throughput_is_never_more_than_what_the_nodes_can_do():
    """With three times that load, the busiest node is fully used, and none is used by more than 100 %."""
    paper = 1e6 / COSTS.life()
    outcome = simulate(1, COSTS, Traffic(3 * paper, producers=20, workers=60, shards=16), lasts_s=0.1)
    assert 0.4 * paper < outcome.rate <= paper
    assert 0.97 < max(outcome.used) <= 1.0 + 1e-9


def test_at_a_small_load_all_tasks_are_done():
    """Tasks hardly wait."""
    outcome = simulate(3, COSTS, Traffic(500, producers=6, workers=24, shards=16, run_s=0.002), lasts_s=3.0)
    assert outcome.rate == pytest.approx(500, rel=0.1)
    assert outcome.wait_p99_ms < 50


@pytest.mark.parametrize("workers", [1, 3, 8, 24])
def test_a_task_starts_within_50_ms_while_any_worker_is_free(workers):
    """This holds for 99 of 100 tasks that are pushed one at a time to any of 16 shards."""
    traffic = Traffic(rate=10, producers=1, workers=workers, shards=16)
    outcome = simulate(3, COSTS, traffic, lasts_s=60.0, warm_s=3.0)
    assert outcome.rate == pytest.approx(10, rel=0.2)
    assert outcome.wait_p99_ms <= 50


def test_idle_workers_cause_little_load():
    """There are 180 workers, most of them idle. A task causes fewer than two claims and less than one look."""
    traffic = Traffic(rate=30_000, producers=60, workers=180)
    outcome = simulate(3, COSTS, traffic, lasts_s=0.1, warm_s=0.1)
    assert outcome.rate == pytest.approx(30_000, rel=0.1)
    assert outcome.calls["TASK.CLAIM"] < 2 * outcome.rate
    assert outcome.calls["TASK.LEN"] / traffic.shards < 0.5 * outcome.rate
    assert max(outcome.used) < 0.9
