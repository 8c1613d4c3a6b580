"""The web page's frame: the queues, the nodes, the charts, and what is said while the server is away."""

import asyncio
import json
import re
from html import unescape
from typing import get_args

import pytest
import redis
from harness.server import wait_until
from harness.web import FormClient, create_app, path_of
from starlette.requests import Request
from taskslot import Queue, ShardedQueue
from taskslot.overview import Nodes, Seen
from taskslot.shards import names
from taskslot.web import Read, Write
from taskslot.web.http.links import Links, decoded
from taskslot.web.http.rights import Visitor
from taskslot.web.live import sampler
from taskslot.web.live.stream import Parts, Viewer, change, changes
from taskslot.web.pages import nodes, queues
from taskslot.web.show.texts import legible
from taskslot.web.site import HERE, Site, Tone

ROW = re.compile(r'<tr id="[qs]\w+">\s*<th scope="row"><a href="([^"]*)">([^<]*)</a>')
# Each of these would do something if a page took it for more than text.
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{7*7}}",
    "a/b?c#d&e%f g",
    "it's",
    "${x}\\",
]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The sampler looks often."""
    monkeypatch.setattr(sampler, "INTERVAL_S", 0.02)


@pytest.fixture
def push(client):
    """Pushes one task or some to a queue of any name."""

    def push_to(name, count=1):
        for _ in range(count):
            client.execute_command("TASK.PUSH", name, "x")

    return push_to


def listed(html):
    """The names of the queues in the table, in its order."""
    return [unescape(name) for _, name in ROW.findall(html)]


def until(browser, path, text):
    """The page, once it has this text."""
    return wait_until(lambda: text in (html := browser.text(path)) and html, f"{path} has {text}")


# ---- the queues


def test_the_queues_are_listed_with_their_figures(web, queue, push):
    """A new page shows what is there, without a wait."""
    queue.push_many([b"x"] * 3)
    queue.fail(queue.claim()[0], "no", dead=True)
    push("lonely", 2)
    html = web().text("/")
    assert listed(html) == ["lonely", "mail"]
    assert '<td class="n c-leased" data-label="leased"><span class="zero">0</span></td>' in html
    assert '<a href="/dead?key=mail"><span class="look">1</span></a>' in html
    assert "2 ready and nobody works" in html and "1 dead" in html
    assert "2 of 2 need attention" in html


@pytest.mark.parametrize("name", [*HOSTILE, b"raw\xff\xfe\x00", "\u202egnp.exe\x1b[2J\n"])
def test_a_hostile_name_is_only_text(web, push, name):
    """Its link leads to exactly this key, and what can't be printed is shown as an escape."""
    push(name)
    html = web(write=True).text("/")
    data = name if isinstance(name, bytes) else name.encode()
    [(link, _)] = ROW.findall(html)
    assert link == path_of("/queue", key=data)
    assert decoded(link.partition("?")[2].encode())["key"].encode("utf-8", "surrogateescape") == data
    assert "<script>alert" not in html and "<img" not in html and ">49<" not in html
    assert not set(html) & {"\u202e", "\x1b", "\x00"}


def test_what_needs_a_person_comes_first_unless_another_order_is_asked_for(web, client, push):
    """A second click on a heading turns the order round."""
    for name, count in (("a", 1), ("b", 3), ("c", 2)):
        push(name, count)
    with Queue(client, "b") as queue:
        queue.pause()
    browser = web()
    assert listed(browser.text("/")) == ["c", "a", "b"]
    html = browser.text("/?sort=ready")
    assert listed(html) == ["b", "c", "a"]
    assert 'aria-sort="descending" title' in html and 'href="/?sort=ready&amp;dir=back"' in html
    assert listed(browser.text("/?sort=ready&dir=back")) == ["a", "c", "b"]
    assert listed(browser.text("/?sort=queue")) == ["a", "b", "c"]
    for column in queues.COLUMNS:
        assert sorted(listed(browser.text(f"/?sort={column.name}"))) == ["a", "b", "c"]
    assert listed(browser.text("/?sort=<script>")) == ["c", "a", "b"]


def test_one_finds_queues_by_a_part_of_their_names(web, push):
    """What is not printable is searched as it is shown."""
    for name in ("mail", "Email", "thumbs", b"raw\xff"):
        push(name)
    browser = web()
    assert sorted(listed(browser.text("/?q=MAIL"))) == ["Email", "mail"]
    assert listed(browser.text("/?q=raw\\udcff")) == ["raw\\xff"]
    assert "No queue has such a name." in browser.text("/?q=none")
    assert 'value="&#34;&gt;&lt;b&gt;"' in browser.text('/?q="><b>')


def test_a_page_of_the_table_has_a_limited_number_of_rows(web, push, monkeypatch):
    """The others are a link away."""
    monkeypatch.setattr(queues, "ROWS", 2)
    for name in "abcde":
        push(name)
    browser = web()
    html = browser.text("/?sort=queue")
    assert listed(html) == ["a", "b"] and 'href="/?sort=queue&amp;page=2"' in html
    assert (
        listed(browser.text("/?sort=queue&page=3")) == listed(browser.text("/?sort=queue&page=99")) == ["e"]
    )
    for page in ("0", "x", "-1", "1e9", "9" * 30):
        assert browser.get(f"/?page={page}").status_code == 400, page


def test_the_shards_of_a_logical_queue_are_one_row(web, client):
    """It leads to all of them together, and to a table of each."""
    with ShardedQueue(client, "orders", shards=4) as queue:
        for _ in range(40):
            queue.push(b"x")
    browser = web()
    html = browser.text("/")
    assert ROW.findall(html) == [("/queue?key=orders&amp;shards=4", "orders")]
    assert '<a class="note shards" href="/?of=orders" title="its shards">×4</a>' in html
    client.execute_command("TASK.PUSH", "orders", "x")
    html = until(browser, "/", 'href="/queue?key=orders"')
    ids = re.findall(r'<tr id="(\w+)"', html)
    assert listed(html) == ["orders", "orders"] and len(set(ids)) == 2
    alone, together = (browser.get(f"/charts/data?key=orders{more}").json() for more in ("", "&shards=4"))
    assert (alone["series"]["ready"][-1], together["series"]["ready"][-1]) == (1, 40)
    each = listed(browser.text("/?of=orders"))
    assert len(each) == 4 and all(name.startswith("orders:{") for name in each)


def test_a_queue_that_may_not_be_read_is_said(web, server, client, push):
    """The rest is shown. So is what else the page's user may not do."""
    push("mail")
    push("secret")
    client.execute_command(
        "ACL", "SETUSER", "page", "on", ">word", "~mail", "+@all", "-config", "-info"
    )  # fmt: skip
    html = web(at=f"redis://page:word@127.0.0.1:{server.port}").text("/")
    assert listed(html) == ["mail"]
    assert "can&#39;t read secret: " in html
    assert "INFO can&#39;t be read" in web(at=f"redis://page:word@127.0.0.1:{server.port}").text("/nodes")


# ---- while the server is away


def test_a_server_that_is_away_is_said_at_once_and_comes_back(web, server, queue):
    """On each page, with the last figures, and without a restart of the page."""
    queue.push(b"x")
    browser = web()
    browser.text("/")
    server.stop()
    html = until(browser, "/", "The server doesn&#39;t answer")
    assert listed(html) == ["mail"] and "The figures are of <time" in html
    assert "doesn&#39;t answer" in browser.text("/nodes") and "doesn&#39;t answer" in browser.text("/charts")
    assert browser.get("/health").status_code == 503
    page = browser.get("/queue?key=mail")
    assert page.status_code == 503 and "<h1>The server doesn&#39;t answer</h1>" in page.text
    assert '<meta http-equiv="refresh" content="5">' in page.text
    server.start()
    wait_until(lambda: browser.get("/health").status_code == 200, "the page has noticed")
    assert "answer" not in browser.text("/").replace("This page&#39;s own", "").partition('id="gone"')[0]


def test_a_server_that_goes_away_in_the_middle_of_a_look_takes_nothing_along(web, queue, monkeypatch):
    """Its queues were not read, which is not the same as that there are none."""
    queue.push(b"x")
    browser = web()
    good = browser.app.state.site.sampler.snapshot()
    [node] = good.seen.nodes
    cut = Seen(nodes=[node], away=[node.address], primaries=1)
    monkeypatch.setattr(Nodes, "look", lambda self: cut)
    assert listed(until(browser, "/", f"The server doesn&#39;t answer: {node.address}.")) == ["mail"]


def test_a_page_whose_user_lost_its_rights_is_not_well(web, server, client, queue):
    """The last figures stay, and the reason is said."""
    queue.push(b"x")
    client.execute_command("ACL", "SETUSER", "page", "on", ">word", "~*", "+@all")
    browser = web(at=f"redis://page:word@127.0.0.1:{server.port}")
    assert listed(browser.text("/")) == ["mail"] and browser.get("/health").status_code == 200
    client.execute_command("ACL", "SETUSER", "page", "resetkeys", "~none")
    assert listed(until(browser, "/", "The queues can&#39;t be read: ")) == ["mail"]
    assert browser.get("/health").status_code == 503


def test_a_page_starts_while_its_server_is_away(web, server, queue):
    """It shows the queues once the server is there."""
    queue.push(b"x")
    server.stop(save=True)
    browser = web()
    html = browser.text("/")
    assert "The server doesn&#39;t answer" in html and listed(html) == []
    server.start()
    wait_until(lambda: browser.get("/health").status_code == 200, "the page has noticed")


def test_a_wrong_password_of_the_page_is_said(web, server, client):
    """In words, on the page."""
    client.config_set("requirepass", "word")
    html = web(at=f"redis://:wrong@127.0.0.1:{server.port}").text("/")
    assert "The queues can&#39;t be read" in html and "wrong@" not in html


def test_a_client_that_does_not_fit_is_refused(server):
    """At once, not with the first request."""
    with pytest.raises(TypeError):
        create_app(redis.asyncio.Redis(port=server.port))
    with pytest.raises(ValueError):
        create_app("http://127.0.0.1")


# ---- live


def request_for(site, path, user=""):
    """A request of a browser, without one."""
    path, _, query = path.partition("?")
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": query.encode(),
        "headers": [(b"x-user", user.encode())],
    }
    return Request({**scope, "session": {}, "taskslot.site": site})


def test_an_open_page_follows_its_queues(web, queue):
    """It gets the parts that change, for as long as it is open and may be read."""
    queue.push(b"x")
    site: Site = web(read=Read.by_header("x-user")).app.state.site
    request = request_for(site, "/live?view=queues", user="ann")

    async def read():
        stream = changes(site, request, site.views["queues"], Viewer())
        first = {}
        while "rows" not in first:
            event = await anext(stream)
            first[event.event] = event.data
        await asyncio.to_thread(queue.pause)
        async for event in stream:
            if event.event == "rows" and "claims" in event.data:
                break
        site.rights.read = Read.by_header("x-user", users={"bob"})
        async for _ in stream:
            pass
        return json.loads(first["rows"])

    first = asyncio.run(asyncio.wait_for(read(), 20))
    assert first["order"] == list(first["rows"]) and "mail" in first["rows"][first["order"][0]]
    assert not site.sampler._listeners


def test_viewers_share_what_is_made_but_no_forms(web, queue):
    """Who may change things gets forms with the token of the own session. Others share one text."""
    queue.push(b"x")
    site: Site = web(write=True).app.state.site
    snapshot, made = site.sampler.snapshot(), []

    def view(request, snapshot):
        made.append(request.session.get("csrf"))
        return {}

    def ask(path, csrf="", may_write=False):
        request = request_for(site, path)
        request.session["csrf"] = csrf
        request.scope["taskslot.visitor"] = Visitor(may_read=True, may_write=may_write)
        parts.of(request, view, snapshot)

    parts = Parts()
    for _ in range(2):
        ask("/live?view=a", csrf="1")
        ask("/live?view=a", csrf="2")
        ask("/live?view=b", csrf="3")
        ask("/live?view=a", csrf="4", may_write=True)
        ask("/live?view=a", csrf="5", may_write=True)
    assert made == ["1", "3", "4", "5"]


def test_rows_that_stay_the_same_are_not_sent_again():
    """The order of all is. A part that is no table is sent as a whole."""
    before, now = {"a": "1", "b": "2", "c": "3"}, {"b": "2", "c": "4", "d": "5"}
    assert json.loads(change(before, now)) == {"order": ["b", "c", "d"], "rows": {"c": "4", "d": "5"}}
    assert json.loads(change(None, now))["rows"] == now
    assert change("<p>a", "<p>b") == "<p>b"


def test_the_load_of_the_server_does_not_grow_with_viewers(web, server, queue):
    """Many requests and open pages share one look."""
    queue.push(b"x")
    browser = web()
    browser.text("/")
    site = browser.app.state.site
    site.sampler.stop()
    before = server.client().info("commandstats")
    for _ in range(20):
        browser.text("/")
        browser.text("/nodes")
    after = server.client().info("commandstats")
    assert after["cmdstat_TASK.INFO"]["calls"] <= before["cmdstat_TASK.INFO"]["calls"] + 1


def test_an_unknown_view_is_not_there(web):
    """It is no page either."""
    assert web().get("/live?view=x").status_code == 404


# ---- nodes


def test_the_nodes_are_shown_with_what_they_say(web, start, server, queue):
    """A primary with its replica, and a warning as the text that the server gives."""
    queue.push(b"x")
    replica = start(port=True, replicaof=f"127.0.0.1 {server.port}")
    wait_until(lambda: replica.client().info("replication")["master_link_status"] == "up", "it is linked")
    browser = web()
    html = until(browser, "/nodes", f'127.0.0.1:{replica.port} <span class="">online</span>')
    assert f'<h2 id="n1-name">127.0.0.1:{server.port}</h2>' in html
    assert "1 found, 1 in memory" in html and "due work is late by" in html
    server.client().config_set("maxmemory-policy", "allkeys-lru")
    until(browser, "/nodes", "maxmemory-policy allkeys-* evicts whole queues")


def test_the_shards_of_a_queue_are_counted_by_node():
    """A queue whose shards are spread unevenly comes first."""
    seen = Seen()
    for queue, places in (("even", "abab"), ("uneven", "aaab")):
        for key, place in zip(names(queue, 4), places, strict=True):
            seen.infos[key], seen.places[key] = None, place
    found = nodes.spreads(seen, ["a", "b"])
    assert [(one.queue, one.shards, list(one.by_node)) for one in found] == [
        ("uneven", 4, [3, 1]),
        ("even", 4, [2, 2]),
    ]


# ---- charts and marks


def test_the_charts_have_what_the_page_has_seen(web, queue):
    """Of all queues together and of one, in two spans; what is unknown is null."""
    queue.push(b"x")
    browser = web()
    browser.text("/charts")
    for path in ("/charts/data", "/charts/data?key=mail&span=24h"):
        found = browser.get(path).json()
        assert {len(line) for line in found["series"].values()} == {len(found["times"])}
        assert found["series"]["ready"][-1] == 1 and found["series"]["ready"][0] is None
    assert set(browser.get("/charts/data?key=none").json()["series"]["ready"]) == {None}
    assert "As a table" in browser.text("/charts?key=mail")
    assert (
        browser.get("/charts?span=1y").status_code == browser.get("/charts/data?span=1y").status_code == 400
    )


def test_a_deploy_leaves_a_mark_by_its_token(web):
    """On a page that is read-only too. Without the token it is refused, and GET never marks."""
    browser = web(marks_token="of the deploy")
    site = browser.app.state.site
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Bearer "}):
        assert browser.client.post("/marks", data={"text": "x"}, headers=headers).status_code == 403
    assert browser.get("/marks?text=x").status_code == 405
    assert site.history.marks() == []
    for headers in ({"authorization": "Bearer "}, {"authorization": "Bearer"}):
        assert web().client.post("/marks", data={"text": "x"}, headers=headers).status_code == 403
    headers = {"authorization": "Bearer of the deploy"}
    for text, status in (("<b>1.4</b>\x1b", 201), ("", 400), ("x" * 201, 400)):
        assert browser.client.post("/marks", data={"text": text}, headers=headers).status_code == status
    assert "&lt;b&gt;1.4&lt;/b&gt;\\x1b" in browser.text("/charts")
    assert [mark["text"] for mark in browser.get("/charts/data?span=24h").json()["marks"]] == [
        "<b>1.4</b>\\x1b"
    ]


def test_a_wrong_token_for_marks_is_said_to_be_wrong(web):
    """And where there is none, how to give one."""
    sent = {"headers": {"authorization": "Bearer wrong"}, "data": {"text": "x"}}
    for write in (True, False):
        wrong = web(marks_token="right", write=write).client.post("/marks", **sent).text
        assert "The token is not the one in TASKSLOT_WEB_MARKS_TOKEN" in wrong
        assert (
            "started without TASKSLOT_WEB_MARKS_TOKEN" in web(write=write).client.post("/marks", **sent).text
        )


@pytest.mark.parametrize("sent", [{}, {"authorization": "Basic YW5uOng="}])
def test_a_person_s_mark_is_logged_and_leads_back_to_the_charts(server, caplog, sent):
    """Also behind a proxy that passes on with which password it was asked."""
    caplog.set_level("INFO", "taskslot.web.audit")
    app = create_app(f"redis://127.0.0.1:{server.port}", write=Write.by_header("X-User"))
    answer = FormClient(app, headers={"X-User": "ann", **sent}).post("/marks", {"text": "deploy 1"})
    app.state.site.close()
    assert (answer.status_code, answer.headers.get("location")) == (303, "/charts")
    assert "'ann' left the mark 'deploy 1'" in caplog.messages


# ---- links and texts


def test_what_was_refused_does_not_look_like_what_was_done():
    """Each tone of a message has a border of its own."""
    sheet = (HERE / "static/app.css").read_text(encoding="utf-8")
    borders = {
        tone: re.search(rf"\.said\.{tone} .*border-color: ([^;]+);", sheet) for tone in ("nothing", "failed")
    }
    assert get_args(Tone) == ("done", *borders)
    assert borders["nothing"][1] != borders["failed"][1] != "var(--good)"


@pytest.mark.parametrize("key", [*HOSTILE, "\udcff\udc80", "%ff", "+ +", "ü", "", "a=b;c"])
def test_a_link_keeps_every_byte(key):
    """What is read from it is what was put in."""
    link = Links("/below")("/queue", key=key, state=None, count=3)
    assert link.startswith("/below/queue?key=") and re.fullmatch(r"[\x21-\x7e]+", link)
    assert decoded(link.partition("?")[2].encode()) == {"key": key, "count": "3"}


def test_text_that_could_mislead_is_escaped():
    """Directions, controls and stray bytes are; letters, line ends and tabs are not."""
    assert legible("a\u202eb\x00\udcff\u200b\ud800") == "a\\u202eb\\x00\\xff\\u200b\\ud800"
    assert legible("Grüße, 世界 🎉\n\tx") == "Grüße, 世界 🎉\n\tx"


def test_a_browser_without_a_page_gets_words(web):
    """An unknown path is a page for a browser, and a line for a program."""
    browser = web()
    assert "<h1>Not there</h1>" in browser.get("/nope").text
    assert browser.get("/nope", headers={"accept": "*/*"}).text == "Not there\n"
