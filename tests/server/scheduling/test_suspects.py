"""Suspects: tasks that stalled twice are delivered alone, to a worker that has no other lease, and are never lost."""

import time

import pytest
from harness.server import digest, wait_synced
from harness.talk import payloads
from harness.waiting import Floor


def claim(floor, name, count=10, *options, key="q"):
    """Claim with this worker name."""
    return floor.boss("TASK.CLAIM", key, "WORKER", name, "COUNT", count, *options)


def hold(floor, name, payload, *options):
    """Push a task that comes first, claim it with this worker name, and return its handle."""
    floor.boss.push("q", payload, "PRIORITY", 100, *options)
    [[handle, got, _]] = claim(floor, name, 1)
    assert got == payload.encode()
    return handle


def passed_ms(begun, ended):
    """The milliseconds between two replies of TIME."""
    (seconds, micros), (later, more) = (map(int, begun), map(int, ended))
    return (later - seconds) * 1000 + (more - micros) // 1000


def suspect(floor, payload="poison", *options, key="q"):
    """Push a task, let it stall twice, and claim it without a name. Returns the handle."""
    floor.boss("TASK.CONFIG", key, "SET", "backoff-base", 1)
    task = floor.boss.push(key, payload, "PRIORITY", 90, *options)
    for lease_ms in (1, 1, 3_600_000):
        [[handle, got, _]] = floor.boss("TASK.CLAIM", key, "LEASE", lease_ms)
        assert got == payload.encode()
        if lease_ms == 1:
            is_ready = lambda: floor.boss("TASK.GET", key, task)[3] == b"ready"  # noqa: E731
            floor.eventually(is_ready, "the lease is over and the task ready")
    return handle


def give_back(floor, handle, key="q"):
    """Give a task back, so that it is ready again."""
    assert floor.boss("TASK.REQUEUE", key, handle) == 1


def test_a_suspect_is_delivered_alone_to_a_worker_without_leases(floor):
    """That worker gets no other task until it acks. Other workers get the other tasks."""
    hold(floor, "w1", "held")
    give_back(floor, suspect(floor))
    for name in "abc":
        floor.boss.push("q", name)
    assert payloads(claim(floor, "w1", 1)) == [b"a"]
    [[handle, got, _]] = claim(floor, "w2")
    assert got == b"poison"
    assert claim(floor, "w2") == []
    assert payloads(claim(floor, "w1", 1)) == [b"b"]
    floor.boss("TASK.ACK", "q", handle)
    assert payloads(claim(floor, "w2")) == [b"c"]


def test_a_suspect_stays_ready_while_all_workers_have_leases(floor):
    """A claim without a worker name gets it alone."""
    for name in ("w1", "w2"):
        hold(floor, name, f"held by {name}")
    give_back(floor, suspect(floor))
    floor.boss.push("q", "a")
    assert payloads(claim(floor, "w1")) == [b"a"]
    assert claim(floor, "w1") == claim(floor, "w2") == []
    assert payloads(floor.boss("TASK.CLAIM", "q", "COUNT", 10)) == [b"poison"]


def test_a_waiting_worker_with_a_lease_is_skipped_and_keeps_its_position(floor):
    """The suspect goes to the worker behind it. The next task goes to the first worker."""
    hold(floor, "w1", "held")
    handle = suspect(floor)
    first, second, third = (floor.waiting("q", "WORKER", name) for name in ("w1", "w2", "w3"))
    give_back(floor, handle)
    assert second.payloads() == [b"poison"]
    assert floor.all_wait([first, third])
    floor.boss.push("q", "a")
    assert first.payloads() == [b"a"]
    assert floor.all_wait([third])


def test_a_waiting_worker_without_a_name_gets_a_suspect(floor):
    """The module does not know the leases of a worker without a name."""
    hold(floor, "w1", "held")
    handle = suspect(floor)
    named, nameless = floor.waiting("q", "WORKER", "w1"), floor.waiting("q")
    give_back(floor, handle)
    assert nameless.payloads() == [b"poison"]
    assert floor.all_wait([named])


@pytest.mark.parametrize("options", [[], ["GROUP", "g"]], ids=["of all", "of a group"])
@pytest.mark.parametrize("end", ["ACK", "FAIL", "REQUEUE", "stall", "CANCEL"])
def test_a_waiting_worker_gets_the_suspect_when_its_last_lease_ends(floor, options, end):
    """It does not matter how the lease ends. No push is needed."""
    floor.boss.push("q", "held", "PRIORITY", 100, "LEASE", 1000 if end == "stall" else 60_000)
    [[held, _, _]] = claim(floor, "w1", 1)
    handle = suspect(floor, "poison", *options)
    worker = floor.waiting("q", "WORKER", "w1", *options)
    give_back(floor, handle)
    if end != "stall":
        assert floor.all_wait([worker])
    # A task that goes back is delayed, so that the worker does not get it.
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
def test_a_worker_with_a_suspect_gets_no_other_task_until_it_acks(floor, options):
    """Tasks go to workers behind it. After the ACK it is served first again."""
    give_back(floor, suspect(floor, "poison", *options))
    [[handle, _, _]] = claim(floor, "w1")
    first, second = floor.waiting("q", "WORKER", "w1", *options), floor.waiting("q", "WORKER", "w2", *options)
    floor.boss.push("q", "a", *options)
    assert second.payloads() == [b"a"]
    floor.boss.push("q", "b", *options)
    assert floor.all_wait([first])
    floor.boss("TASK.ACK", "q", handle)
    assert first.payloads() == [b"b"]


def test_a_suspect_skipped_for_a_lease_reserves_one_worker(floor):
    """That worker gets nothing until it has no lease. Other workers go on, and later all is as before."""
    floor.boss("TASK.CONFIG", "q", "SET", "lease", 1000)
    held = [hold(floor, name, name, "LEASE", 3_600_000) for name in ("w1", "w2")]
    poison = suspect(floor)
    waits = floor.waiting("q", "WORKER", "w1")
    give_back(floor, poison)

    def is_reserved():
        """Whether the waiting worker is left out when a task is pushed."""
        floor.boss.push("q", "x", "LEASE", 3_600_000)
        if floor.all_wait([waits]):
            return True
        assert waits.payloads() == [b"x"]
        floor.seen_to_wait(lambda: waits.asks("q", "WORKER", "w1"))
        return False

    assert not is_reserved(), "the suspect is skipped for the first time"
    floor.eventually(is_reserved, "the suspect was skipped for a lease")
    assert payloads(claim(floor, "w2", 1)) == [b"x"]
    floor.boss.push("q", "y", "LEASE", 3_600_000)
    assert floor.all_wait([waits])
    assert payloads(claim(floor, "w2", 1)) == [b"y"]
    floor.boss("TASK.ACK", "q", held[0])
    assert floor.all_wait([waits])
    assert claim(floor, "w3", 1) != [], "a worker without leases gets the suspect at once"
    floor.boss.push("q", "z")
    assert waits.payloads() == [b"z"]


def test_a_suspect_is_handed_off_after_the_transaction_that_ends_the_last_lease(floor):
    """The ACK of the last lease is in the transaction."""
    held = hold(floor, "w1", "held")
    handle = suspect(floor)
    worker = floor.waiting("q", "WORKER", "w1")
    floor.boss("MULTI")
    floor.boss("TASK.REQUEUE", "q", handle)
    floor.boss("TASK.ACK", "q", held)
    floor.boss("EXEC")
    assert worker.payloads() == [b"poison"]


def test_leases_of_a_renamed_queue_do_not_count_in_its_replacement(floor):
    """A worker with a lease in the old queue gets the suspect of the new one."""
    hold(floor, "w1", "held")
    handle = suspect(floor)
    worker = floor.waiting("q", "WORKER", "w1")
    give_back(floor, handle)
    assert floor.all_wait([worker])
    floor.boss("RENAME", "q", "away")
    suspect_handle = suspect(floor, "other", key="elsewhere")
    give_back(floor, suspect_handle, key="elsewhere")
    floor.boss("RENAME", "elsewhere", "q")
    assert worker.payloads() == [b"other"]


def test_mclaim_goes_on_to_the_next_queue_if_the_first_only_has_a_suspect(floor):
    """Only leases in the queue of the suspect count."""
    hold(floor, "w1", "held")
    give_back(floor, suspect(floor))
    floor.boss.push("p", "other")
    [key, tasks] = floor.boss("TASK.MCLAIM", "q", "KEYS", 1, "p", "WORKER", "w1", "COUNT", 5)
    assert (key, payloads(tasks)) == (b"p", [b"other"])
    [key, tasks] = floor.boss("TASK.MCLAIM", "p", "KEYS", 1, "q", "WORKER", "w2", "COUNT", 5)
    assert (key, payloads(tasks)) == (b"q", [b"poison"])


def test_a_claim_of_a_group_skips_its_suspect(floor):
    """The other tasks of the group can be claimed."""
    hold(floor, "w1", "held")
    give_back(floor, suspect(floor, "poison", "GROUP", "g"))
    floor.boss.push("q", "a", "GROUP", "g")
    floor.boss.push("q", "b", "GROUP", "h")
    assert payloads(claim(floor, "w1", 5, "GROUP", "g")) == [b"a"]
    assert payloads(claim(floor, "w2", 5, "GROUP", "g")) == [b"poison"]
    assert payloads(claim(floor, "w2", 5, "GROUP", "h")) == []


def test_a_suspect_finds_the_one_free_worker_of_many(floor):
    """Three hundred workers with a lease wait. The one whose lease ends gets the suspect."""
    names = [f"w{number}" for number in range(300)]
    held = [hold(floor, name, name) for name in names]
    handle = suspect(floor)
    workers = [floor.worker().asks("q", "WORKER", name) for name in names]
    floor.eventually(lambda: floor.blocked() == len(names), "all of them wait")
    give_back(floor, handle)
    assert floor.all_wait(workers)
    floor.boss("TASK.ACK", "q", held[200])
    assert workers[200].payloads() == [b"poison"]
    floor.boss.push("q", "a")
    assert workers[0].payloads() == [b"a"]


def test_a_suspect_that_no_worker_can_get_causes_no_work(floor):
    """The event loop does not run more often than in an idle server."""

    def cycles():
        """The number of event loop cycles, or 0 on older servers, which do not show it."""
        lines = floor.boss("INFO", "stats").decode().splitlines()
        return next((int(line.split(":")[1]) for line in lines if line.startswith("eventloop_cycles:")), 0)

    hold(floor, "w1", "held")
    handle = suspect(floor)
    worker = floor.waiting("q", "WORKER", "w1")
    give_back(floor, handle)
    begun, before = time.monotonic(), cycles()
    floor.eventually(lambda: time.monotonic() > begun + 0.3, "the server had nothing to do for a while")
    assert floor.all_wait([worker])
    assert cycles() - before < 200 * (time.monotonic() - begun)


def test_replicas_and_a_restart_know_the_reserved_worker(start):
    """The skipped suspect is replicated and stored, so the worker gets nothing there either."""
    primary, replica = start(port=True, appendonly="yes", appendfsync="always"), start()
    replica.replicate(primary)
    floor = Floor(primary)
    floor.boss("TASK.CONFIG", "q", "SET", "lease", 1)
    floor.boss.push("q", "held", "LEASE", 3_600_000)
    assert payloads(claim(floor, "w1", 1)) == [b"held"]
    give_back(floor, suspect(floor))
    for name in "abc":
        floor.boss.push("q", name, "LEASE", 3_600_000)
    assert payloads(claim(floor, "w1", 1)) == [b"a"]
    begun = floor.boss("TIME")
    floor.eventually(lambda: passed_ms(begun, floor.boss("TIME")) > 2, "the suspect was skipped for a lease")
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
def test_a_task_that_dies_of_stalls_has_an_error_text(floor, word):
    """GET, LIST and RESULT show it."""
    floor.boss("TASK.CONFIG", "q", "SET", "stalls", 1, *(["run-max", 20] if word == "run-max" else []))
    task = floor.boss.push("q", "x")
    floor.boss("TASK.CLAIM", "q", "WORKER", "w1", *([] if word == "run-max" else ["LEASE", 20]))
    text = b"1 stall, after 20 ms at worker w1" + (b" (run-max)" if word == "run-max" else b"")
    assert floor.boss("TASK.RESULT", "q", task, "BLOCK", 5000) == [b"dead", text]
    assert text in floor.boss("TASK.GET", "q", task)
    assert text in floor.boss("TASK.LIST", "q", "dead")[1][0]


def test_the_error_text_shows_that_the_connection_was_closed(floor):
    """The lease was tied and had not run out."""
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
    """A blocked worker with a user of its own."""
    if floor.server.installed.version < (7, 0):
        pytest.skip("on 6.2 modules cannot check permissions later")
    floor.boss("ACL", "SETUSER", "u", "on", ">x", "~*", "+@all")
    worker = floor.worker()
    assert worker("AUTH", "u", "x") == "OK"
    floor.seen_to_wait(lambda: worker.send(command))
    return worker


def test_a_worker_that_lost_its_permissions_does_not_get_the_suspect(floor):
    """It is refused and no longer waits. The next worker gets the suspect alone."""
    poison = suspect(floor)
    refused = user_waits(floor, "TASK.CLAIM", "q", "WORKER", "w1", "COUNT", 9, "BLOCK", 0)
    behind = floor.waiting("q", "WORKER", "w2", "COUNT", 9)
    floor.boss("ACL", "SETUSER", "u", "resetkeys")
    give_back(floor, poison)
    assert refused.read().startswith("NOPERM")
    assert behind.payloads() == [b"poison"]
    floor.nobody_waits()


def test_a_worker_that_lost_its_permissions_is_not_reserved(floor):
    """The suspect reserves the next worker that claims."""
    floor.boss("TASK.CONFIG", "q", "SET", "lease", 1)
    hold(floor, "w1", "held by w1", "LEASE", 3_600_000)
    held = hold(floor, "w2", "held by w2", "LEASE", 3_600_000)
    poison = suspect(floor)
    refused = user_waits(floor, "TASK.CLAIM", "q", "WORKER", "w1", "BLOCK", 0)
    give_back(floor, poison)
    assert claim(floor, "w2") == [], "the suspect is skipped for the first time"
    begun = floor.boss("TIME")
    floor.eventually(lambda: passed_ms(begun, floor.boss("TIME")) > 2, "the suspect was skipped for a lease")
    floor.boss("ACL", "SETUSER", "u", "resetkeys")
    floor.boss.push("q", "y", "LEASE", 3_600_000)
    assert refused.read().startswith("NOPERM")
    assert claim(floor, "w2") == [], "it is reserved"
    floor.boss("TASK.ACK", "q", held)
    assert payloads(claim(floor, "w2")) == [b"poison"]
