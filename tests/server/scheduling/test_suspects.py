"""Tasks that stalled twice: who gets one, who waits meanwhile, and that none of it is lost or spins."""

import time

import pytest
from harness.server import digest, wait_synced
from harness.talk import payloads
from harness.waiting import Floor


def claim(floor, name, count=10, *options, key="q"):
    """What a claim by this name brings now."""
    return floor.boss("TASK.CLAIM", key, "WORKER", name, "COUNT", count, *options)


def hold(floor, name, payload, *options):
    """Let a worker hold a task that goes before all others; its handle."""
    floor.boss.push("q", payload, "PRIORITY", 100, *options)
    [[handle, got, _]] = claim(floor, name, 1)
    assert got == payload.encode()
    return handle


def passed_ms(begun, ended):
    """Milliseconds between two replies of TIME."""
    (seconds, micros), (later, more) = (map(int, begun), map(int, ended))
    return (later - seconds) * 1000 + (more - micros) // 1000


def suspect(floor, payload="poison", *options, key="q"):
    """Push a task, let it stall twice, and hold it aside, without a name; its handle."""
    floor.boss("TASK.CONFIG", key, "SET", "backoff-base", 1)
    task = floor.boss.push(key, payload, "PRIORITY", 90, *options)
    for lease_ms in (1, 1, 3_600_000):
        [[handle, got, _]] = floor.boss("TASK.CLAIM", key, "LEASE", lease_ms)
        assert got == payload.encode()
        if lease_ms == 1:
            is_ready = lambda: floor.boss("TASK.GET", key, task)[3] == b"ready"  # noqa: E731
            floor.eventually(is_ready, "the lease is over and the task ready")
    return handle


def comes_back(floor, handle, key="q"):
    """What is held aside is ready again."""
    assert floor.boss("TASK.REQUEUE", key, handle) == 1


def test_a_suspect_goes_to_a_worker_that_holds_nothing_and_that_gets_nothing_more(floor):
    """Alone in its reply and alone with its worker, until that has answered; others go on with the rest."""
    hold(floor, "w1", "held")
    comes_back(floor, suspect(floor))
    for name in "abc":
        floor.boss.push("q", name)
    assert payloads(claim(floor, "w1", 1)) == [b"a"]
    [[handle, got, _]] = claim(floor, "w2")
    assert got == b"poison"
    assert claim(floor, "w2") == []
    assert payloads(claim(floor, "w1", 1)) == [b"b"]
    floor.boss("TASK.ACK", "q", handle)
    assert payloads(claim(floor, "w2")) == [b"c"]


def test_a_suspect_without_anybody_who_may_have_it_waits(floor):
    """Two workers that hold something get nothing; a claim without a name gets it, alone."""
    for name in ("w1", "w2"):
        hold(floor, name, f"held by {name}")
    comes_back(floor, suspect(floor))
    floor.boss.push("q", "a")
    assert payloads(claim(floor, "w1")) == [b"a"]
    assert claim(floor, "w1") == claim(floor, "w2") == []
    assert payloads(floor.boss("TASK.CLAIM", "q", "COUNT", 10)) == [b"poison"]


def test_a_worker_that_waits_and_holds_something_is_skipped_and_keeps_its_place(floor):
    """The suspect goes to the free one behind it; what comes next goes to the one who waited longest."""
    hold(floor, "w1", "held")
    handle = suspect(floor)
    first, second, third = (floor.waiting("q", "WORKER", name) for name in ("w1", "w2", "w3"))
    comes_back(floor, handle)
    assert second.payloads() == [b"poison"]
    assert floor.all_wait([first, third])
    floor.boss.push("q", "a")
    assert first.payloads() == [b"a"]
    assert floor.all_wait([third])


def test_a_worker_that_waits_without_a_name_gets_a_suspect(floor):
    """Nothing else can be known of it."""
    hold(floor, "w1", "held")
    handle = suspect(floor)
    named, nameless = floor.waiting("q", "WORKER", "w1"), floor.waiting("q")
    comes_back(floor, handle)
    assert nameless.payloads() == [b"poison"]
    assert floor.all_wait([named])


@pytest.mark.parametrize("options", [[], ["GROUP", "g"]], ids=["of all", "of a group"])
@pytest.mark.parametrize("end", ["ACK", "FAIL", "REQUEUE", "stall", "CANCEL"])
def test_a_worker_that_waits_gets_the_suspect_when_its_last_lease_ends(floor, options, end):
    """However that ends: the wait ends with it, not with the next push."""
    floor.boss.push("q", "held", "PRIORITY", 100, "LEASE", 200 if end == "stall" else 60_000)
    [[held, _, _]] = claim(floor, "w1", 1)
    handle = suspect(floor, "poison", *options)
    worker = floor.waiting("q", "WORKER", "w1", *options)
    comes_back(floor, handle)
    if end != "stall":
        assert floor.all_wait([worker])
    # What goes back waits for a while, so that it isn't what the worker gets.
    match end:
        case "ACK":
            floor.boss("TASK.ACK", "q", held)
        case "FAIL":
            floor.boss("TASK.FAIL", "q", held, "DELAY", 60_000)
        case "REQUEUE":
            floor.boss("TASK.REQUEUE", "q", held, "DELAY", 60_000)
        case "CANCEL":
            floor.boss("TASK.CANCEL", "q", held.split(b"@")[0])
            floor.boss("TASK.REQUEUE", "q", held)
        case _:
            pass
    expected = [b"held"] if end == "stall" and not options else [b"poison"]
    assert worker.payloads() == expected


@pytest.mark.parametrize("options", [[], ["GROUP", "g"]], ids=["of all", "of a group"])
def test_a_worker_that_holds_a_suspect_waits_for_more_until_it_has_answered(floor, options):
    """Tasks that come meanwhile are for others, also for who waits behind it; then it is the first again."""
    comes_back(floor, suspect(floor, "poison", *options))
    [[handle, _, _]] = claim(floor, "w1")
    first, second = floor.waiting("q", "WORKER", "w1", *options), floor.waiting("q", "WORKER", "w2", *options)
    floor.boss.push("q", "a", *options)
    assert second.payloads() == [b"a"]
    floor.boss.push("q", "b", *options)
    assert floor.all_wait([first])
    floor.boss("TASK.ACK", "q", handle)
    assert first.payloads() == [b"b"]


def test_after_a_lease_a_suspect_that_is_passed_over_waits_for_one_worker(floor):
    """That one gets nothing until it holds nothing, though it waits first; the other goes on; then all is as before."""
    floor.boss("TASK.CONFIG", "q", "SET", "lease", 100)
    held = [hold(floor, name, name, "LEASE", 3_600_000) for name in ("w1", "w2")]
    poison = suspect(floor)
    waits = floor.waiting("q", "WORKER", "w1")
    comes_back(floor, poison)

    def is_awaited():
        """Whether a task that comes is left to the other worker; else the first, which waits, gets it."""
        floor.boss.push("q", "x", "LEASE", 3_600_000)
        if floor.all_wait([waits]):
            return True
        assert waits.payloads() == [b"x"]
        floor.seen_to_wait(lambda: waits.asks("q", "WORKER", "w1"))
        return False

    assert not is_awaited(), "it is passed over for the first time"
    floor.eventually(is_awaited, "it has been passed over for a lease")
    assert payloads(claim(floor, "w2", 1)) == [b"x"]
    floor.boss.push("q", "y", "LEASE", 3_600_000)
    assert floor.all_wait([waits])
    assert payloads(claim(floor, "w2", 1)) == [b"y"]
    floor.boss("TASK.ACK", "q", held[0])
    assert floor.all_wait([waits])
    assert claim(floor, "w3", 1) != [], "who holds nothing has it at once"
    floor.boss.push("q", "z")
    assert waits.payloads() == [b"z"]


def test_in_a_transaction_and_a_script_it_is_the_same(floor):
    """An answer there lets the worker that waits have the suspect after it."""
    held = hold(floor, "w1", "held")
    handle = suspect(floor)
    worker = floor.waiting("q", "WORKER", "w1")
    floor.boss("MULTI")
    floor.boss("TASK.REQUEUE", "q", handle)
    floor.boss("TASK.ACK", "q", held)
    floor.boss("EXEC")
    assert worker.payloads() == [b"poison"]


def test_a_queue_in_place_of_another_asks_anew_who_may_have_what(floor):
    """Who held something of a queue that is deleted, or renamed away, holds nothing of the one that comes."""
    hold(floor, "w1", "held")
    handle = suspect(floor)
    worker = floor.waiting("q", "WORKER", "w1")
    comes_back(floor, handle)
    assert floor.all_wait([worker])
    floor.boss("RENAME", "q", "away")
    suspect_handle = suspect(floor, "other", key="elsewhere")
    comes_back(floor, suspect_handle, key="elsewhere")
    floor.boss("RENAME", "elsewhere", "q")
    assert worker.payloads() == [b"other"]


def test_mclaim_takes_from_the_next_queue_what_it_may_not_have_of_the_first(floor):
    """What counts is what a worker holds of the queue itself."""
    hold(floor, "w1", "held")
    comes_back(floor, suspect(floor))
    floor.boss.push("p", "other")
    [key, tasks] = floor.boss("TASK.MCLAIM", "q", "KEYS", 1, "p", "WORKER", "w1", "COUNT", 5)
    assert (key, payloads(tasks)) == (b"p", [b"other"])
    [key, tasks] = floor.boss("TASK.MCLAIM", "p", "KEYS", 1, "q", "WORKER", "w2", "COUNT", 5)
    assert (key, payloads(tasks)) == (b"q", [b"poison"])


def test_a_claim_of_a_group_gets_what_is_no_suspect_of_it(floor):
    """The suspect of the group is passed over; the rest of it isn't held up."""
    hold(floor, "w1", "held")
    comes_back(floor, suspect(floor, "poison", "GROUP", "g"))
    floor.boss.push("q", "a", "GROUP", "g")
    floor.boss.push("q", "b", "GROUP", "h")
    assert payloads(claim(floor, "w1", 5, "GROUP", "g")) == [b"a"]
    assert payloads(claim(floor, "w2", 5, "GROUP", "g")) == [b"poison"]
    assert payloads(claim(floor, "w2", 5, "GROUP", "h")) == []


def test_many_workers_that_hold_something_cost_a_suspect_and_others_nothing(floor):
    """Three hundred wait and hold a task each: whoever answers gets the suspect, the others wait on."""
    names = [f"w{number}" for number in range(300)]
    held = [hold(floor, name, name) for name in names]
    handle = suspect(floor)
    workers = [floor.worker().asks("q", "WORKER", name) for name in names]
    floor.eventually(lambda: floor.blocked() == len(names), "all of them wait")
    comes_back(floor, handle)
    assert floor.all_wait(workers)
    floor.boss("TASK.ACK", "q", held[200])
    assert workers[200].payloads() == [b"poison"]
    floor.boss.push("q", "a")
    assert workers[0].payloads() == [b"a"]


def test_a_suspect_that_nobody_may_have_makes_no_work(floor):
    """While time passes the server's loop turns no oftener than that of an idle one."""

    def turns():
        """How often the loop has turned; older servers don't say."""
        lines = floor.boss("INFO", "stats").decode().splitlines()
        return next((int(line.split(":")[1]) for line in lines if line.startswith("eventloop_cycles:")), 0)

    hold(floor, "w1", "held")
    handle = suspect(floor)
    worker = floor.waiting("q", "WORKER", "w1")
    comes_back(floor, handle)
    before, until = turns(), time.monotonic() + 0.3
    floor.eventually(lambda: time.monotonic() > until, "the server was left alone for a while")
    assert floor.all_wait([worker])
    assert turns() - before < 60


def test_replicas_and_a_restart_know_who_is_awaited(start):
    """Passing over is told and stored: copies are equal, and the worker gets nothing there either."""
    primary, replica = start(port=True, appendonly="yes", appendfsync="always"), start()
    replica.replicate(primary)
    floor = Floor(primary)
    floor.boss("TASK.CONFIG", "q", "SET", "lease", 1)
    floor.boss.push("q", "held", "LEASE", 3_600_000)
    assert payloads(claim(floor, "w1", 1)) == [b"held"]
    comes_back(floor, suspect(floor))
    for name in "abc":
        floor.boss.push("q", name, "LEASE", 3_600_000)
    assert payloads(claim(floor, "w1", 1)) == [b"a"]
    begun = floor.boss("TIME")
    floor.eventually(lambda: passed_ms(begun, floor.boss("TIME")) > 2, "as long as a lease has passed")
    assert claim(floor, "w1", 1) == []
    wait_synced(primary, replica)
    with primary.client() as p, replica.client() as r:
        before = digest(p, "q")
        assert digest(r, "q") == before
    primary.restart(kill=True)
    with primary.client() as p:
        assert digest(p, "q") == before
    for server in (primary, replica):
        again = Floor(server)
        if server is replica:
            again.boss("REPLICAOF", "NO", "ONE")
        assert claim(again, "w1", 1) == []
        assert payloads(claim(again, "w2", 1)) == [b"poison"]


@pytest.mark.parametrize("word", ["stalls", "run-max"])
def test_a_task_that_dies_without_a_fail_says_why(floor, word):
    """In GET, in the list of the dead, and to who waits for its result."""
    floor.boss("TASK.CONFIG", "q", "SET", "stalls", 1, *(["run-max", 20] if word == "run-max" else []))
    task = floor.boss.push("q", "x")
    floor.boss("TASK.CLAIM", "q", "WORKER", "w1", *([] if word == "run-max" else ["LEASE", 20]))
    text = b"1 stall, after 20 ms at worker w1" + (b" (run-max)" if word == "run-max" else b"")
    assert floor.boss("TASK.RESULT", "q", task, "BLOCK", 5000) == [b"dead", text]
    assert text in floor.boss("TASK.GET", "q", task)
    assert text in floor.boss("TASK.LIST", "q", "dead")[1][0]


def test_a_task_that_dies_with_its_connection_says_so(floor):
    """TIED: the lease wasn't over."""
    floor.boss("TASK.CONFIG", "q", "SET", "stalls", 1)
    task = floor.boss.push("q", "x")
    worker = floor.worker()
    worker("TASK.CLAIM", "q", "WORKER", "w1", "TIED")
    worker.leave()
    state, text = floor.boss("TASK.RESULT", "q", task, "BLOCK", 5000)
    assert (state, text[:15], text[-32:]) == (
        b"dead",
        b"1 stall, after ",
        b"at worker w1 (connection closed)",
    )


def user_waits(floor, *command):
    """A worker with a user of its own that waits already."""
    if floor.server.installed.version < (7, 0):
        pytest.skip("6.2 lets modules ask for no rights later")
    floor.boss("ACL", "SETUSER", "u", "on", ">x", "~*", "+@all")
    worker = floor.worker()
    assert worker("AUTH", "u", "x") == "OK"
    floor.seen_to_wait(lambda: worker.send(command))
    return worker


def test_a_worker_without_rights_leaves_the_suspect_to_the_next(floor):
    """It is refused and out of the line; who waits behind it has the suspect, alone."""
    poison = suspect(floor)
    refused = user_waits(floor, "TASK.CLAIM", "q", "WORKER", "w1", "COUNT", 9, "BLOCK", 0)
    behind = floor.waiting("q", "WORKER", "w2", "COUNT", 9)
    floor.boss("ACL", "SETUSER", "u", "resetkeys")
    comes_back(floor, poison)
    assert refused.read().startswith("NOPERM")
    assert behind.payloads() == [b"poison"]
    floor.nobody_waits()


def test_a_worker_without_rights_is_not_awaited(floor):
    """A suspect that has waited for a lease goes to the next who claims, not to one who was refused."""
    floor.boss("TASK.CONFIG", "q", "SET", "lease", 1)
    hold(floor, "w1", "held by w1", "LEASE", 3_600_000)
    held = hold(floor, "w2", "held by w2", "LEASE", 3_600_000)
    poison = suspect(floor)
    refused = user_waits(floor, "TASK.CLAIM", "q", "WORKER", "w1", "BLOCK", 0)
    comes_back(floor, poison)
    assert claim(floor, "w2") == [], "the suspect is passed over for the first time"
    begun = floor.boss("TIME")
    floor.eventually(lambda: passed_ms(begun, floor.boss("TIME")) > 2, "it has been passed over for a lease")
    floor.boss("ACL", "SETUSER", "u", "resetkeys")
    floor.boss.push("q", "y", "LEASE", 3_600_000)
    assert refused.read().startswith("NOPERM")
    assert claim(floor, "w2") == [], "it is awaited"
    floor.boss("TASK.ACK", "q", held)
    assert payloads(claim(floor, "w2")) == [b"poison"]
