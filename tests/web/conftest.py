"""Fixtures for tests of the page: Chromium, windows in it, and the page of a server."""

import shutil
import threading
from pathlib import Path

import pytest
import uvicorn
from harness.fixtures import chosen
from harness.server import wait_until

HERE = Path(__file__).parent
PASSWORD = "correct horse battery"
# What depends on the page and the browser only, and not on the version of the server.
ON_ONE_SERVER = ("test_every_page", "test_keyboard")


def pytest_collection_modifyitems(config, items):
    """Run these files on the first of the selected servers only."""
    first, *_ = chosen(config)
    dropped = [
        item
        for item in items
        if item.path.parent == HERE
        and item.path.stem in ON_ONE_SERVER
        and item.callspec.params["installed"] != first
    ]
    config.hook.pytest_deselected(items=dropped)
    items[:] = [item for item in items if item not in dropped]


@pytest.fixture(scope="module")
def browser():
    """A running Chromium. It ends with the module, because asyncio can't be used on a thread that drives one."""
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed: on Debian, apt-get install chromium")
    from harness.browser import chromium

    with chromium() as running:
        yield running


@pytest.fixture
def tab(browser, serve):
    """Opens windows: `tab(origin, is_dark=True)`. At the end, none of them may have done what no page may do.

    They are closed before the page's own server ends, whose end would be an error to them.
    """
    from harness.browser import Tab

    tabs = []

    def open_one(origin, **options):
        tabs.append(Tab(browser, origin, **options))
        return tabs[-1]

    yield open_one
    for one in tabs:
        one.close()
    for one in tabs:
        one.check()


@pytest.fixture
def server(start):
    """A new server with the module, which also listens on a port."""
    return start(port=True)


@pytest.fixture
def serve():
    """Serves an ASGI app on a free port of 127.0.0.1, and returns its origin."""
    running = []

    def serve_one(app):
        config = uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        running.append((server, thread))
        wait_until(lambda: server.started or not thread.is_alive(), "the page is served")
        return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"

    yield serve_one
    for server, _ in running:
        server.should_exit = True
    for _, thread in running:
        thread.join(10)


@pytest.fixture
def page_of(serve):
    """Serves the page of a client or URL, and returns its origin: `page_of(url, is_writable=True)`."""
    from taskslot.web import Write, create_app

    def serve_page(client_or_url, *, is_writable=False, **options):
        write = Write.by_password(PASSWORD) if is_writable else None
        return serve(create_app(client_or_url, write=write, **options))

    return serve_page


@pytest.fixture
def url(server):
    """The URL of the server."""
    return f"redis://127.0.0.1:{server.port}"


@pytest.fixture
def origin(page_of, url):
    """A page of the server that changes nothing."""
    return page_of(url)


@pytest.fixture
def writable(page_of, url):
    """A page of the server by which one can change things, with `PASSWORD`."""
    return page_of(url, is_writable=True)


def signed_in(tab, password=PASSWORD):
    """Sign in by the form, as somebody with the right to change things."""
    page = tab.open("/sign-in")
    page.get_by_label("Password").fill(password)
    page.get_by_label("Password").press("Enter")
    page.wait_for_url(f"{tab.origin}/")
    return page


def kill(queue, count, error):
    """Push tasks that are dead, with an error of their own each."""
    for at in range(count):
        queue.push(f"order {at}", attempts=1)
    for at, task in enumerate(queue.claim(count, worker="web1")):
        queue.fail(task, error(at))


def row(page, queue):
    """The row of a queue in the table of queues."""
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=queue, exact=True))


def column(page, name):
    """The number of a column of the table of queues, from 0."""
    heads = page.get_by_role("columnheader").all_inner_texts()
    return next(at for at, head in enumerate(heads) if head.strip().lower().startswith(name))


def cell(page, queue, name):
    """The cell of a queue in a column."""
    return row(page, queue).locator("th, td").nth(column(page, name))
