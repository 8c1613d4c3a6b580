"""TASK.MCLAIM: claiming from the first of several queues that has tasks, and waiting for all of them at once."""

import random

import pytest
from harness.server import Server
from harness.talk import SYNTAX, Error, Talk, effects
from harness.waiting import FORCED, Floor, Worker, claim

WRONGTYPE = Error("WRONGTYPE Operation against a key holding the wrong kind of value")
KEYS = ["a", "b", "c"]
THREE = claim(KEYS)


def waiting_in(floor: Floor, *keys: str) -> list[int]:
    """The number of workers that wait in each queue. Each queue is created first, so that TASK.INFO shows it."""
    for key in keys:
        floor.boss("TASK.CONFIG", key, "SET", "lease", 30_000)
    return [floor.counts(key)["blocked-workers"] for key in keys]


# ---- claiming without a wait


@pytest.mark.parametrize("protocol", [2, 3])
def test_tasks_come_from_the_first_queue_that_has_any(protocol, c):
    """The order is that of the keys, not of the pushes. The reply names the queue."""
    c("TASK.MPUSH", "c", "TASKS", 2, "c1", "c2")
    c("TASK.MPUSH", "b", "TASKS", 2, "b1", "b2")
    key, [[handle, payload, deliveries]] = c(*THREE)
    assert (key, payload, deliveries) == (b"b", b"b1", 1)
    assert c("TASK.ACK", "b", handle) == 1
    key, tasks = c(*THREE, "COUNT", 5)
    assert (key, [task[1] for task in tasks]) == (b"b", [b"b2"]), "never of two queues at once"
    key, tasks = c(*THREE, "COUNT", 5)
    assert (key, [task[1] for task in tasks]) == (b"c", [b"c1", b"c2"])
    assert c(*THREE) == []


def test_only_the_queue_that_gives_tasks_is_changed(start):
    """One effect on one key is propagated. The other queues stay as they are, and none is created."""
    server: Server = start(appendonly="yes")
    c = Talk(server)
    c("TASK.CONFIG", "a", "SET", "lease", 1000)
    c.push("b", "x")
    c.push("c", "y")
    before = c.digest("a"), c.digest("c")
    assert c(*THREE)[0] == b"b"
    assert (c.digest("a"), c.digest("c")) == before
    *_, last = effects(server)
    assert (last.key, last.names[-1]) == (b"b", "claim")
    assert c("TASK.MCLAIM", "x", "KEYS", 2, "y", "z") == []
    assert c("EXISTS", "x", "y", "z") == 0
    assert effects(server) == []


def test_the_tasks_are_those_that_claim_would_return(server):
    """COUNT, BYTES, LEASE, WORKER, TIED, NOACK and WITHMETA mean the same as in TASK.CLAIM."""
    c, other = Talk(server, 3), Talk(server, 3)
    options = ["COUNT", 3, "BYTES", 4, "LEASE", 77_000, "WORKER", "ann", "TIED", "WITHMETA"]
    for key in ("b", "q"):
        for payload in ("12", "34", "56"):
            c.push(key, payload, "PRIORITY", 3, "HEADERS", 1, "h", "v")
    key, tasks = c(*THREE, *options)
    expected_tasks = other("TASK.CLAIM", "q", *options)
    assert key == b"b" and [task[1] for task in tasks] == [b"12", b"34"]
    for task, expected in zip(tasks, expected_tasks, strict=True):
        assert (task[1:3], len(task)) == (expected[1:3], 4)
        meta, expected_meta = c.as_map(task[3]), c.as_map(expected[3])
        assert list(meta) == list(expected_meta)
        for field in (b"priority", b"headers", b"failures", b"stalls"):
            assert meta[field] == expected_meta[field]
        shown = c.map("TASK.GET", "b", task[0])
        assert (shown[b"worker"], shown[b"tied"], shown[b"lease-ms"]) == (b"ann", 1, 77_000)
    key, [[name, payload, _]] = c(*THREE, "NOACK")
    assert (key, payload, b"@" in name) == (b"b", b"56", False)
    assert c("TASK.LEN", "b") == 2


def test_a_tied_lease_ends_with_its_connection(floor):
    """TIED works in whichever queue the tasks were."""
    worker = floor.worker()
    floor.boss.push("b", "x")
    assert worker(*THREE, "TIED")[0] == b"b"
    worker.leave()
    floor.eventually(lambda: floor.counts("b")["stalled"] == 1, "the lease is over")


def test_a_key_that_is_given_twice_counts_once(floor):
    """Its first position counts, in the order of the queues and in its wait queue."""
    floor.boss.push("a", "x")
    floor.boss.push("b", "y")
    twice = ["TASK.MCLAIM", "b", "KEYS", 4, "a", "b", "a", "b"]
    assert [floor.boss(*twice)[0] for _ in range(2)] == [b"b", b"a"]
    worker = floor.waiting(["b", "a", "b"])
    assert waiting_in(floor, "a", "b") == [1, 1]
    floor.boss.push("b", "z")
    assert worker.served() == (b"b", [b"z"])
    floor.nobody_waits()


def test_a_paused_queue_is_skipped(c):
    """A queue that is paused has no tasks to claim."""
    c.push("a", "x")
    c.push("b", "y")
    c("TASK.PAUSE", "a")
    assert c(*THREE)[0] == b"b"
    c("TASK.RESUME", "a")
    assert c(*THREE)[0] == b"a"


def test_a_claim_makes_due_tasks_ready_first(server, c):
    """As with TASK.CLAIM, a claim need not wait for the timer."""
    c.push("b", "x", "DELAY", 20)
    server.wait_until(lambda: c(*THREE) != [], "the task is due")
    assert c("TASK.LEN", "b", "leased") == 1


@pytest.mark.parametrize("position", range(3))
def test_a_key_of_another_type_anywhere_changes_nothing(position, c):
    """WRONGTYPE comes before anything is claimed, even if an earlier queue has tasks. BLOCK does not wait."""
    for key in KEYS:
        c.push(key)
    c("DEL", KEYS[position])
    c("SET", KEYS[position], "text")
    others = [key for key in KEYS if key != KEYS[position]]
    before = [c.digest(key) for key in others]
    for options in ([], ["BLOCK", 0], ["REQUEST", "t"], ["NOACK"]):
        assert c(*THREE, *options) == WRONGTYPE
    assert [c.digest(key) for key in others] == before


def test_keys_must_follow_the_first_key(c):
    """KEYS takes 1 to 100 keys. The word and the number are required and cannot stand elsewhere."""
    c.push("k99", "x")
    names = [f"k{at}" for at in range(100)]
    assert c("task.mclaim", "k", "keys", 100, *names)[0] == b"k99"
    bounds = Error("ERR KEYS must be followed by the number of keys, 1 to 100")
    for number in (0, -1, 101, "x", "", "01", "+1", 2**64):
        assert c("TASK.MCLAIM", "k", "KEYS", number, *names, "k") == bounds
    for words in (
        ["a", "b", "c", "d"],
        ["COUNT", 1, "KEYS", 1, "b"],
        ["KEYS", 3, "b", "c"],
        ["KEYS", 1, "b", "c"],
        ["KEYS", 1, "b", "KEYS", 1, "c"],
        ["KEYS", 1, "b", "COUNT"],
    ):
        assert c("TASK.MCLAIM", "k99", *words) == SYNTAX, words
    assert c("TASK.MCLAIM", "KEYS", "KEYS", 2, "COUNT", "BLOCK", "COUNT", 1) == []
    wrong = c("TASK.MCLAIM", "k", "KEYS", 1)
    assert isinstance(wrong, Error) and wrong.startswith("ERR wrong number of arguments")


# ---- requests sent again


def test_a_claim_sent_again_finds_its_tasks_in_any_of_the_queues(server):
    """The order of the keys does not matter, and neither do new tasks in an earlier queue."""
    c, again = Talk(server), Talk(server)
    c("TASK.MPUSH", "b", "TASKS", 2, "x", "y")
    got = c(*THREE, "REQUEST", "t", "COUNT", 2)
    assert got[0] == b"b" and len(got[1]) == 2
    c.push("a", "z")
    assert again(*THREE, "REQUEST", "t", "COUNT", 2) == got
    assert again("TASK.MCLAIM", "c", "KEYS", 2, "b", "a", "REQUEST", "t", "BLOCK", 0) == got
    assert again("TASK.CLAIM", "b", "REQUEST", "t") == got[1]
    assert c("TASK.LEN", "a", "ready") == 1
    assert c.map("TASK.INFO", "b")[b"duplicate"] == 3
    for handle, *_ in got[1]:
        assert c("TASK.ACK", "b", handle) == 1
    assert again(*THREE, "REQUEST", "t")[0] == b"a", "with nothing left of it, it is a new claim"


def test_a_claim_sent_again_replaces_the_one_that_waits_in_every_queue(floor):
    """The copy keeps the position of the first claim in both queues. The first claim returns nothing."""
    front = floor.waiting("a")
    first = floor.waiting(["a", "b"], "REQUEST", "t")
    behind, other = floor.waiting("a"), floor.waiting("b")
    copy = floor.worker().asks(["b", "a"], "REQUEST", "t")
    assert first.read() == []
    assert (floor.blocked(), floor.counted()) == (4, 4)
    assert waiting_in(floor, "a", "b") == [3, 2]
    floor.boss.push("a", "1")
    assert front.payloads() == [b"1"]
    floor.boss.push("b", "2")
    assert copy.served() == (b"b", [b"2"])
    floor.boss.push("b", "3")
    floor.boss.push("a", "4")
    assert (other.payloads(), behind.payloads()) == ([b"3"], [b"4"])
    floor.nobody_waits()


def test_a_copy_takes_the_positions_of_all_claims_with_its_token(floor):
    """It replaces a waiting claim in each of two queues. In a third queue it is last."""
    one = floor.waiting("a", "REQUEST", "t")
    after_one, in_c = floor.waiting("a"), floor.waiting("c")
    two = floor.waiting("b", "REQUEST", "t")
    copy = floor.worker().asks(KEYS, "REQUEST", "t", "COUNT", 2)
    assert (one.read(), two.read()) == ([], [])
    assert (floor.blocked(), waiting_in(floor, *KEYS)) == (3, [2, 1, 2])
    floor.boss.push("c", "1")
    assert in_c.payloads() == [b"1"]
    floor.boss.push("a", "2")
    assert copy.served() == (b"a", [b"2"])
    floor.boss.push("a", "3")
    assert after_one.payloads() == [b"3"]
    floor.nobody_waits()
    assert copy("TASK.MCLAIM", "c", "KEYS", 2, "b", "a", "REQUEST", "t")[0] == b"a"


def test_a_copy_for_one_queue_ends_the_wait_for_the_others(floor):
    """The token marks the same request, so the first claim no longer waits in any queue."""
    first = floor.waiting(KEYS, "REQUEST", "t")
    copy = floor.worker().asks("b", "REQUEST", "t")
    assert first.read() == []
    assert waiting_in(floor, *KEYS) == [0, 1, 0]
    floor.boss.push("b", "x")
    assert copy.payloads() == [b"x"]
    floor.nobody_waits()


# ---- waiting


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("key", KEYS)
def test_a_waiting_worker_is_served_by_the_first_queue_that_gets_a_task(floor, key, protocol):
    """The worker is one blocked client that waits in each queue, and in none once it is served."""
    worker = floor.waiting(KEYS, protocol=protocol)
    assert (floor.counted(), waiting_in(floor, *KEYS)) == (1, [1, 1, 1])
    floor.boss.push(key, "x")
    assert worker.served() == (key.encode(), [b"x"])
    floor.nobody_waits()
    assert waiting_in(floor, *KEYS) == [0, 0, 0]
    for other in KEYS:
        floor.boss.push(other, "left alone")
        assert floor.boss("TASK.LEN", other, "ready") == 1


def test_workers_are_served_in_the_order_they_came_in_each_queue(floor):
    """It does not matter whether they wait for one queue or for several."""
    one = floor.waiting("b")
    two = floor.waiting(["a", "b"])
    three = floor.waiting("b")
    four = floor.waiting(["b", "c"])
    five = floor.waiting("c")
    floor.boss("TASK.MPUSH", "b", "TASKS", 2, "1", "2")
    assert (one.payloads(), two.served()) == ([b"1"], (b"b", [b"2"]))
    floor.boss.push("c", "3")
    assert four.served() == (b"c", [b"3"])
    floor.boss("TASK.MPUSH", "b", "TASKS", 2, "4", "5")
    assert three.payloads() == [b"4"]
    assert floor.boss("TASK.LEN", "b", "ready") == 1
    assert floor.all_wait([five])
    floor.boss.push("c", "6")
    assert five.payloads() == [b"6"]
    floor.nobody_waits()


def test_options_apply_to_a_claim_that_waited(floor):
    """COUNT, NOACK and WITHMETA work as in a claim of one queue."""
    many, no_ack, meta = (floor.waiting(KEYS, *o) for o in (["COUNT", 2], ["NOACK"], ["WITHMETA"]))
    floor.boss("TASK.MPUSH", "b", "TASKS", 3, "1", "2", "3")
    assert many.served() == (b"b", [b"1", b"2"])
    key, [[name, payload, _]] = no_ack.read()
    assert (key, payload, b"@" in name) == (b"b", b"3", False)
    floor.boss.push("c", "4")
    key, [[_, payload, _, shown]] = meta.read()
    assert (key, payload, b"lease" in meta.as_map(shown)) == (b"c", b"4", True)


def test_a_wait_ends_in_all_queues_at_once(floor):
    """It can end by time-out, CLIENT UNBLOCK, CLIENT KILL or a closed connection."""
    short = floor.worker()
    assert short(*THREE, "BLOCK", 1) == []
    timed_out, with_error, killed, closed = floor.line(4, KEYS)
    assert floor.boss("CLIENT", "UNBLOCK", timed_out.id) == 1
    assert floor.boss("CLIENT", "UNBLOCK", with_error.id, "ERROR") == 1
    assert (timed_out.read(), with_error.read()) == ([], Error(FORCED))
    assert floor.boss("CLIENT", "KILL", "ID", killed.id) == 1
    closed.leave()
    floor.nobody_waits()
    assert waiting_in(floor, *KEYS) == [0, 0, 0]
    for key in KEYS:
        floor.boss.push(key)
        assert floor.boss("TASK.LEN", key, "ready") == 1


@pytest.mark.parametrize("options", [[], ["TIED"], ["REQUEST", "t"]], ids=["plain", "tied", "request"])
def test_a_hand_off_that_does_not_arrive_is_undone_in_its_queue(floor, options):
    """If the worker is killed in the same batch as the push, no lease and no delivery remain."""
    worker = floor.waiting(KEYS, *options)
    floor.boss.send(["TASK.PUSH", "b", "x"], ["CLIENT", "KILL", "ID", worker.id])
    floor.boss.read(), floor.boss.read()
    floor.nobody_waits()
    assert not worker.has_tasks()
    state = {"ready": 1, "leased": 0, "claimed": 0, "stalled": 0, "requeued": 0}
    floor.eventually(lambda: state.items() <= floor.counts("b").items(), "the hand-off is undone")


def test_a_claim_in_a_transaction_or_a_script_does_not_wait(floor):
    """BLOCK is ignored: the reply is an empty array, or the tasks that are ready."""
    lua = "return redis.call('TASK.MCLAIM', KEYS[1], 'KEYS', 2, KEYS[2], KEYS[3], 'BLOCK', 0)"
    assert floor.boss("EVAL", lua, 3, *KEYS) == []
    floor.boss("MULTI")
    floor.boss(*THREE, "BLOCK", 0)
    floor.boss("TASK.PUSH", "c", "x")
    floor.boss(*THREE, "BLOCK", 0)
    nothing, _, [key, [task]] = floor.boss("EXEC")
    assert (nothing, key, task[1]) == ([], b"c", b"x")
    floor.boss.push("b", "y")
    key, [task] = floor.boss("EVAL", lua, 3, *KEYS)
    assert (key, task[1]) == (b"b", b"y")
    assert (floor.blocked(), floor.counted()) == (0, 0)


def test_a_transaction_that_fills_several_queues_serves_each_worker_once(floor):
    """The queue that was filled first serves the first worker. The next queue serves the next worker."""
    first, second = floor.waiting(KEYS), floor.waiting(["b", "a"])
    floor.boss("MULTI")
    for key in ("b", "a", "c"):
        floor.boss("TASK.PUSH", key, key)
    floor.boss("EXEC")
    assert first.served() == (b"b", [b"b"])
    assert second.served() == (b"a", [b"a"])
    assert floor.boss("TASK.LEN", "c", "ready") == 1
    floor.nobody_waits()


def arrives_by_rename(floor: Floor) -> None:
    """A queue with a task is renamed to a key that workers wait for."""
    floor.boss.push("other", "x")
    assert floor.boss("RENAME", "other", "b") == "OK"


def arrives_by_swap(floor: Floor) -> None:
    """A database with a task is swapped in."""
    floor.boss("SELECT", 1)
    floor.boss.push("b", "x")
    floor.boss("SELECT", 0)
    assert floor.boss("SWAPDB", 0, 1) == "OK"


def arrives_by_restore(floor: Floor) -> None:
    """A queue with a task is restored from a dump."""
    floor.boss.push("other", "x")
    assert floor.boss("RESTORE", "b", 0, floor.boss("DUMP", "other")) == "OK"


def is_due(floor: Floor) -> None:
    """The delay of a task passes."""
    floor.boss.push("b", "x", "DELAY", 20)


def is_resumed(floor: Floor) -> None:
    """A paused queue is resumed."""
    floor.boss("TASK.PAUSE", "b")
    floor.boss.push("b", "x")
    floor.boss("TASK.RESUME", "b")


@pytest.mark.parametrize(
    "arrives", [arrives_by_rename, arrives_by_swap, arrives_by_restore, is_due, is_resumed]
)
def test_a_worker_gets_a_task_however_it_becomes_available(floor, arrives):
    """Each way that serves a worker of one queue also serves a worker of several."""
    first, second = floor.line(2, KEYS)
    arrives(floor)
    assert first.served() == (b"b", [b"x"])
    assert floor.all_wait([second])
    assert floor.counted() == 1


def test_workers_go_on_waiting_while_a_key_has_another_type(floor):
    """They are served by the other queues, and by that key once it is a queue again."""
    first, second = floor.line(2, KEYS)
    floor.boss("SET", "b", "text")
    floor.boss.push("c", "1")
    assert first.served() == (b"c", [b"1"])
    floor.boss("DEL", "b")
    floor.boss.push("b", "2")
    assert second.served() == (b"b", [b"2"])


def test_workers_get_an_error_when_their_node_becomes_a_replica(start):
    """Demotion ends the wait in all queues."""
    primary, node = start(port=True), Floor(start(port=True))
    workers = node.line(3, KEYS)
    assert node.boss("REPLICAOF", "127.0.0.1", primary.port) == "OK"
    for worker in workers:
        reply = worker.read()
        assert isinstance(reply, Error) and reply.startswith("UNBLOCKED"), reply
    node.nobody_waits()


@pytest.mark.parametrize("seed", range(3))
def test_random_waits_are_served_as_in_a_plain_list(floor, seed):
    """Workers of one or several queues come, leave and are served: always the one that came first for that queue."""
    dice = random.Random(seed)
    here: list[tuple[list[str], Worker]] = []
    for at in range(300):
        match dice.randrange(6):
            case 0 | 1 | 2:
                keys = dice.sample(KEYS, dice.randint(1, 3))
                here.append((keys, floor.waiting(keys if len(keys) > 1 else keys[0])))
            case 3 if here:
                _, worker = here.pop(dice.randrange(len(here)))
                floor.boss("CLIENT", "KILL", "ID", worker.id)
            case _:
                key = dice.choice(KEYS)
                floor.boss.push(key, at)
                found = next((one for one in here if key in one[0]), None)
                if found is None:
                    assert floor.boss("TASK.CLAIM", key, "NOACK")[0][1] == str(at).encode()
                    continue
                here.remove(found)
                keys, worker = found
                payloads = [str(at).encode()]
                if len(keys) > 1:
                    assert worker.served() == (key.encode(), payloads)
                else:
                    assert worker.payloads() == payloads
    floor.eventually(lambda: floor.counted() == len(here), "those are left who should be")
    expected = [sum(key in keys for keys, _ in here) for key in KEYS]
    assert waiting_in(floor, *KEYS) == expected


def test_a_thousand_workers_wait_for_a_hundred_and_one_queues_each(floor):
    """One push serves one of them, a thousand pushes serve all, and no waiting entry is left."""
    keys = [f"q{at}" for at in range(101)]
    workers = [floor.worker() for _ in range(1000)]
    for worker in workers:
        worker.asks(keys)
    floor.eventually(lambda: floor.counted() == 1000, "a thousand wait", 20)
    floor.boss.push("q50", "x")
    floor.eventually(lambda: floor.blocked() == 999, "one is served")
    floor.boss.many([["TASK.PUSH", keys[at % 101], at] for at in range(999)])
    got = [worker.served() for worker in workers]
    assert len(got) == 1000 and {len(payloads) for _, payloads in got} == {1}
    floor.nobody_waits()
    assert set(waiting_in(floor, *keys)) == {0}
