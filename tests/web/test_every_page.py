"""Every page: what clients wrote is text and nothing else, and everybody can use it.

The queue is nothing but attacks. A keyboard, a screen reader, light and dark and a phone count as everybody.
"""

from urllib.parse import quote

import pytest

from .conftest import signed_in
from .hostile import KEY, fill
from .walk import ACCESSIBLE, walk

MARKS = {
    *(f"payload-{state}" for state in ("dead", "done", "leased", "ready", "delayed", "held")),
    *("error-first", "error-second", "result", "progress", "callback", "cron"),
    *("group", "worker", "name", "value", "token", "schedule", "batch"),
}


def walked(window, client):
    """Fill a queue with attacks, and walk through all pages, those of each task included."""
    ids = fill(client)
    return walk(window, "/", *(f"/task?key={quote(KEY)}&id={task}" for task in ids.values()))


def complaints(found):
    """What is wrong, by page."""
    return {one.path: one.complaints for one in found if one.complaints}


@pytest.mark.slow
def test_every_page_with_its_forms(tab, writable, client):
    """Nothing of an attack runs, and landmarks, labels, names, contrast and width are right with all that changes."""
    window = tab(writable)
    signed_in(window)
    found = walked(window, client)
    assert complaints(found) == {}
    assert {mark for mark in MARKS if not any(one.has(mark) for one in found)} == set()


@pytest.mark.slow
def test_every_page_that_is_read_only(tab, origin, client):
    """The same, and on no page is there a form that posts, a box to select a task, or a way to sign in."""
    found = walked(tab(origin), client)
    assert complaints(found) == {}
    assert {mark for mark in MARKS if not any(one.has(mark) for one in found)} == set()
    assert [one.path for one in found if one.changes] == []


def test_the_form_to_sign_in(tab, writable):
    """It is the one page that is not reached while signed in."""
    assert tab(writable).open("/sign-in").evaluate(ACCESSIBLE) == []
