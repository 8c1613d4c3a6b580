"""The picture of `taskslot top`, and what its keys choose. Pure functions."""

from dataclasses import replace

import pytest
from harness.infos import LOAD, info
from rich.console import Console
from rich.text import Text
from taskslot.cli.top.columns import GAP, NAME_WIDTH, WIDTHS, attention_width, fitting
from taskslot.cli.top.command import WIDTH
from taskslot.cli.top.notes import notes
from taskslot.cli.top.table import Picture, about
from taskslot.cli.top.view import View
from taskslot.overview import NodeInfo, Seen, rows
from taskslot.overview.columns import COLUMNS
from taskslot.overview.node_info import UNREACHED

NODE = NodeInfo(
    "a:1", "primary", "valkey", "9.1.2", "0.3.0", used_memory=2**20, maxmemory=0, due_lag_ms=3, blocked_workers=1
)  # fmt: skip


def drawn(picture: Picture, width: int, height: int | None = None) -> list[str]:
    """A picture as lines of text."""
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(picture.draw(width, height))
    return [line.rstrip() for line in capture.get().splitlines()]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 168, 200])
def test_the_table_is_never_wider_than_the_screen(width):
    """Columns without room are left out, the backlog last of all."""
    row = info(
        ready=10**6, delayed=10**6, leased=10**6, dead=10**6, oldest_ready_ms=10**6, held_by="concurrency"
    )
    picture = Picture(
        rows({"a-queue-with-a-long-name-of-many-words": row}), "host:6379", "12:00:00", [NODE] * 3
    )
    lines = drawn(picture, width)
    assert max(map(len, lines)) <= width
    heads = [column.head for column in fitting(width)]
    said = ["needs", "attention"] if attention_width(width) else []
    assert lines[2].split() == ["queue", *said, *" ".join(heads).split()] and "ready" in heads
    assert "1.0M" in lines[4] and ("oldest ready waits" in lines[4]) == (width >= 60)


def test_all_columns_fit_into_a_pipe():
    """At 80 columns, those that show problems fit, and at 120 the places of workers too."""
    assert fitting(WIDTH) == list(COLUMNS) and fitting(WIDTH - 1) != list(COLUMNS)
    small = {column.head for column in fitting(80)}
    assert small == {"ready", "oldest", "leased", "dead", "in/s", "out/s"}
    assert {"ρ", "places"} <= {column.head for column in fitting(120)}
    used = NAME_WIDTH + GAP + attention_width(80) + sum(WIDTHS[column.name] + GAP for column in fitting(80))
    assert used <= 80 and drawn(Picture(rows({"mail": info()}), "h"), 80)[2].endswith(" out/s")


def test_the_head_fits_into_80_columns():
    """The queues and their rates, then the servers."""
    found = rows({"q": info(ready=41_700, in_per_second_1m=2630, out_per_second_1m=538)})
    head, second, *_ = drawn(Picture(found, "127.0.0.1:17001", "12:00:00", [NODE]), 80)
    assert head.startswith("127.0.0.1:17001  1 queue, 41.7k ready, in 2630/s, out 538/s")
    assert head.endswith("   12:00:00") and len(head) == 80
    assert second == "valkey 9.1.2, taskslot 0.3.0, lag 3ms, memory 1.0 MiB, 1 worker waiting"


def test_several_servers_are_one_line():
    """Their memory is added, the worst lag counts, and different versions are named."""
    copy = replace(NODE, role="replica", due_lag_ms=9999)
    other = replace(NODE, module="0.2.0", maxmemory=2**30, due_lag_ms=70, blocked_workers=0)
    silent = NodeInfo("b:1", "primary", trouble="no permissions")
    words = about([replace(NODE, maxmemory=2**30), other, silent, copy, copy])
    assert words == [
        "3 primaries", "2 replicas", "valkey 9.1.2", "taskslot 0.2.0 and taskslot 0.3.0", "lag 70ms",
        "memory 2.0 MiB of 2.0 GiB", "1 worker waiting",
    ]  # fmt: skip


def test_rows_that_do_not_fit_are_counted():
    """The picture is exactly as high as the screen."""
    found = rows({f"q{n}": info(ready=n) for n in range(30)})
    picture = Picture(found, "host:6379", nodes=[NODE], notes=[Text("no answer from b" * 9)])
    lines = drawn(picture, 80, height=12)
    assert len(lines) == 12 and lines[-2].startswith("no answer from b") and lines[-1] == "and 24 more queues"
    assert [line.split()[0] for line in lines[4:-2]] == [f"q{n}" for n in range(29, 23, -1)]


@pytest.mark.parametrize("height", [7, 9, 24])
def test_many_notes_do_not_hide_the_queues(height):
    """All of the picture is on the screen, and a row is part of it."""
    picture = Picture(rows({"mail": info(ready=7)}), "host:6379", notes=[Text(str(n)) for n in range(50)])
    lines = drawn(picture, 80, height)
    assert len(lines) <= height and lines[4].startswith("mail") and lines[5] == "0"


def test_what_needs_attention_is_said_in_the_row():
    """All of it, the most urgent first, if there is room."""
    states = {
        "a": info(ready=4, paused_out=-1, paused_in=60_000), "b": info(ready=3, held_by="rate", dead=2),
        "c": info(broken="a panic"), "d": info(ready=1),
    }  # fmt: skip
    lines = drawn(Picture(rows(states), "host:6379"), 230)[4:]
    said = {line.split()[0]: " ".join(line.split("  ")[1:]) for line in lines}
    assert [line[0] for line in lines] == ["c", "b", "a", "d"]
    assert "broken: a panic" in said["c"] and "2 dead, held by rate" in said["b"]
    assert "paused: claims, pushes for 1 min" in said["a"]


def test_places_are_busy_free_and_needed():
    """What is unknown is a dash."""
    few = info(ready=1, load=replace(LOAD, places_needed=12))
    unknown = info(load=replace(LOAD, places_needed=-1))
    lines = drawn(Picture(rows({"a": few, "b": unknown}), "h"), 168)[4:]
    assert " 1/1/12 " in lines[0] and " 1/1/– " in lines[1]


def test_the_columns_are_those_of_the_page_in_its_order():
    """Each has a width here. What holds a queue and what is paused is said, too."""
    assert set(WIDTHS) == {column.name for column in COLUMNS}
    held = info(
        ready=1,
        held_by="rate",
        paused_in=-1,
        load=replace(LOAD, backlog=1, drain_ms=-1),
        batches_open=1,
        batches_closed=2,
    )
    lines = drawn(Picture(rows({"a": held}), "h"), WIDTH)
    assert lines[2].split("ρ")[1].split() == ["places", "drain", "batches", "held", "by", "paused"]
    assert lines[4].split()[-5:] == ["1/1/1", "never", "3", "rate", "pushes"]


# ---- notes


def test_notes_name_the_servers_that_need_a_person():
    """Those with the same concern share a note, the most urgent comes first, and texts are escaped."""
    durable = {"durability": "appendonly is no"}
    seen = Seen(
        nodes=[replace(NODE, address=f"h:{n}", warnings=durable) for n in range(5)],
        away=["x:1", "\x1b:2"],
        unreadable={"a\udcff": "no permissions", "b": "no permissions"},
        refused={("SCAN", "h:1"): "no", ("INFO", "h:1"): "no", ("TIME", "h:1"): "no"},
        was_cut=True,
        is_whole=False,
        oversized=1,
        unread=2,
    )
    assert [note.plain for note in notes(seen, 1)] == [
        "x:1, \\x1b:2: no answer",
        "h:0, h:1, h:2 and 2 more: appendonly is no",
        "there are more than 1 queue: the others are left out",
        "2 queues could not be read in time",
        "1 queue with very long names left out",
        "can't read a\\udcff and 1 more: no permissions",
        "SCAN on h:1: no",
        "--limit shows more queues",
    ]
    assert [note.plain for note in notes(Seen(is_whole=False), 1)] == [
        "not all keys have been searched for queues yet"
    ]
    unreached = NodeInfo("b:1", "replica", trouble=UNREACHED)
    assert notes(Seen(nodes=[NODE, unreached]), 10) == []


# ---- keys

FOUND = rows(
    {
        "mail": info(ready=1, oldest_ready_ms=9), "Orders": info(ready=5, oldest_ready_ms=3),
        "old mail": info(dead=1, in_per_second_1m=2.0, oldest_ready_ms=-1),
    }
)  # fmt: skip


def shown(view: View) -> list[str]:
    """The names of the rows that a view shows."""
    return [row.queue for row in view.of(FOUND)]


def test_s_sorts_by_one_thing_after_the_other():
    """The usual order comes again after the last."""
    view, orders = View(), []
    for _ in range(6):
        orders.append((view.order, shown(view)))
        view = view.after("s")
    assert orders == [
        ("attention", ["old mail", "Orders", "mail"]), ("ready", ["Orders", "mail", "old mail"]),
        ("oldest", ["mail", "Orders", "old mail"]), ("in/s", ["old mail", "Orders", "mail"]),
        ("name", ["Orders", "mail", "old mail"]), ("attention", ["old mail", "Orders", "mail"]),
    ]  # fmt: skip


def test_a_filter_is_typed():
    """Letters that are commands otherwise belong to it. Case doesn't matter."""
    view = View().after("/").after("oRs").after("\x7f").after("d")
    assert view.is_typing and view.filter == "oRd" and shown(view) == ["Orders"]
    view = view.after("\r")
    assert (
        not view.is_typing
        and shown(view) == ["Orders"]
        and view.notes() == ["only queues with oRd in their names; Esc shows all"]
    )
    assert shown(view.after("\x1b")) == shown(View()) and shown(view.after("\x1b[A")) == ["Orders"]


def test_q_quits_unless_it_is_part_of_a_filter():
    """So a queue with a q in its name can be found."""
    assert View().after("q").is_over and not View().after("/q").is_over
    assert View().after("/q\rq").is_over and not View().after("x").is_over


def test_a_filter_has_an_end():
    """Control characters are no part of it."""
    assert View().after("/" + "\x01\x00" + "x" * 500).filter == "x" * 60
