"""TASK.CLAIM: which tasks a claim gets, in which order, under which lease, and the form of the reply."""

import re

import pytest
from harness.talk import SYNTAX, Error, Talk, parts, payloads

DAY = 86_400_000
NUMBER_MAX = 2**53 - 1
HANDLE = re.compile(rb"([1-9][0-9]{12}-[0-9]+)@([1-9][0-9]{15})-[0-9a-f]{8}")


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_claim_returns_handle_payload_and_deliveries(protocol, c):
    """A handle is `<id>@<number>-<nonce>`. Without COUNT a claim gets one task."""
    first, second = c.push("q", "a"), c.push("q", "b")
    [[handle, payload, deliveries]] = c("TASK.CLAIM", "q")
    assert HANDLE.fullmatch(handle)[1] == first
    assert (payload, deliveries) == (b"a", 1)
    [[other, payload, deliveries]] = c("TASK.CLAIM", "q", "COUNT", 5)
    assert HANDLE.fullmatch(other)[1] == second
    assert (payload, deliveries) == (b"b", 1)
    assert c("TASK.CLAIM", "q") == [] and c("TASK.CLAIM", "q", "COUNT", 5) == []
    assert c("TASK.CLAIM", "missing") == [] and c("EXISTS", "missing") == 0


@pytest.mark.parametrize("protocol", [2, 3])
def test_withmeta_adds_a_map(server, protocol, c):
    """The map has lease number, priority, group, headers, times and counters, in a fixed order."""
    c.push("q", "p", "PRIORITY", -7, "HEADERS", 2, "a", "1", "b", "2")
    assert c("TASK.FAIL", "q", c.claim("q"), "DELAY", 0) == 1
    server.wait_until(lambda: c("TASK.LEN", "q", "ready") == 1, "the task is back")
    [[handle, payload, deliveries, meta]] = c("TASK.CLAIM", "q", "WITHMETA", "LEASE", 5000)
    meta = c.as_map(meta)
    (ms, _), number, _ = parts(handle)
    assert list(meta) == [
        *[
            b"lease",
            b"priority",
            b"group",
            b"headers",
            b"enqueued",
            b"deadline",
            b"failures",
            b"stalls",
            b"retain",
        ],
    ]
    assert (payload, deliveries) == (b"p", 2)
    assert (meta[b"lease"], meta[b"priority"], meta[b"enqueued"]) == (number, -7, ms)
    assert (meta[b"failures"], meta[b"stalls"]) == (1, 0)
    assert c.as_map(meta[b"headers"]) == {b"a": b"1", b"b": b"2"}
    task = c.map("TASK.GET", "q", handle)
    assert meta[b"deadline"] == task[b"deadline"] == task[b"claimed"] + 5000


def test_withmeta_shows_how_long_the_task_will_be_kept(server):
    """RETAIN of the push comes first, even 0, then the queue's. It is nil without both, and with NOACK."""
    for protocol in (2, 3):
        c = Talk(server, protocol)

        def retain(*options, c=c, claim=()):
            c("TASK.PUSH", "q", "p", *options)
            [[_, _, _, meta]] = c("TASK.CLAIM", "q", "WITHMETA", *claim)
            return c.as_map(meta)[b"retain"]

        assert (retain(), retain("RETAIN", 0), retain("RETAIN", 5000)) == (None, 0, 5000)
        c("TASK.CONFIG", "q", "SET", "retain", 70)
        assert (retain(), retain("RETAIN", 0), retain("RETAIN", 5000)) == (70, 0, 5000)
        assert retain("RETAIN", 5000, claim=["NOACK"]) is None
        c("TASK.CONFIG", "q", "SET", "retain", 0)


def test_a_task_without_headers_has_an_empty_map_of_them(server):
    """WITHMETA has the same fields for every task."""
    for protocol in (2, 3):
        c = Talk(server, protocol)
        c.push()
        [[_, _, _, meta]] = c("TASK.CLAIM", "q", "WITHMETA")
        assert c.as_map(c.as_map(meta)[b"headers"]) == {}


def test_tasks_are_claimed_in_order_of_priority_then_age(c):
    """Priorities are strict. Within one priority the order is first in, first out."""
    for priority in (0, -128, 127, 0, 5, 127, -128, -1):
        c.push("q", str(priority), "PRIORITY", priority)
    order = [b"127", b"127", b"5", b"0", b"0", b"-1", b"-128", b"-128"]
    tasks = c("TASK.CLAIM", "q", "COUNT", 100)
    assert payloads(tasks) == order
    for earlier, later in zip(tasks, tasks[1:], strict=False):
        if earlier[1] == later[1]:
            assert parts(earlier[0])[0] < parts(later[0])[0]


def test_lease_numbers_only_grow_and_stay_below_2_to_the_53(c):
    """A lease number is a fencing token, so it grows over tasks, requeues and claims."""
    c("TASK.MPUSH", "q", "TASKS", 100, *range(100))
    numbers = []
    for _ in range(5):
        tasks = c("TASK.CLAIM", "q", "COUNT", 100)
        numbers += [parts(handle)[1] for handle, _, _ in tasks]
        replies = c("TASK.REQUEUE", "q", "HANDLES", 100, *[handle for handle, _, _ in tasks])
        assert replies == [1] * 100
    assert len(numbers) == 500
    assert all(earlier < later for earlier, later in zip(numbers, numbers[1:], strict=False))
    assert numbers[-1] < 2**53


def test_leases_have_different_nonces(c):
    """Among 1000 leases, at most a few share their 32 bits by chance."""
    c("TASK.MPUSH", "q", "TASKS", 1000, *range(1000))
    nonces = {parts(handle)[2] for handle, _, _ in c("TASK.CLAIM", "q", "COUNT", 1000)}
    assert len(nonces) > 990


def test_count_takes_1_to_1000(c):
    """A claim gets at most COUNT tasks."""
    c("TASK.MPUSH", "q", "TASKS", 1000, *range(1000))
    c("TASK.MPUSH", "q", "TASKS", 10, *range(10))
    for count in (0, -1, 1001, 2**63, "many", ""):
        error = Error("ERR COUNT must be an integer between 1 and 1000")
        assert c("TASK.CLAIM", "q", "COUNT", count) == error
    assert len(c("TASK.CLAIM", "q", "COUNT", 1000)) == 1000
    assert len(c("TASK.CLAIM", "q", "count", 1)) == 1
    assert c("TASK.LEN", "q", "leased") == 1001


def test_bytes_stops_before_the_payloads_exceed_it(c):
    """A claim gets at least one task, however large. The tasks that are left keep their order."""
    c("TASK.MPUSH", "q", "TASKS", 6, "12345", "12345", "123456", "", "1", "2")
    assert payloads(c("TASK.CLAIM", "q", "COUNT", 10, "BYTES", 10)) == [b"12345", b"12345"]
    assert payloads(c("TASK.CLAIM", "q", "COUNT", 10, "BYTES", 1)) == [b"123456"]
    assert payloads(c("TASK.CLAIM", "q", "COUNT", 10, "BYTES", 1)) == [b"", b"1"]
    for number in (0, -1, NUMBER_MAX + 1, "x"):
        error = Error(f"ERR BYTES must be an integer between 1 and {NUMBER_MAX}")
        assert c("TASK.CLAIM", "q", "BYTES", number) == error
    assert payloads(c("TASK.CLAIM", "q", "BYTES", NUMBER_MAX)) == [b"2"]


def test_the_lease_comes_from_the_claim_the_task_or_the_queue(c):
    """They apply in this order. The default is 30 s."""

    def lease_ms(handle):
        task = c.map("TASK.GET", "q", handle)
        assert task[b"deadline"] - task[b"claimed"] == task[b"lease-ms"]
        return task[b"lease-ms"]

    c.push("q", "p", "LEASE", 7000)
    c.push("q", "p", "LEASE", 7000)
    c.push()
    c.push()
    assert lease_ms(c.claim("q", "LEASE", 9000)) == 9000
    assert lease_ms(c.claim("q")) == 7000
    assert lease_ms(c.claim("q")) == 30_000
    c("TASK.CONFIG", "q", "SET", "lease", 8000)
    assert lease_ms(c.claim("q")) == 8000


def test_run_max_bounds_a_lease(c):
    """A lease ends at run-max even if a longer one was requested."""
    c("TASK.CONFIG", "q", "SET", "run-max", 1000)
    c.push()
    task = c.map("TASK.GET", "q", c.claim("q", "LEASE", 60_000))
    assert task[b"deadline"] - task[b"claimed"] == 1000
    assert task[b"lease-ms"] == 60_000


def test_lease_takes_1_ms_to_24_h(c):
    """Both bounds are accepted, and nothing beyond them."""
    for number in (0, DAY + 1, -1, "1e3", 2**64):
        error = Error(f"ERR LEASE must be an integer between 1 and {DAY}")
        assert c("TASK.CLAIM", "q", "LEASE", number) == error
    for number in (1, DAY):
        c.push()
        assert c.claim("q", "LEASE", number)


def test_block_takes_0_to_100_years(c):
    """A task that is ready is returned at once, whatever BLOCK is."""
    most = 100 * 365 * DAY
    for number in (-1, most + 1, "1.5", ""):
        error = Error(f"ERR BLOCK must be an integer between 0 and {most}")
        assert c("TASK.CLAIM", "q", "BLOCK", number) == error
    for number in (0, 1, most):
        c.push()
        assert c.claim("q", "BLOCK", number)
    assert c("TASK.CLAIM", "q", "BLOCK", 1) == []


def test_a_worker_can_give_its_name(c):
    """A name has 1 to 256 bytes of any kind. TASK.GET shows it for that lease only."""
    for name in (b"w", b"n" * 256, b"\0\r\n\xff", b"COUNT"):
        c.push()
        assert c.map("TASK.GET", "q", c.claim("q", "WORKER", name))[b"worker"] == name
    c.push()
    assert b"worker" not in c.map("TASK.GET", "q", c.claim("q"))
    for name in (b"", b"n" * 257):
        assert c("TASK.CLAIM", "q", "WORKER", name) == Error("ERR WORKER must be 1 to 256 bytes long")


@pytest.mark.parametrize("protocol", [2, 3])
def test_noack_removes_the_tasks_it_returns(protocol, c):
    """The reply has the id in place of a handle, and no lease. The task counts as acked."""
    first, second = c.push("q", "a"), c.push("q", "b", "HEADERS", 1, "h", "v")
    assert c("TASK.CLAIM", "q", "NOACK") == [[first, b"a", 1]]
    [[task, payload, deliveries, meta]] = c("TASK.CLAIM", "q", "NOACK", "WITHMETA", "WORKER", "w")
    meta = c.as_map(meta)
    assert (task, payload, deliveries) == (second, b"b", 1)
    assert (meta[b"lease"], meta[b"deadline"]) == (0, 0)
    assert c.as_map(meta[b"headers"]) == {b"h": b"v"}
    assert c("TASK.GET", "q", first) is None
    info = c.map("TASK.INFO", "q")
    assert (info[b"ready"], info[b"leased"], info[b"claimed"], info[b"acked"]) == (0, 0, 2, 2)


@pytest.mark.parametrize("option", [["TIED"], ["LEASE", 5], ["REQUEST", "t"]])
def test_noack_cannot_be_combined_with_options_of_a_lease(option, c):
    """The order of the options does not matter."""
    c.push()
    digest = c.digest()
    error = Error("ERR NOACK cannot be combined with LEASE, TIED or REQUEST")
    assert c("TASK.CLAIM", "q", "NOACK", *option) == error
    assert c("TASK.CLAIM", "q", *option, "NOACK") == error
    assert c.digest() == digest


def test_options_come_in_any_order_and_any_case(c):
    """All options are given at once, in each rotation of their order."""
    options = [
        ["count", 2],
        ["Bytes", 9],
        ["LEASE", 60_000],
        ["block", 1],
        ["WORKER", "w"],
        ["tied"],
        ["WithMeta"],
    ]
    for turn in range(len(options)):
        c("TASK.MPUSH", "q", "TASKS", 2, "a", "b")
        words = [word for option in options[turn:] + options[:turn] for word in option]
        tasks = c("TASK.CLAIM", "q", *words)
        assert [task[1:3] for task in tasks] == [[b"a", 1], [b"b", 1]]
        shown = c.map("TASK.GET", "q", tasks[0][0])
        assert (shown[b"worker"], shown[b"tied"], shown[b"lease-ms"]) == (b"w", 1, 60_000)


@pytest.mark.parametrize(
    "option", ["GROUP", "GROUP g GROUP h", "KEYS 1 q", "DELAY 5", "COUNT", "WORKER", "TIED TIED", "x", ""]
)
def test_an_unknown_repeated_or_incomplete_option_is_refused(option, c):
    """An error names the option, and the claim leases nothing."""
    c.push()
    digest = c.digest()
    assert c("TASK.CLAIM", "q", *option.split(" ")) == SYNTAX
    assert c.digest() == digest


def test_a_paused_queue_gives_no_tasks(c):
    """PAUSE OUT and PAUSE ALL stop claims. PAUSE IN does not."""
    c.push()
    for direction, is_open in (("OUT", False), ("ALL", False), ("IN", True)):
        c("TASK.RESUME", "q", "ALL")
        c("TASK.PAUSE", "q", direction)
        assert len(c("TASK.CLAIM", "q")) == is_open


def test_a_delayed_task_is_claimed_when_it_is_due_and_not_before(server, c):
    """A task whose delay has not passed is not returned."""
    c.push("q", "late", "DELAY", DAY)
    c.push("q", "soon", "DELAY", 1)
    assert c("TASK.LEN", "q") == 2
    server.wait_until(lambda: payloads(c("TASK.CLAIM", "q")) == [b"soon"], "the delay is over")
    assert c("TASK.CLAIM", "q") == []


def test_a_claim_takes_fewer_tasks_than_count_if_fewer_are_ready(c):
    """COUNT is an upper bound. A claim with BLOCK does not wait for more."""
    c("TASK.MPUSH", "q", "TASKS", 3, "a", "b", "c")
    assert payloads(c("TASK.CLAIM", "q", "COUNT", 1000, "BLOCK", 0)) == [b"a", b"b", b"c"]
