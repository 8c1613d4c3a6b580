"""What needs a person: the words, how urgent they are, and the order of the rows. Pure functions."""

from dataclasses import replace

import pytest
from harness.infos import LOAD, info
from taskslot.addresses import host_and_port
from taskslot.figures import age, plural
from taskslot.overview.attention import NAMES, Severity, concerns, node_concerns
from taskslot.overview.columns import BY_NAME
from taskslot.overview.node_info import UNREACHED, NodeInfo, ranges, read_node
from taskslot.overview.rows import rows
from taskslot.overview.tones import Tone

NO_PLACES = replace(LOAD, places_busy=0, places_free=0)
MINUTE = 60_000


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({}, []),
        ({"ready": 5, "oldest_ready_ms": MINUTE - 1}, []),
        ({"broken": "an event of a later version"}, [(2, "broken: an event of a later version")]),
        ({"ready": 12, "load": NO_PLACES, "oldest_ready_ms": 10}, [(1, "12 ready and nobody works")]),
        (
            {"ready": 12, "load": NO_PLACES, "oldest_ready_ms": 4 * MINUTE},
            [(2, "12 ready and nobody works"), (1, "oldest ready waits 4 min")],
        ),
        # Workers that poll are not seen between two claims.
        ({"ready": 2, "load": NO_PLACES, "oldest_ready_ms": 9999, "claimed": 7}, []),
        ({"ready": 2, "load": NO_PLACES, "oldest_ready_ms": 10_000, "claimed": 7}, [(1, "2 ready and nobody works")]),
        # Something polls without BLOCK: it is only seen while it holds a task.
        (
            {"ready": 1, "load": NO_PLACES, "oldest_ready_ms": MINUTE, "out_per_second_1m": 3.0},
            [(1, "1 ready and nobody works"), (1, "oldest ready waits 1 min")],
        ),
        (
            {"ready": 3, "load": replace(LOAD, places_needed=8, places_busy=3), "oldest_ready_ms": 1000},
            [(1, "8 places needed, 4 there")],
        ),
        ({"ready": 3, "load": replace(LOAD, places_needed=8, places_busy=3), "oldest_ready_ms": 999}, []),
        ({"load": replace(LOAD, places_needed=8)}, []),
        ({"dead": 7}, [(1, "7 dead")]),
        ({"dead": 48_210}, [(1, "48.2k dead")]),
        ({"paused_out": -1}, [(0, "paused: claims")]),
        ({"paused_out": -1, "ready": 2, "load": NO_PLACES, "oldest_ready_ms": MINUTE}, [(1, "paused: claims")]),
        ({"paused_in": 3 * MINUTE, "paused_out": -1}, [(0, "paused: claims, pushes for 3 min")]),
        ({"paused_in": -1, "paused_out": -1}, [(0, "paused: claims, pushes")]),
        ({"held_by": "concurrency", "ready": 9, "load": NO_PLACES}, [(0, "held by concurrency")]),
        # Nobody is missing for tasks that no worker may take.
        (
            {"groups_paused": 1, "ready": 1, "held_by": "groups", "load": NO_PLACES},
            [(1, "1 group paused"), (0, "held by groups")],
        ),
        ({"groups_paused": 1, "groups_stopped": 2}, [(0, "1 group paused, 2 groups stopped")]),
        ({"broken": "x", "dead": 1, "paused_in": -1}, [(2, "broken: x"), (1, "1 dead"), (0, "paused: pushes")]),
    ],
)  # fmt: skip
def test_a_state_is_said_in_words(state, said):
    """Each with how soon a person is needed, the most urgent first."""
    found = [(concern.severity, concern.text) for concern in concerns(info(**state))]
    assert found == said
    assert found == sorted(found, key=lambda one: -one[0])


def test_a_hostile_text_is_one_cut_line():
    """The reason of a broken queue can hold what a client wrote."""
    (concern,) = concerns(info(broken="\x1b[2J\u202e" + "x" * 500))
    assert concern.text.startswith("broken: \\x1b[2J\\u202ex") and concern.text.endswith("x…")
    assert concern.text.isprintable() and len(concern.text) < 100


def test_rows_come_in_the_order_of_what_needs_a_person():
    """First by severity, then by what it is, then by the backlog, then by name."""
    states = {
        "idle": info(), "busy": info(leased=3), "fine": info(ready=9), "paused": info(paused_out=-1),
        "held": info(held_by="rate", ready=50), "dead": info(dead=1), "more dead": info(dead=1, ready=4),
        "late": info(ready=2, oldest_ready_ms=MINUTE), "broken": info(broken="x"),
        "unattended": info(ready=1, load=NO_PLACES, oldest_ready_ms=MINUTE), "idle too": info(),
    }  # fmt: skip
    found = [row.queue for row in rows(states)]
    urgent = ["broken", "unattended", "late", "more dead", "dead"]
    assert found == [*urgent, "paused", "held", "fine", "busy", "idle", "idle too"]


def test_every_concern_has_a_weight():
    """Otherwise rows could not be sorted."""
    everything = info(
        broken="x", ready=1, oldest_ready_ms=MINUTE, dead=1, paused_in=-1, held_by="rate", load=NO_PLACES,
        groups_paused=1,
    )  # fmt: skip
    found = {one.name for one in concerns(everything)} | {
        one.name for one in concerns(replace(everything, held_by=""))
    }
    found |= {
        one.name for one in concerns(info(ready=1, oldest_ready_ms=1000, load=replace(LOAD, places_needed=9)))
    }
    assert found == set(NAMES)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({}, []),
        ({"module": ""}, [(2, "no taskslot module")]),
        ({"broken_queues": 2}, [(2, "2 broken queues")]),
        ({"due_lag_ms": 2500}, [(1, "due work is 2.5 s late")]),
        ({"due_lag_ms": 10_001}, [(2, "due work is 10.0 s late")]),
        ({"due_lag_ms": 1000}, []),
        ({"role": "replica", "link": "down"}, [(2, "the link to its primary is down")]),
        ({"used_memory": 790, "maxmemory": 1000}, []),
        ({"used_memory": 800, "maxmemory": 1000}, [(1, "80% of 1000 B memory used")]),
        ({"used_memory": 990, "maxmemory": 1000}, [(2, "99% of 1000 B memory used")]),
        ({"used_memory": 10**9, "maxmemory": 0}, []),
        ({"warnings": {"durability": "appendonly is no"}}, [(1, "appendonly is no")]),
        ({"ahead_ms": -5000, "took_ms": 20}, [(1, "clock 5.0 s behind this machine's")]),
        ({"ahead_ms": 5000, "clock_skew_ms": -4900}, [(1, "clock 5.0 s ahead of this machine's")]),
        ({"ahead_ms": 1500, "took_ms": 900}, []),
        ({"clock_skew_ms": -7000}, [(1, "module's clock 7.0 s behind the server's")]),
        (
            {"module": "", "trouble": UNREACHED},
            [(0, "can't be reached from this machine; its primary says it is online")],
        ),
        ({"module": "", "trouble": "no permissions"}, [(1, "INFO can't be read: no permissions")]),
    ],
)
def test_what_is_wrong_with_a_server_is_said_in_words(state, said):
    """A server with a limit on memory, a link or a clock that is fine has no concern."""
    node = NodeInfo(**{"address": "a:1", "role": "primary", "module": "0.3.0", **state})
    found = [(concern.severity, concern.text) for concern in node_concerns(node)]
    assert found == said
    assert all(isinstance(concern.severity, Severity) for concern in node_concerns(node))


def test_all_that_is_wrong_with_a_server_comes_by_urgency():
    """Whatever is wrong at the same time."""
    everything = NodeInfo(
        "a:1", "replica", broken_queues=1, due_lag_ms=99_999, link="down", used_memory=99, maxmemory=100,
        warnings={"eviction": "x"}, clock_skew_ms=9999,
    )  # fmt: skip
    found = node_concerns(everything)
    assert [one.name for one in found] == ["module", "broken", "lag", "link", "memory", "eviction", "clock"]
    assert [one.severity for one in found] == [2, 2, 2, 2, 2, 1, 1]


def test_a_node_without_any_fields_is_unknown():
    """A server can be of another version, or hide what it likes. Nothing of it is a number that somebody could add."""
    node = read_node("a:1", {})
    assert (node.role, node.server, node.module, node.used_memory, node.memory_share) == (
        "",
        "",
        "",
        -1,
        -1.0,
    )


def test_addresses_and_ranges():
    """An IPv6 address has brackets. Slots that follow each other are one range."""
    node = read_node("a:1", {"role": "slave", "master_host": "::1", "master_port": 7000})
    assert node.primary == "[::1]:7000" and host_and_port(node.primary) == ("::1", 7000)
    assert ranges([0, 1, 2, 7, 9, 10]) == [(0, 2), (7, 7), (9, 10)] and ranges([]) == []


@pytest.mark.parametrize(
    ("column", "state", "text", "tone", "full"),
    [
        ("ready", {"ready": 12_345}, "12.3k", Tone.STRONG, "12,345"),
        ("oldest", {"oldest_ready_ms": 12_345}, "12s", Tone.PLAIN, ""),
        ("dead", {"dead": 2}, "2", Tone.LOOK, ""),
        ("dead", {}, "0", Tone.DIM, ""),
        ("load", {"load": replace(LOAD, utilisation=0.79)}, "0.79", Tone.PLAIN, ""),
        ("load", {"load": replace(LOAD, utilisation=0.8)}, "0.80", Tone.LOOK, ""),
        ("load", {"load": replace(LOAD, utilisation=12.0)}, "12", Tone.BAD, ""),
        ("load", {"load": replace(LOAD, utilisation=-1)}, "–", Tone.DIM, ""),
        ("places", {"load": replace(LOAD, places_needed=20_000)}, "1/1/20.0k", Tone.LOOK, ""),
        ("places", {"load": replace(NO_PLACES, places_needed=-1)}, "0/0/–", Tone.DIM, ""),
        ("drain", {"load": replace(LOAD, backlog=5, drain_ms=3000)}, "3.0s", Tone.PLAIN, ""),
        ("drain", {"load": replace(LOAD, backlog=5, drain_ms=-1)}, "never", Tone.BAD, ""),
        ("held_by", {"held_by": "\x1b" + "x" * 99}, "\\x1b" + "x" * 75 + "…", Tone.PLAIN, ""),
        ("paused", {"paused_in": MINUTE, "paused_out": -1}, "claims, pushes for 1 min", Tone.PLAIN, ""),
    ],
)
def test_a_figure_has_one_text_and_one_tone(column, state, text, tone, full):
    """In the terminal and on the page."""
    one, found = BY_NAME[column], info(**state)
    assert (one.text(found), one.tone(found), one.in_full(found)) == (text, tone, full)


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "0 s"), (59_999, "59 s"), (60_000, "1 min"), (7_199_999, "1 h"), (86_400_000 * 400, "400 d")],
)
def test_ages_are_short_words(ms, text):
    """They are cut, so that nothing is older than it is said to be."""
    assert age(ms) == text


def test_one_is_singular():
    """All other numbers are plural."""
    assert [plural(number, "queue") for number in (0, 1, 2)] == ["0 queues", "1 queue", "2 queues"]
