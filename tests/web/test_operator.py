"""What an operator does: understand dead tasks, retry or remove them, sign in and out, search among many."""

import re

import pytest
from playwright.sync_api import expect

from .conftest import PASSWORD, cell, kill, signed_in

TRACE = '\nTraceback (most recent call last):\n  File "/srv/shop.py", line 7, in charge\n    bank.pay(card)\n'


@pytest.fixture
def troubled(queue):
    """A queue in which 1200 tasks died because the bank was away, and one of a wrong card."""
    queue.push_many([f"order {at}" for at in range(1200)], attempts=1)
    while tasks := queue.claim(1000, worker="web1"):
        queue.fail_many(tasks, error=f"TimeoutError: bank-{len(tasks)} did not answer within 3000 ms{TRACE}")
    kill(queue, 1, lambda at: f"ValueError: no such card{TRACE}")
    return queue


def test_dead_tasks_are_understood_retried_and_gone(tab, writable, troubled):
    """From the overview to the error, its traceback, a retry of all that have it with a progress bar, and the end."""
    window = tab(writable)
    page = signed_in(window)
    expect(page.get_by_role("row").filter(has_text="mail")).to_contain_text("1201 dead")

    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Dead").click()
    timeouts = page.get_by_role("row").filter(has_text="TimeoutError")
    timeouts.get_by_role("link", name=re.compile("TimeoutError")).click()
    page.get_by_role("table").get_by_role("link").first.click()
    expect(page.get_by_role("main")).to_contain_text("bank.pay(card)")
    expect(page.get_by_role("main")).to_contain_text("web1")

    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Dead").click()
    timeouts.get_by_role("button", name="Retry these").click()
    expect(page.get_by_role("main")).to_contain_text(re.compile("1,?200 tasks will be retried"))
    assert troubled.len("ready") == 0
    page.get_by_role("button", name="Yes, retry").click()
    expect(page.get_by_role("main")).to_contain_text(re.compile("1,?200 of 1,?200"), timeout=20_000)
    expect(page.get_by_role("progressbar")).to_have_attribute("value", "1200")
    assert (troubled.len("ready"), troubled.len("dead")) == (1200, 1)

    while tasks := troubled.claim(1000):
        troubled.ack_many(tasks)
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Dead").click()
    page.get_by_role("row").filter(has_text="no such card").get_by_role("link").first.click()
    page.get_by_role("table").get_by_role("link").first.click()
    page.get_by_text("Remove…").click()
    page.get_by_role("button", name="Remove the task").click()
    expect(page.get_by_role("main")).to_contain_text("emoved")
    window.open("/dead")
    expect(page.get_by_role("main")).to_contain_text("No queue has dead tasks")
    assert troubled.info().dead == 0


@pytest.mark.slow
def test_signing_in_and_out(tab, writable, queue):
    """A wrong password changes nothing. After signing out, one can only read."""
    kill(queue, 1, lambda at: "ValueError: no")
    window = tab(writable)
    # The answer to a wrong password is a 401, which the console reports.
    window.allows = lambda text: "the server responded with a status of 401" in text
    page = window.open("/queue?key=mail&state=dead")
    expect(page.get_by_role("checkbox")).to_have_count(0)
    page.get_by_role("link", name="Sign in").click()
    page.get_by_label("Password").fill("something else")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not the password")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    window.open("/queue?key=mail&state=dead")
    expect(page.get_by_role("checkbox").first).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    window.open("/queue?key=mail&state=dead")
    expect(page.get_by_role("link", name="Sign in")).to_be_visible()
    expect(page.get_by_role("checkbox")).to_have_count(0)


@pytest.mark.slow
def test_a_queue_of_100_000_tasks(tab, origin, queue):
    """A page has 50 of them, and a search looks at a bounded number at a time and goes on."""
    for first in range(0, 100_000, 1000):
        queue.push_many([f"order {at}" for at in range(first, first + 1000)])
    page = tab(origin).open()
    expect(cell(page, "mail", "ready")).to_have_text(re.compile("100"))
    page.get_by_role("link", name="mail", exact=True).click()
    rows = page.get_by_role("main").get_by_role("table").get_by_role("row")
    expect(rows).to_have_count(51)
    expect(page.get_by_role("main")).to_contain_text("100,000")
    assert len(page.content()) < 150_000
    page.get_by_label("payload").fill("order 99999")
    page.get_by_label("payload").press("Enter")
    for _ in range(20):
        if rows.count() == 2:
            break
        page.get_by_role("link", name="Search on").first.click()
        page.wait_for_load_state()
    expect(rows).to_have_count(2)
    expect(rows.nth(1)).to_contain_text("order 99999")
