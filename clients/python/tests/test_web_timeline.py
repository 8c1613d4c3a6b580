"""Pure functions: the life of a task as the page tells it, and the settings of a queue."""

import re
from pathlib import Path

import pytest
from taskslot.replies import TaskError, TaskView
from taskslot.web.queue.settings import SETTINGS, values
from taskslot.web.show.timeline import Moment, timeline

OPERATIONS = Path(__file__).parents[3] / "docs/operations.md"


def view(state: str, **values) -> TaskView:
    """A task that was pushed at 1000."""
    counts = {"priority": 0, "enqueued": 1000, "deliveries": 0, "failures": 0, "stalls": 0}
    return TaskView(id="1-0", state=state, **{**counts, **values})


def told(task: TaskView) -> list[tuple[str, int | None]]:
    """The moments without their notes."""
    return [(moment.what, moment.at) for moment in timeline(task)]


def errors(*numbered: tuple[int, str]) -> tuple[TaskError, ...]:
    """Errors of attempts, each at ten times its number."""
    return tuple(
        TaskError(attempt=number, at=1000 + number * 10, worker="w", error=text) for number, text in numbered
    )


@pytest.mark.parametrize(
    ("task", "moments"),
    [
        (view("ready", ready_since=1000), [("ready", 1000)]),
        (view("ready", ready_since=1000, expires=9000), [("ready", 1000), ("expires", 9000)]),
        (view("delayed", due=5000), [("becomes ready", 5000)]),
        (view("held", held_since=1000, waits_for=("2-0",)), [("held", 1000)]),
        (
            view("leased", deliveries=1, claimed=2000, deadline=3000, cancel_asked=True),
            [("claimed, attempt 1", 2000), ("cancelled", None), ("the lease ends", 3000)],
        ),
        (
            view("done", deliveries=2, stalls=1, claimed=2000, done_since=2100, run_ms=100, kept_until=9000),
            [("attempt 1 ended", None), ("claimed, attempt 2", 2000), ("done", 2100), ("is removed", 9000)],
        ),
        (
            view("dead", deliveries=1, failures=1, claimed=1005, dead_since=1010, errors=errors((1, "a"))),
            [("claimed, attempt 1", 1005), ("attempt 1 failed", 1010), ("dead", 1010)],
        ),
        (
            view("dead", deliveries=3, failures=1, claimed=1005, dead_since=1010),
            [("attempts 1 to 2 ended", None), ("claimed, attempt 3", 1005), ("dead", 1010)],
        ),
        (
            view("ready", deliveries=4, failures=3, stalls=1, errors=errors((2, "a"), (4, "b")), ready_since=1041),
            [
                ("attempt 1 ended", None), ("attempt 2 failed", 1020), ("attempt 3 ended", None),
                ("attempt 4 failed", 1040), ("ready", 1041),
            ],
        ),
    ],
)  # fmt: skip
def test_the_moments_of_a_task_come_in_the_order_in_which_they_happened(task, moments):
    """Attempts of which nothing is kept are said to have been there."""
    assert told(task) == [("pushed", 1000), *moments]


def test_a_retry_of_a_dead_task_is_seen_from_its_failures_which_count_anew():
    """It stands before the first error that came after it, or at the end."""
    kept = errors((1, "a"), (2, "b"), (3, "c"))
    again = view("ready", deliveries=3, failures=1, errors=kept, ready_since=2000)
    assert [what for what, _ in told(again)] == [
        "pushed", "attempt 1 failed", "attempt 2 failed", "retried", "attempt 3 failed", "ready",
    ]  # fmt: skip
    fresh = view("ready", deliveries=3, failures=0, errors=kept, ready_since=2000)
    assert told(fresh)[-3:] == [("attempt 3 failed", 1030), ("retried", 2000), ("ready", 2000)]
    assert "retried" not in [what for what, _ in told(view("ready", deliveries=3, failures=3, errors=kept))]


def test_a_task_that_died_of_stalls_was_not_retried():
    """The server writes an error for it, which is no failure."""
    text = "2 stalls, the last after 1000 ms at worker w1"
    died = view(
        "dead", deliveries=2, stalls=2, claimed=1015, dead_since=1020, errors=errors((2, text)), error=text
    )
    assert [what for what, _ in told(died)] == [
        "pushed", "attempt 1 ended", "claimed, attempt 2", "attempt 2 stalled", "dead",
    ]  # fmt: skip


def test_an_error_is_split_from_its_traceback_and_both_are_printable():
    """A worker can send anything."""
    text = "ValueError: \u202eno\x1b[31m\nTraceback (most recent call last):\n  File \u202e\n    x()\x00"
    failed = timeline(view("delayed", deliveries=1, failures=1, due=2000, errors=errors((1, text))))[1]
    assert failed == Moment(
        "attempt 1 failed", 1010, "", "w", "ValueError: \\u202eno\\x1b[31m",
        "Traceback (most recent call last):\n  File \\u202e\n    x()\\x00", "bad",
    )  # fmt: skip


def test_an_older_server_that_keeps_no_list_of_errors_has_the_newest():
    """Its attempt is the last one that ended."""
    assert told(view("leased", deliveries=3, failures=2, error="no"))[1:3] == [
        ("attempt 1 ended", None),
        ("attempt 2 failed", None),
    ]


# ---- settings


def test_the_settings_are_those_of_the_documents():
    """Their names, defaults, values and meanings."""
    row = re.compile(r"^\| (`[a-z-]+`(?:, `[a-z-]+`)?) \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)
    documented = {}
    for names, defaults, allowed, meaning in row.findall(OPERATIONS.read_text()):
        plain = re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", meaning).replace("`", "")
        parts = zip(names.split(", "), defaults.split(", "), allowed.split("; "), strict=False)
        for number, (name, default, one) in enumerate(parts):
            documented[name.strip("`")] = (
                default,
                one,
                plain if not number else f"the span of {names.split('`')[1]}",
            )
    assert {one.name: (str(one.default), one.values, one.meaning) for one in SETTINGS} == {
        name: of for name, of in documented.items() if name in {one.name for one in SETTINGS}
    }
    assert len(SETTINGS) == 23


def test_a_setting_says_whether_it_is_the_default_and_how_much_of_a_limit_is_in_use(queue):
    """The defaults are those of the server."""
    queue.push_many(["a"] * 3)
    queue.configure(max_len=10, lease=1000)
    found = {one.setting.name: one for one in values(queue.settings(), queue.info())}
    assert {name for name, one in found.items() if not one.is_default} == {"max-len", "lease"}
    assert (found["max-len"].used, found["max-len"].value, found["max-len"].is_limit) == (3, 10, True)
    assert {name for name, one in found.items() if one.is_limit} == {
        "max-len", "dead-max", "retain-max", "groups-max", "tokens-max",
    }  # fmt: skip
