"""Groups: tasks of many tenants in one queue take turns by weight, and each group can be strictly ordered."""

import itertools
from collections import Counter

import pytest
from harness.server import wait_synced
from harness.talk import SYNTAX, Error, Talk
from harness.tenants import claims, fill, groups, names, tenants

HOUR = 3_600_000


# ---- turns


@pytest.mark.parametrize("at_once", [1, 2, 100])
def test_groups_are_served_in_turn(at_once, c):
    """The order of the pushes does not matter. Within a group it is first in, first out."""
    for group in "abc":
        fill(c, group, 3)
    assert claims(c, 9, at_once) == ["a1", "b1", "c1", "a2", "b2", "c2", "a3", "b3", "c3"]
    assert c("TASK.CLAIM", "q") == []


def test_a_group_with_ten_thousand_tasks_does_not_delay_another_group(c):
    """The task of the other group is one of the next two."""
    fill(c, "big", 10_000)
    assert tenants(claims(c, 3)) == "big" * 3
    fill(c, "small", 1)
    assert "small1" in claims(c, 2)


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_groups_are_served_by_weight(at_once, c):
    """With weights 3, 1, 2 and the default 1, every seven tasks have these shares."""
    for group, weight in (("a", 3), ("b", 1), ("c", 2), ("d", None)):
        if weight:
            assert c("TASK.GROUP", "q", "SET", group, "WEIGHT", weight) == "OK"
        fill(c, group, 400)
    got = tenants(claims(c, 700, at_once))
    assert Counter(got) == {"a": 300, "b": 100, "c": 200, "d": 100}
    for start in range(0, 700 - 7, 7):
        # A window can start within a turn, but each group is served at least once in two rounds.
        assert set(got[start : start + 14]) == set("abcd")


def test_waiting_workers_are_served_by_weight(floor):
    """Forty tasks are handed off at once."""
    c = floor.boss
    c("TASK.GROUP", "q", "SET", "a", "WEIGHT", 3)
    c("TASK.PAUSE", "q")
    workers = floor.line(40)
    for group in "ab":
        fill(c, group, 100)
    c("TASK.RESUME", "q")
    got = tenants([payload.decode() for [payload] in floor.all_got(workers)])
    assert Counter(got) == {"a": 30, "b": 10}


def test_tasks_without_a_group_are_one_group_of_weight_1(c):
    """They take turns with the named groups."""
    c("TASK.GROUP", "q", "SET", "b", "WEIGHT", 2)
    fill(c, "", 4)
    fill(c, "a", 4)
    fill(c, "b", 8)
    assert Counter(tenants(claims(c, 12))) == {"-": 3, "a": 3, "b": 6}
    assert Counter(tenants(claims(c, 4))) == {"-": 1, "a": 1, "b": 2}
    # First in, first out again, once no named group has tasks.
    fill(c, "", 3)
    assert claims(c, 3) == ["1", "2", "3"]


def test_priority_goes_before_groups(c):
    """A group waits while another has a task of higher priority. Within a priority, groups take turns."""
    fill(c, "a", 2)
    fill(c, "b", 2, "PRIORITY", 5)
    fill(c, "c", 2, "PRIORITY", 5)
    fill(c, "a", 1, "PRIORITY", 9, first=9)
    assert claims(c, 7, 3) == ["a9", "b1", "c1", "b2", "c2", "a1", "a2"]


def test_a_new_weight_applies_from_the_next_turn_on(c):
    """Weights go up and down, and TASK.GROUP DEL sets them back to 1."""
    for group in "ab":
        fill(c, group, 100)
    assert Counter(tenants(claims(c, 10))) == {"a": 5, "b": 5}
    c("TASK.GROUP", "q", "SET", "a", "WEIGHT", 4)
    claims(c, 2)
    assert Counter(tenants(claims(c, 20))) == {"a": 16, "b": 4}
    c("TASK.GROUP", "q", "SET", "b", "WEIGHT", 4)
    claims(c, 8)
    assert Counter(tenants(claims(c, 16))) == {"a": 8, "b": 8}
    for group in "ab":
        assert c("TASK.GROUP", "q", "DEL", group) == 1
    assert Counter(tenants(claims(c, 10))) == {"a": 5, "b": 5}


def test_an_idle_group_does_not_save_up_turns(c):
    """When it has tasks again, it takes turns like the others."""
    fill(c, "a", 50)
    fill(c, "b", 1)
    claims(c, 20)
    fill(c, "b", 20, first=2)
    assert Counter(tenants(claims(c, 10))) == {"a": 5, "b": 5}


@pytest.mark.parametrize("way", ["ack", "noack"])
def test_one_claim_of_many_tasks_takes_turns(way, c):
    """This also holds with NOACK, and with BYTES, which can end the claim within a round."""
    for group in "abc":
        fill(c, group, 5)
    noack = ["NOACK"] if way == "noack" else []
    assert tenants(names(c("TASK.CLAIM", "q", "COUNT", 6, *noack))) == "abcabc"
    assert tenants(names(c("TASK.CLAIM", "q", "COUNT", 6, "BYTES", 8, *noack))) == "abca"
    assert tenants(names(c("TASK.CLAIM", "q", "COUNT", 100, *noack))) == "bcabc"
    info = c.map("TASK.INFO", "q")
    assert (info[b"claimed"], info[b"ready"], info[b"acked"]) == (15, 0, 15 if noack else 0)


# ---- TASK.GET, TASK.LIST and TASK.INFO


@pytest.mark.parametrize("protocol", [2, 3])
def test_the_group_of_a_task_is_shown(protocol, c):
    """GET, LIST and WITHMETA show it. Without a group, WITHMETA has an empty one and the others none."""
    name = b"\0\xff tenant"
    for task, group in ((c.push("q", "x", "GROUP", name), name), (c.push("q", "y"), None)):
        assert c.map("TASK.GET", "q", task).get(b"group") == group
        _, listed = c("TASK.LIST", "q", "ready")
        [found] = [one for one in map(c.as_map, listed) if one[b"id"] == task]
        assert found.get(b"group") == group
        [[handle, *_, meta]] = c("TASK.CLAIM", "q", "WITHMETA")
        assert handle.startswith(task) and c.as_map(meta)[b"group"] == (group or b"")


def test_list_shows_the_tasks_of_one_group(c):
    """It shows each task of each state exactly once, page by page."""
    for group in "ab":
        fill(c, group, 30)
        fill(c, group, 5, "DELAY", HOUR, first=101)
    for verb, *options in ([None], ["TASK.FAIL", "DEAD"]):
        for handle, *_ in c("TASK.CLAIM", "q", "COUNT", 6):
            if verb:
                c(verb, "q", handle, *options)
    for state, count in (("ready", 24), ("delayed", 5), ("leased", 3), ("dead", 3)):
        for group in "ab":
            found, cursor = [], 0
            while True:
                cursor, part = c("TASK.LIST", "q", state, "COUNT", 4, "CURSOR", cursor, "GROUP", group)
                found += [c.as_map(one) for one in part]
                if cursor == b"0":
                    break
            assert len(found) == count and {one[b"group"] for one in found} == {group.encode()}
            assert len({one[b"id"] for one in found}) == count
        assert c("TASK.LIST", "q", state, "GROUP", "unknown") == [b"0", []]
    [_, first] = c("TASK.LIST", "q", "ready", "GROUP", "b", "COUNT", 5)
    ids = [c.as_map(one)[b"id"] for one in first]
    assert [task[0].split(b"@")[0] for task in c("TASK.CLAIM", "q", "GROUP", "b", "COUNT", 5)] == ids


@pytest.mark.parametrize("protocol", [2, 3])
def test_info_groups_shows_counts_limits_and_state_of_each_group(protocol, c):
    """Groups are sorted by name. Limits are the group's own or the queue's."""
    c("TASK.CONFIG", "q", "SET", "group-concurrency", 7, "group-rate", 9, "group-rate-per", 5000)
    fill(c, "b", 3)
    c("TASK.GROUP", "q", "SET", "a", "CONCURRENCY", 1, "RATE", 2, "PER", HOUR, "WEIGHT", 5, "ORDERED", "yes")
    fill(c, "a", 3)
    fill(c, "", 3)
    c("TASK.CLAIM", "q", "GROUP", "a")
    assert list(groups(c)) == [b"a", b"b"]
    assert groups(c)[b"a"] == {
        **{b"name": b"a", b"held-by": b"concurrency", b"tasks": 3, b"ready": 2, b"leased": 1},
        **{
            b"weight": 5,
            b"concurrency": 1,
            b"rate": 2,
            b"rate-per": HOUR,
            b"ordered": 1,
            b"rests-ms": 0,
            b"paused-ms": 0,
        },
    }
    assert groups(c)[b"b"] == {
        **{b"name": b"b", b"held-by": b"", b"tasks": 3, b"ready": 3, b"leased": 0},
        **{
            b"weight": 1,
            b"concurrency": 7,
            b"rate": 9,
            b"rate-per": 5000,
            b"ordered": 0,
            b"rests-ms": 0,
            b"paused-ms": 0,
        },
    }
    assert c.map("TASK.INFO", "q", "GROUPS")[b"known"] == 2
    assert c("TASK.INFO", "missing", "GROUPS") is None
    c("TASK.PUSH", "plain", "x")
    assert c.map("TASK.INFO", "plain", "GROUPS") == {b"known": 0, b"groups": []}


def test_info_groups_shows_up_to_a_thousand_groups(c):
    """AFTER continues after a name, even if that group does not exist."""
    names = [f"{n:05}" for n in range(2500)]
    c.many([["TASK.PUSH", "q", "x", "GROUP", name] for name in names])
    found, after = [], []
    while part := c.map("TASK.INFO", "q", "GROUPS", *after)[b"groups"]:
        found += [c.as_map(group)[b"name"].decode() for group in part]
        assert len(part) <= 1000
        after = ["AFTER", found[-1]]
    assert found == names
    info = c.map("TASK.INFO", "q", "GROUPS", "AFTER", "00999x")
    assert info[b"known"] == 2500 and c.as_map(info[b"groups"][0])[b"name"] == b"01000"
    for wrong in (["AFTER"], ["AFTER", "a", "b"], ["CONFIG"]):
        assert c("TASK.INFO", "q", "GROUPS", *wrong) == SYNTAX
    assert c("TASK.INFO", "q", "GROUPS", "AFTER", "") == Error("ERR AFTER must be 1 to 256 bytes long")


def test_a_group_is_known_as_long_as_it_has_tasks_or_settings(c):
    """Tasks count in any state. DEL removes settings and returns whether there were any."""
    fill(c, "a", 1)
    handle = c.claim("q")
    assert groups(c)[b"a"][b"tasks"] == 1
    c("TASK.FAIL", "q", handle, "DEAD")
    assert groups(c)[b"a"][b"tasks"] == 1
    assert c("TASK.GROUP", "q", "DEL", "a") == 0
    assert c("TASK.PURGE", "q", "dead") == 1 and groups(c) == {}
    c("TASK.GROUP", "q", "SET", "a", "WEIGHT", 3)
    fill(c, "a", 1)
    claims(c, 1)
    assert groups(c)[b"a"][b"weight"] == 3
    assert [c("TASK.GROUP", "q", "DEL", "a") for _ in "12"] == [1, 0]
    assert groups(c) == {} and c("TASK.GROUP", "missing", "DEL", "a") == 0
    assert c("EXISTS", "missing") == 0


# ---- TASK.GROUP


def test_group_set_creates_a_queue_and_changes_only_what_is_given(c):
    """Setting the same value again changes nothing."""
    assert c("TASK.GROUP", "q", "SET", "a", "WEIGHT", 3) == "OK"
    assert c("EXISTS", "q") == 1
    assert c("TASK.GROUP", "q", "set", "a", "ordered", "YES", "rate", 5) == "OK"
    assert c("TASK.GROUP", "q", "SET", "a", "CONCURRENCY", 0) == "OK"
    group = groups(c)[b"a"]
    assert [group[name] for name in (b"weight", b"concurrency", b"rate", b"rate-per", b"ordered")] == [
        3,
        0,
        5,
        1000,
        1,
    ]
    before = c.digest()
    assert c("TASK.GROUP", "q", "SET", "a", "WEIGHT", 3, "RATE", 5, "PER", 1000) == "OK"
    assert c.digest() == before
    c("TASK.GROUP", "q", "SET", "a", "RATE", -1, "CONCURRENCY", -1, "ORDERED", "no")
    group = groups(c)[b"a"]
    assert [group[name] for name in (b"weight", b"concurrency", b"rate", b"ordered")] == [3, -1, -1, 0]


BAD = {
    "": SYNTAX,
    "SET": SYNTAX,
    "SET a": SYNTAX,
    "SET a WEIGHT": SYNTAX,
    "SET a WEIGHT 1 WEIGHT 2": SYNTAX,
    "SET a PER 5": SYNTAX,
    "SET a RATE 5 PER": SYNTAX,
    "SET a ORDERED maybe": SYNTAX,
    "SET a WEIGHT 2 x": SYNTAX,
    "SET a WEIGHT 2 RATE x": "ERR RATE must be an integer between -1 and 1000000",
    "SET a WEIGHT 0": "ERR WEIGHT must be an integer between 1 and 1000000",
    "SET a WEIGHT 1000001": "ERR WEIGHT must be an integer between 1 and 1000000",
    "SET a CONCURRENCY -2": f"ERR CONCURRENCY must be an integer between -1 and {2**53 - 1}",
    "SET a RATE 1000001": "ERR RATE must be an integer between -1 and 1000000",
    "SET a RATE 1 PER 0": f"ERR PER must be an integer between 1 and {100 * 365 * 24 * HOUR}",
    f"SET {'n' * 257} WEIGHT 1": "ERR the name of a group must be 1 to 256 bytes long",
    f"DEL {'n' * 257}": "ERR the name of a group must be 1 to 256 bytes long",
    "DEL a b": SYNTAX,
    "GET a": SYNTAX,
}


@pytest.mark.parametrize("words", BAD)
def test_a_bad_argument_of_group_changes_nothing(words, c):
    """A missing queue is not created either."""
    arity = "ERR wrong number of arguments for 'task.group' command"
    c("TASK.GROUP", "q", "SET", "a", "WEIGHT", 7)
    before = c.digest()
    for key in ("q", "missing"):
        reply = c("TASK.GROUP", key, *words.split(" "))
        expected = BAD[words] if isinstance(BAD[words], Error) else Error(BAD[words])
        assert reply in (expected, Error(arity), Error(arity.replace("task.group", "TASK.GROUP"))), reply
    assert c.digest() == before and c("EXISTS", "missing") == 0


def test_the_name_of_a_group_is_1_to_256_bytes(c):
    """The bytes can have any value. Every command refuses an empty or longer name."""
    for name in (b"g", b"n" * 256, b"\0\r\n\xff", b"GROUP", b"a b"):
        c.push("q", "x", "GROUP", name)
        c("TASK.GROUP", "q", "SET", name, "WEIGHT", 2)
        assert groups(c)[name][b"weight"] == 2
        assert len(c("TASK.CLAIM", "q", "GROUP", name)) == 1
    before = c.digest()
    for name in (b"", b"n" * 257):
        bad = Error("ERR GROUP must be 1 to 256 bytes long")
        assert c("TASK.PUSH", "q", "x", "GROUP", name) == bad
        assert c("TASK.MPUSH", "q", "GROUP", name, "TASKS", 1, "x") == bad
        assert c("TASK.CLAIM", "q", "GROUP", name) == bad
        assert c("TASK.MCLAIM", "q", "KEYS", 1, "p", "GROUP", name) == bad
        assert c("TASK.LIST", "q", "ready", "GROUP", name) == bad
    assert c.digest() == before


def test_more_groups_than_groups_max_are_refused(c):
    """PUSH, MPUSH and GROUP SET reply QFULL for a new name and change nothing. Known groups are accepted."""
    full = Error("QFULL the queue has reached groups-max")
    c("TASK.CONFIG", "q", "SET", "groups-max", 2)
    fill(c, "a", 1)
    c("TASK.GROUP", "q", "SET", "b", "WEIGHT", 2)
    before = c.digest()
    assert c("TASK.PUSH", "q", "x", "GROUP", "c") == full
    assert c("TASK.PUSH", "q", "x", "GROUP", "c", "DELAY", 5) == full
    assert c("TASK.MPUSH", "q", "GROUP", "c", "TASKS", 1, "x") == full
    assert c("TASK.GROUP", "q", "SET", "c", "WEIGHT", 2) == full
    assert c.digest() == before and c.map("TASK.INFO", "q")[b"refused"] == 3
    fill(c, "a", 2)
    fill(c, "b", 2)
    fill(c, "", 2)
    c("TASK.GROUP", "q", "SET", "a", "WEIGHT", 2)
    # A smaller groups-max removes no group. A group without tasks and settings no longer counts.
    c("TASK.CONFIG", "q", "SET", "groups-max", 0)
    assert c("TASK.PUSH", "q", "x", "GROUP", "c") == full and len(groups(c)) == 2
    c("TASK.CONFIG", "q", "SET", "groups-max", 2)
    c("TASK.GROUP", "q", "DEL", "b")
    claims(c, 7, 10)
    assert list(groups(c)) == [b"a"]
    assert isinstance(c("TASK.PUSH", "q", "x", "GROUP", "c"), bytes)


# ---- claims of one group


def test_a_claim_can_be_of_one_group(c):
    """It gets tasks of that group only, in their order, or none."""
    fill(c, "a", 3)
    fill(c, "b", 3)
    fill(c, "b", 1, "PRIORITY", 5, first=9)
    fill(c, "", 2, "PRIORITY", 9)
    assert claims(c, 2, 1, "GROUP", "b") == ["b9", "b1"]
    assert names(c("TASK.CLAIM", "q", "GROUP", "b", "COUNT", 10)) == ["b2", "b3"]
    assert c("TASK.CLAIM", "q", "GROUP", "b") == c("TASK.CLAIM", "q", "GROUP", "unknown") == []
    assert names(c("TASK.MCLAIM", "p", "KEYS", 1, "q", "GROUP", "a")[1]) == ["a1"]
    assert c("TASK.MCLAIM", "p", "KEYS", 1, "q", "GROUP", "b") == []
    assert claims(c, 4, 10) == ["1", "2", "a2", "a3"]


def test_mclaim_claims_from_the_first_queue_with_tasks_of_the_group(c):
    """A queue that only has other groups is skipped."""
    fill(c, "b", 2, key="p")
    fill(c, "a", 2)
    key, tasks = c("TASK.MCLAIM", "p", "KEYS", 1, "q", "GROUP", "a", "COUNT", 5)
    assert (key, names(tasks)) == (b"q", ["a1", "a2"])


def test_a_claim_of_one_group_sent_again_gets_the_same_tasks(c):
    """REQUEST works as in any claim."""
    fill(c, "a", 3)
    got = c("TASK.CLAIM", "q", "GROUP", "a", "REQUEST", "t")
    assert c("TASK.CLAIM", "q", "GROUP", "a", "REQUEST", "t") == got
    assert groups(c)[b"a"][b"leased"] == 1


def test_a_claim_of_one_group_in_a_transaction_does_not_wait(c):
    """BLOCK is ignored in MULTI and in scripts."""
    fill(c, "b", 1)
    c("MULTI")
    c("TASK.CLAIM", "q", "GROUP", "a", "BLOCK", 0)
    c("TASK.PUSH", "q", "a1", "GROUP", "a")
    c("TASK.CLAIM", "q", "GROUP", "a", "BLOCK", 0)
    nothing, _, got = c("EXEC")
    assert nothing == [] and names(got) == ["a1"]
    lua = "return redis.call('TASK.CLAIM', KEYS[1], 'GROUP', 'a', 'BLOCK', 0)"
    assert c("EVAL", lua, 1, "q") == []


# ---- workers that wait for one group


def test_a_worker_that_waits_for_a_group_gets_only_its_tasks(floor):
    """Within a group, workers are served in the order they came."""
    c = floor.boss
    workers = {group: floor.line(2, "q", "GROUP", group) for group in "ab"}
    fill(c, "c", 1)
    fill(c, "", 1)
    assert floor.all_wait(workers["a"] + workers["b"])
    fill(c, "b", 1)
    assert workers["b"][0].payloads() == [b"b1"]
    fill(c, "a", 2)
    assert floor.all_got(workers["a"]) == [[b"a1"], [b"a2"]]
    assert floor.all_wait(workers["b"][1:])
    assert (floor.blocked(), floor.counted(), c("TASK.LEN", "q", "ready")) == (1, 1, 2)
    fill(c, "b", 1, first=2)
    assert workers["b"][1].payloads() == [b"b2"]
    floor.nobody_waits()


@pytest.mark.parametrize("order", list(itertools.permutations(["any", "a", "b"])), ids="-".join)
def test_workers_of_one_group_and_of_any_are_served_in_the_order_they_came(floor, order):
    """A task goes to the first worker that can take it."""
    c = floor.boss
    workers = {group: floor.waiting("q", *(["GROUP", group] if group != "any" else [])) for group in order}
    fill(c, "a", 1)
    first = min(("any", "a"), key=order.index)
    assert workers[first].payloads() == [b"a1"]
    fill(c, "b", 1)
    second = min({"any", "b"} - {first}, key=order.index)
    assert workers[second].payloads() == [b"b1"]
    left = [workers[group] for group in {*order} - {first, second}]
    assert floor.all_wait(left)


def test_tasks_pushed_in_a_transaction_or_script_serve_workers_of_their_groups(floor):
    """They are handed off after the transaction or the script."""
    c = floor.boss
    workers = [floor.waiting("q", "GROUP", group) for group in "abc"]
    c("MULTI")
    for group in "cb":
        c("TASK.PUSH", "q", group, "GROUP", group)
    assert len(c("EXEC")) == 2
    assert floor.all_got(workers[1:]) == [[b"b"], [b"c"]]
    c("EVAL", "return redis.call('TASK.PUSH', KEYS[1], 'a', 'GROUP', 'a')", 1, "q")
    assert workers[0].payloads() == [b"a"]


SOURCES = [
    "due",
    "retry",
    "resume",
    "pause runs out",
    "rename",
    "restore",
    "requeue",
    "stall",
    "unpushed queue",
]


@pytest.mark.parametrize("source", SOURCES)
def test_a_worker_of_a_group_gets_a_task_however_it_becomes_ready(floor, source):
    """A worker of another group does not."""
    c = floor.boss
    of = ["GROUP", "a"]
    handle = None
    if source in ("requeue", "stall"):
        c.push("q", "x", *of, "LEASE", 1000 if source == "stall" else HOUR)
        handle = c.claim("q")
    other, worker = floor.waiting("q", "GROUP", "b"), floor.waiting("q", *of)
    match source:
        case "due":
            c.push("q", "x", *of, "DELAY", 30)
        case "retry":
            c("TASK.RETRY", "q", c.push("q", "x", *of, "DELAY", HOUR))
        case "resume":
            c("TASK.PAUSE", "q")
            c.push("q", "x", *of)
            assert floor.all_wait([worker])
            c("TASK.RESUME", "q")
        case "pause runs out":
            c("TASK.PAUSE", "q", "OUT", "FOR", 30)
            c.push("q", "x", *of)
        case "rename":
            c.push("p", "x", *of)
            c("RENAME", "p", "q")
        case "restore":
            c.push("p", "x", *of)
            c("RESTORE", "q", 0, c("DUMP", "p"))
        case "requeue":
            c("TASK.REQUEUE", "q", handle)
        case "unpushed queue":
            c.push("q", "x", *of)
    assert worker.payloads() == [b"x"]
    assert floor.all_wait([other])


def test_a_claim_of_a_group_sent_again_replaces_the_one_that_waits(floor):
    """With REQUEST, the first claim returns nothing."""
    first, behind = floor.waiting("q", "GROUP", "a", "REQUEST", "t"), floor.waiting("q", "GROUP", "a")
    copy = floor.worker().asks("q", "GROUP", "a", "REQUEST", "t")
    assert first.payloads() == []
    fill(floor.boss, "a", 2)
    assert floor.all_got([copy, behind]) == [[b"a1"], [b"a2"]]


def test_a_worker_of_a_group_of_several_queues_is_served_once(floor):
    """MCLAIM with GROUP is served by the first queue that gets a task of the group."""
    c = floor.boss
    worker, behind = floor.waiting(["p", "q"], "GROUP", "a"), floor.waiting("q", "GROUP", "a")
    fill(c, "b", 1, key="p")
    assert floor.all_wait([worker])
    fill(c, "a", 1)
    assert worker.served() == (b"q", [b"a1"])
    fill(c, "a", 1, key="p")
    assert c("TASK.LEN", "p", "ready") == 2
    fill(c, "a", 1, first=2)
    assert behind.payloads() == [b"a2"]
    floor.nobody_waits()


def test_a_tied_task_of_a_closed_connection_goes_to_a_worker_of_its_group(floor):
    """A worker of another group does not get it."""
    workers = floor.line(2, "q", "GROUP", "a", "TIED")
    other = floor.waiting("q", "GROUP", "b")
    fill(floor.boss, "a", 1)
    assert workers[0].payloads() == [b"a1"]
    workers[0].leave()
    [[_, payload, deliveries]] = workers[1].read()
    assert (payload, deliveries) == (b"a1", 2)
    assert floor.all_wait([other])


@pytest.mark.parametrize("end", ["time-out", "unblock", "error", "leave"])
def test_a_wait_for_a_group_can_end_without_a_task(floor, end):
    """It ends by time-out, CLIENT UNBLOCK or a closed connection. The next worker gets the next task."""
    c = floor.boss
    first = floor.waiting("q", "GROUP", "a", block=1000 if end == "time-out" else 0)
    second = floor.waiting("q", "GROUP", "a")
    match end:
        case "time-out":
            assert first.payloads() == []
        case "unblock":
            assert c("CLIENT", "UNBLOCK", first.id) == 1
            assert first.payloads() == []
        case "error":
            assert c("CLIENT", "UNBLOCK", first.id, "ERROR") == 1
            assert isinstance(first.read(), Error)
        case "leave":
            first.leave()
    floor.eventually(lambda: (floor.blocked(), floor.counted()) == (1, 1), "one waits")
    fill(c, "a", 1)
    assert second.payloads() == [b"a1"]
    floor.nobody_waits()


def test_a_thousand_workers_wait_for_a_thousand_groups(floor):
    """A push serves the worker of its group. RESUME serves all others."""
    c = floor.boss
    workers = {f"g{n}": floor.worker().asks("q", "GROUP", f"g{n}") for n in range(1000)}
    floor.eventually(lambda: floor.blocked() == 1000, "a thousand wait")
    c.push("q", "x", "GROUP", "g500")
    assert workers.pop("g500").payloads() == [b"x"]
    assert floor.counted() == 999
    c("TASK.PAUSE", "q")
    c.many([["TASK.PUSH", "q", group, "GROUP", group] for group in workers])
    c("TASK.RESUME", "q")
    for group, worker in workers.items():
        assert worker.payloads() == [group.encode()]
    floor.nobody_waits()


def test_resume_serves_workers_of_one_group_and_of_any_in_the_order_they_came(floor):
    """The first six workers get one task each, of the group that each waits for."""
    c = floor.boss
    wanted = ["a", "", "b", "a", "c", "", "a", "b", "none", ""]
    workers = [floor.waiting("q", *(["GROUP", group] if group else [])) for group in wanted]
    c("TASK.PAUSE", "q")
    for group in "abc":
        fill(c, group, 2)
    c("TASK.RESUME", "q")
    # Groups take turns, and each task goes to the first worker that can take it.
    got = [worker.payloads()[0].decode() for worker, group in zip(workers[:6], wanted, strict=False)]
    for name, group in zip(got, wanted, strict=False):
        assert name.startswith(group)
    assert sorted(got) == ["a1", "a2", "b1", "b2", "c1", "c2"]
    assert floor.all_wait(workers[6:])


# ---- ORDERED


def test_an_ordered_group_has_one_leased_task_at_a_time(c):
    """The next task waits for the end of the one before, whatever CONCURRENCY is. Other groups go on."""
    c("TASK.GROUP", "q", "SET", "a", "ORDERED", "yes", "CONCURRENCY", 5)
    fill(c, "a", 3)
    fill(c, "b", 3)
    tasks = c("TASK.CLAIM", "q", "COUNT", 100)
    assert sorted(names(tasks)) == ["a1", "b1", "b2", "b3"]
    [handle] = [task[0] for task in tasks if task[1] == b"a1"]
    assert c("TASK.CLAIM", "q", "COUNT", 100) == c("TASK.CLAIM", "q", "GROUP", "a") == []
    assert c("TASK.ACK", "q", handle) == 1
    assert names(c("TASK.CLAIM", "q", "COUNT", 100)) == ["a2"]


@pytest.mark.parametrize("end", ["fail", "requeue delay", "second stall"])
def test_an_ordered_group_waits_for_a_delayed_task_that_was_claimed_before(server, end, c):
    """No other task of the group is claimed until then, and it is the first again."""
    c("TASK.CONFIG", "q", "SET", "backoff-base", HOUR, "lease", HOUR)
    c("TASK.GROUP", "q", "SET", "a", "ORDERED", "yes")
    fill(c, "a", 3)
    handle = c.claim("q", *(["LEASE", 1] if end == "second stall" else []))
    task = handle.split(b"@")[0]
    match end:
        case "fail":
            assert c("TASK.FAIL", "q", handle) > 1
        case "requeue delay":
            assert c("TASK.REQUEUE", "q", handle, "DELAY", HOUR) == 1
        case "second stall":
            server.wait_until(lambda: c.map("TASK.GET", "q", task)[b"stalls"] == 1, "it stalls")
            assert c.claim("q", "LEASE", 1).startswith(task)
            server.wait_until(lambda: c("TASK.LEN", "q", "delayed") == 1, "it stalls again")
    assert groups(c)[b"a"][b"held-by"] == b"order"
    assert c("TASK.CLAIM", "q", "COUNT", 10) == []
    # A delayed task that was never claimed does not stop the group.
    fill(c, "a", 1, "DELAY", HOUR, first=9)
    assert c("TASK.RETRY", "q", task) == 1
    got = c("TASK.CLAIM", "q", "COUNT", 10)
    assert names(got) == ["a1"]
    c("TASK.ACK", "q", got[0][0])
    assert claims(c, 2) == ["a2", "a3"]


def test_tasks_of_an_ordered_group_finish_in_order(floor):
    """Failures, requeues, delays, stalls and closed connections do not change the order."""
    c = floor.boss
    c("TASK.CONFIG", "q", "SET", "backoff-base", 1, "stalls", -1)
    c("TASK.GROUP", "q", "SET", "a", "ORDERED", "yes")
    fill(c, "a", 25)
    done = []
    ends = itertools.cycle(["ack", "fail", "requeue", "delay", "stall", "leave", "ack"])
    seen = []
    while len(done) < 25:
        end, worker = next(ends), floor.worker()
        [[handle, payload, _]] = worker(
            "TASK.CLAIM", "q", "BLOCK", 0, "TIED", "LEASE", 30 if end == "stall" else HOUR
        )
        seen.append(payload)
        assert c("TASK.LEN", "q", "leased") == 1 or end == "stall"
        match end:
            case "ack":
                assert c("TASK.ACK", "q", handle) == 1
                done.append(payload)
            case "fail":
                assert c("TASK.FAIL", "q", handle, "DELAY", 5) == 5
            case "requeue":
                assert c("TASK.REQUEUE", "q", handle) == 1
            case "delay":
                assert c("TASK.REQUEUE", "q", handle, "DELAY", 5) == 1
        worker.leave()
    names = [f"a{n}".encode() for n in range(1, 26)]
    assert done == names
    assert [payload for payload, _ in itertools.groupby(seen)] == names


@pytest.mark.parametrize("end", ["dead", "cancel", "cancel of the delayed", "limit"])
def test_an_ordered_group_goes_on_after_a_task_is_dead_or_cancelled(floor, end):
    """The next task goes to the waiting worker, even if the first one was delayed."""
    c = floor.boss
    c("TASK.GROUP", "q", "SET", "a", "ORDERED", "yes")
    fill(c, "a", 2, *(["ATTEMPTS", 1] if end == "limit" else []))
    handle = c.claim("q")
    task = handle.split(b"@")[0]
    worker = floor.waiting("q", "GROUP", "a")
    match end:
        case "dead":
            assert c("TASK.FAIL", "q", handle, "DEAD") == -1
        case "limit":
            assert c("TASK.FAIL", "q", handle) == -1
        case "cancel":
            assert c("TASK.CANCEL", "q", task) == 2
            assert floor.all_wait([worker])
            assert c("TASK.FAIL", "q", handle) == 0
        case "cancel of the delayed":
            assert c("TASK.FAIL", "q", handle, "DELAY", HOUR) == HOUR
            assert floor.all_wait([worker])
            assert c("TASK.CANCEL", "q", task) == 1
    assert worker.payloads() == [b"a2"]


def test_an_ordered_group_can_be_unordered_again(floor):
    """ORDERED no, or DEL, hands the next task to a waiting worker."""
    c = floor.boss
    for group, words in (("a", ["SET", "a", "ORDERED", "no"]), ("b", ["DEL", "b"])):
        c("TASK.GROUP", "q", "SET", group, "ORDERED", "yes")
        fill(c, group, 2)
        c("TASK.FAIL", "q", c.claim("q", "GROUP", group), "DELAY", HOUR)
        worker = floor.waiting("q")
        assert c("TASK.GROUP", "q", *words) in ("OK", 1)
        assert worker.payloads() == [f"{group}2".encode()]


# ---- size and permissions


def test_a_queue_can_have_a_hundred_thousand_groups(c):
    """They are claimed in the order they came, and each takes less than 500 bytes."""
    count = 100_000
    ids = c.many([["TASK.PUSH", "q", n, "GROUP", f"g{n}"] for n in range(count)], at_once=5000)
    info = c.map("TASK.INFO", "q")
    assert (c.map("TASK.INFO", "q", "GROUPS")[b"known"], info[b"ready"]) == (count, count)
    assert info[b"memory"] < count * 500
    used = c("MEMORY", "USAGE", "q", "SAMPLES", 0)
    assert used < count * 500
    assert names(c("TASK.CLAIM", "q", "COUNT", 1000)) == [str(n) for n in range(1000)]
    assert [c("TASK.CANCEL", "q", task) for task in (ids[5000], ids[-1], ids[-1])] == [1, 1, 0]
    assert c.map("TASK.GET", "q", ids[77_777])[b"group"] == b"g77777"
    assert names(c("TASK.CLAIM", "q", "GROUP", "g60000")) == ["60000"]
    before = c.digest()
    c("DEBUG", "RELOAD")
    assert c.digest() == before
    left = count - 1000 - 2 - 1
    assert sum(len(c("TASK.CLAIM", "q", "COUNT", 1000, "NOACK")) for _ in range(100)) == left
    assert c.map("TASK.INFO", "q", "GROUPS")[b"known"] == 1001
    assert c("UNLINK", "q") == 1


def test_group_needs_write_permission_for_its_key(c):
    """A user also needs permission for the command."""
    assert c("ACL", "SETUSER", "ann", "on", "nopass", "~mine", "+task.group", "+task.push") == "OK"
    assert c("ACL", "SETUSER", "bob", "on", "nopass", "~*", "+task.claim", "+task.info") == "OK"
    assert c("AUTH", "ann", "x") == "OK"
    assert c("TASK.GROUP", "mine", "SET", "a", "WEIGHT", 2) == "OK"
    assert c("TASK.GROUP", "other", "SET", "a", "WEIGHT", 2).startswith("NOPERM")
    assert c("AUTH", "bob", "x") == "OK"
    assert c("TASK.GROUP", "mine", "DEL", "a").startswith("NOPERM")
    assert groups(c, "mine")[b"a"][b"weight"] == 2


@pytest.mark.parametrize("state", ["ready", "ALL"])
def test_a_purge_finds_a_few_ready_tasks_behind_many_leased_ones(state, c):
    """PURGE returns 0 only when nothing is left. oldest-ready-ms is found as well."""
    fill(c, "a", 11_000)
    for _ in range(11):
        assert len(c("TASK.CLAIM", "q", "COUNT", 1000)) == 1000
    fill(c, "b", 5)
    assert c.map("TASK.INFO", "q")[b"oldest-ready-ms"] >= 0
    assert c("TASK.PURGE", "q", state) == 5 and c("TASK.PURGE", "q", state) == 0
    assert c("TASK.LEN", "q", "leased") == 11_000


# ---- pauses of one group


def test_a_paused_group_is_held_and_others_go_on(c):
    """INFO GROUPS shows the pause. RESUME ends it."""
    fill(c, "a", 2)
    fill(c, "b", 1)
    assert c("TASK.PAUSE", "q", "GROUP", "a") == "OK"
    shown = groups(c)
    assert (shown[b"a"][b"held-by"], shown[b"a"][b"paused-ms"]) == (b"pause", -1)
    assert (shown[b"b"][b"held-by"], shown[b"b"][b"paused-ms"]) == (b"", 0)
    assert claims(c, 1) == ["b1"]
    assert c("TASK.CLAIM", "q") == c("TASK.CLAIM", "q", "GROUP", "a") == []
    assert c("TASK.PAUSE", "q", "group", "a", "for", HOUR) == "OK"
    assert 0 < groups(c)[b"a"][b"paused-ms"] <= HOUR
    assert c("TASK.RESUME", "q", "GROUP", "a") == c("TASK.RESUME", "q", "GROUP", "a") == "OK"
    assert claims(c, 2) == ["a1", "a2"]


@pytest.mark.parametrize("end", ["for", "resume"])
def test_waiting_workers_are_served_when_the_pause_of_a_group_ends(floor, end):
    """By RESUME, or by itself after FOR. Those that wait for another group are not."""
    c = floor.boss
    other, worker = floor.waiting("q", "GROUP", "b"), floor.waiting("q")
    c("TASK.PAUSE", "q", "GROUP", "a", *(["FOR", 150] if end == "for" else []))
    fill(c, "a", 1)
    if end == "resume":
        assert floor.all_wait([worker])
        assert c("TASK.RESUME", "q", "GROUP", "a") == "OK"
    assert worker.payloads() == [b"a1"]
    assert floor.all_wait([other])


def test_a_pause_of_a_group_creates_the_queue_and_the_group(c):
    """The group stays known while it is paused, within groups-max. RESUME creates nothing."""
    assert c("TASK.RESUME", "q", "GROUP", "a") == "OK" and c("EXISTS", "q") == 0
    assert c("TASK.PAUSE", "q", "GROUP", "a") == "OK"
    assert list(groups(c)) == [b"a"]
    c("TASK.CONFIG", "q", "SET", "groups-max", 1)
    assert c("TASK.PAUSE", "q", "GROUP", "b") == Error("QFULL the queue has reached groups-max")
    assert c("TASK.PAUSE", "q", "GROUP", "a", "FOR", HOUR) == "OK"
    assert c("TASK.RESUME", "q", "GROUP", "a") == "OK" and groups(c) == {}


def test_a_pause_of_a_group_survives_a_restart_and_is_copied(start):
    """From an RDB and from the AOF, and on the replica that takes over."""
    server, replica = start(port=True, appendonly="yes"), start()
    replica.replicate(server)
    c = Talk(server)
    fill(c, "a", 1)
    c("TASK.PAUSE", "q", "GROUP", "a", "FOR", HOUR)
    c("TASK.PAUSE", "q", "GROUP", "b")
    assert c("COPY", "q", "r") == 1
    assert c("TASK.CLAIM", "r") == [] and set(groups(c, "r")) == {b"a", b"b"}
    wait_synced(server, replica)
    other = Talk(replica)
    assert other.digest() == c.digest()
    digest = c.digest()
    c("DEBUG", "RELOAD")
    assert c.digest() == digest
    server.restart(kill=True)
    c = Talk(server)
    assert c.digest() == digest
    shown = groups(c)
    assert (shown[b"a"][b"held-by"], shown[b"b"][b"paused-ms"]) == (b"pause", -1)
    assert c("TASK.CLAIM", "q") == []
    other("REPLICAOF", "NO", "ONE")
    assert other("TASK.CLAIM", "q") == []
    other("TASK.RESUME", "q", "GROUP", "a")
    assert names(other("TASK.CLAIM", "q")) == ["a1"]
