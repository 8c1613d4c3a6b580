"""The page by keyboard alone."""

import re

import pytest
from playwright.sync_api import expect

from .conftest import kill, signed_in

FOCUS = """() => {
  const element = document.activeElement, style = getComputedStyle(element);
  const box = element.getBoundingClientRect();
  return {
    html: element.outerHTML.slice(0, 100),
    seen: parseFloat(style.outlineWidth) > 0 && style.outlineStyle !== 'none' || style.boxShadow !== 'none',
    inside: box.width > 0 && box.bottom > 0 && box.top < innerHeight,
  };
}"""


@pytest.mark.slow
def test_the_focus_is_seen_wherever_it_is(tab, writable, queue):
    """Each stop of the Tab key is in the window, and marked."""
    kill(queue, 5, lambda at: f"ValueError: no {at}")
    window = tab(writable)
    signed_in(window)
    for path in ("/", "/queue?key=mail&state=dead"):
        page = window.open(path)
        for _ in range(40):
            page.keyboard.press("Tab")
            focus = page.evaluate(FOCUS)
            assert focus["seen"] and focus["inside"] or focus["html"].startswith("<body"), f"{path}: {focus}"


@pytest.mark.slow
def test_the_first_stop_skips_to_the_content(tab, origin):
    """So that nobody has to pass the navigation on every page."""
    page = tab(origin).open()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.localName") == "main"


def reach(page, role, name, key="Tab"):
    """Press Tab, or Shift+Tab for what is nearer to the end of the page, until a control has the focus."""
    wanted = page.get_by_role(role, name=name).first
    expect(wanted).to_be_visible()
    for _ in range(60):
        page.keyboard.press(key)
        if wanted.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"Tab does not reach {role} {name}")


@pytest.mark.slow
def test_everything_is_done_by_keyboard_alone(tab, writable, queue):
    """Sort, search, open a queue, change the tab, page, search tasks, select one and retry it."""
    kill(queue, 70, lambda at: f"ValueError: no {at}")
    queue.wire.client.execute_command("TASK.MPUSH", "letters", "TASKS", 3, "a", "b", "c")
    page = signed_in(tab(writable))

    reach(page, "link", re.compile("^ready"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("columnheader", name=re.compile("^ready"))).to_have_attribute(
        "aria-sort", re.compile("ending")
    )
    expect(page.get_by_role("row").nth(1)).to_contain_text("letters")
    reach(page, "searchbox", "Name")
    page.keyboard.type("mai")
    page.keyboard.press("Enter")
    expect(page.get_by_role("row")).to_have_count(2)
    reach(page, "link", re.compile("^mail$"))
    page.keyboard.press("Enter")

    reach(page, "link", re.compile("^dead"))
    page.keyboard.press("Enter")
    boxes = page.get_by_role("checkbox", name=re.compile(r"^select \d"))
    expect(boxes).to_have_count(50)
    reach(page, "link", re.compile("Next page"), "Shift+Tab")
    page.keyboard.press("Enter")
    expect(boxes).to_have_count(20)
    reach(page, "textbox", re.compile("payload"))
    page.keyboard.type("order 7")
    page.keyboard.press("Enter")
    expect(boxes).to_have_count(1)
    reach(page, "checkbox", re.compile(r"^select \d"), "Shift+Tab")
    page.keyboard.press("Space")
    reach(page, "button", re.compile("^Retry$"), "Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_contain_text(re.compile("1 task.*retried", re.S))
    reach(page, "button", re.compile("Yes, retry"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_contain_text("1 of 1")
    assert queue.len("ready") == 1
