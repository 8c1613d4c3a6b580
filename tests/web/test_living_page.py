"""The page lives: it follows the server without a reload, also when the server dies and comes back."""

import re

import pytest
from playwright.sync_api import expect
from starlette.applications import Starlette
from starlette.routing import Mount
from taskslot.figures import span
from taskslot.web.site import HERE

from .conftest import cell, signed_in

MARK = "document.body.setAttribute('data-mark', 'same page')"


def is_same(page):
    """Whether the page was not reloaded since MARK."""
    return page.evaluate("document.body.dataset.mark") == "same page"


def test_figures_follow_the_server_without_a_reload(tab, origin, queue):
    """Counts change, and a queue that is new appears. Who has the focus in the table keeps it."""
    queue.push("one")
    page = tab(origin).open()
    page.evaluate(MARK)
    expect(cell(page, "mail", "ready")).to_have_text("1")
    page.get_by_role("link", name="mail", exact=True).focus()
    queue.push_many(["more"] * 41)
    expect(cell(page, "mail", "ready")).to_have_text("42")
    queue.wire.client.execute_command("TASK.PUSH", "letters", "x")
    expect(cell(page, "letters", "ready")).to_have_text("1")
    assert is_same(page)
    assert page.evaluate("document.activeElement.textContent") == "mail"


def test_a_server_that_dies_and_comes_back(tab, page_of, start):
    """The page says that the server is away and how old the figures are, and goes on when it is back."""
    server = start(port=True, appendonly="yes")
    server.client().execute_command("TASK.PUSH", "mail", "x")
    window = tab(page_of(f"redis://127.0.0.1:{server.port}"))
    page = window.open()
    page.evaluate(MARK)
    server.kill9()
    status = page.locator("[data-part=status]")
    expect(status).to_contain_text("doesn't answer")
    expect(status.locator("time")).to_be_visible()
    expect(cell(page, "mail", "ready")).to_have_text("1")
    server.start()
    server.client().execute_command("TASK.PUSH", "mail", "y")
    expect(cell(page, "mail", "ready")).to_have_text("2")
    expect(status).not_to_contain_text("doesn't answer")
    assert is_same(page)


@pytest.mark.slow
def test_a_page_that_is_opened_while_the_server_is_away(tab, page_of, start):
    """It says so at once, without an error of its own, and shows the queues when the server comes."""
    server = start(port=True, appendonly="yes")
    server.client().execute_command("TASK.PUSH", "mail", "x")
    server.stop()
    page = tab(page_of(f"redis://127.0.0.1:{server.port}")).open()
    expect(page.locator("[data-part=status]")).to_contain_text("doesn't answer")
    server.start()
    expect(cell(page, "mail", "ready")).to_have_text("1")


@pytest.mark.slow
def test_a_page_below_a_path_of_another_app(tab, serve, url, queue):
    """Links, files and live updates stay below the path, and the other app keeps its own."""
    from taskslot.web import create_app

    queue.push("one")
    origin = serve(Starlette(routes=[Mount("/ops/queues", app=create_app(url))]))
    page = tab(origin).open("/ops/queues/")
    asked = []
    page.on("request", lambda request: asked.append(request.url.removeprefix(origin)))
    queue.push("two")
    expect(cell(page, "mail", "ready")).to_have_text("2")
    for name in ("Nodes", "Charts", "Dead", "Queues"):
        page.get_by_role("navigation").get_by_role("link", name=name).first.click()
        expect(page).to_have_url(re.compile(f"^{origin}/ops/queues/"))
        expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.get_by_role("link", name="mail", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("mail")
    assert [path for path in asked if not path.startswith("/ops/queues/")] == []


@pytest.mark.slow
def test_pages_work_without_scripts(tab, origin, queue, server):
    """What they show is in the HTML; only the live updates are missing."""
    queue.push("one letter")
    window = tab(origin, scripts=False)
    shown = {
        "/": "mail",
        "/queue?key=mail": "one letter",
        "/dead": "No queue has dead tasks.",
        "/nodes": f"127.0.0.1:{server.port}",
    }
    for path, text in shown.items():
        expect(window.open(path).get_by_role("main")).to_contain_text(text)


def test_the_theme_that_was_chosen_is_kept(tab, origin):
    """The switch goes from the system's to light and dark, and the next page has the same."""
    page = tab(origin).open()
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Theme").click(click_count=2)
    expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
    dark = page.evaluate(ground)
    assert dark != light
    page.get_by_role("link", name="Nodes").click()
    expect(page.get_by_role("heading", name="Nodes", exact=True)).to_be_visible()
    assert page.evaluate(ground) == dark


def test_the_chart_and_its_table_write_a_span_alike(browser):
    """In the browser's script and in Python."""
    script = (HERE / "static/charts.js").read_text(encoding="utf-8")
    function = re.search(r"function span\(ms\) \{.*?\n  \}", script, re.DOTALL)[0]
    values = [
        0,
        1,
        850.5,
        999,
        1000,
        1299,
        9999,
        59_999,
        60_000,
        200_000,
        3_599_999,
        7_500_000,
        86_400_000,
        4e8,
    ]
    page = browser.new_page()
    written = page.evaluate(f"(values) => {{ {function}; return values.map(span) }}", values)
    page.close()
    assert written == [span(value) for value in values]


def test_an_instant_is_typed_and_shown_in_the_browsers_zone(tab, writable, queue):
    """The field and the page name the zone. A form that is refused has the instant still."""
    task = queue.push("a", delay_ms=10**7)
    window = tab(writable, zone="Asia/Dubai")
    signed_in(window)
    page = window.open(f"/task?key=mail&id={task}")
    expect(page.locator("footer")).to_contain_text("times in Asia/Dubai")
    page.get_by_text("Change…").click()
    field = page.get_by_label("or at (Asia/Dubai)")
    field.fill("2030-05-04T12:00")
    page.get_by_label("due in").fill("5s")
    window.allows = lambda text: "422" in text
    page.get_by_role("button", name="Change", exact=True).click()
    expect(page.locator("#refused")).to_contain_text("either a span or an instant")
    expect(field).to_have_value("2030-05-04T12:00")
    page.get_by_label("due in").fill("")
    page.get_by_role("button", name="Change", exact=True).click()
    expect(page.locator(".said")).to_have_text("Changed: due time.")
    assert queue.get(task).due == 1904112000000
    expect(page.locator("main")).to_contain_text("4 May 2030, 12:00:00")


def test_the_table_of_queues_drops_rare_columns_before_it_squeezes(tab, origin, client):
    """On a desk of 1280 it needs no scrolling, and a column in which a queue has something comes back by itself."""
    client.execute_command("TASK.PUSH", "a-queue-with-a-name", "x")
    page = tab(origin).open()
    heads = page.get_by_role("columnheader")
    expect(heads.get_by_text("paused", exact=True)).to_be_hidden()
    client.execute_command("TASK.PAUSE", "a-queue-with-a-name")
    expect(heads.get_by_text("paused", exact=True)).to_be_visible()
    region = page.get_by_role("region", name="Queues")
    assert region.evaluate("one => one.scrollWidth - one.clientWidth") <= 0
