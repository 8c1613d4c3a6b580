"""The page of a queue, on real servers: lists, search, paging, tabs, hostile names, few rights, shards."""

import re
from html import unescape
from html.parser import HTMLParser
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
import redis
from harness.web import path_of
from starlette.requests import Request
from taskslot import Queue, ShardedQueue, call
from taskslot.shards import names
from taskslot.web.queue.lens import MOST_EXAMINED, NAMED_ROWS, ROWS

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"' {{7*7}} \u202eevil\x1b[31m\u2028"
ALLOWED = {
    "html", "head", "meta", "title", "link", "script", "body", "a", "header", "nav", "div", "form", "input", "button",
    "main", "h1", "h2", "h3", "p", "ul", "li", "ol", "details", "summary", "dl", "dt", "dd", "span", "section", "label",
    "select", "option", "table", "thead", "tbody", "tr", "th", "td", "time", "footer", "pre", "code", "progress", "br",
    "strong",
}  # fmt: skip


class Page(HTMLParser):
    """A page as a browser reads it: the links with their texts, and everything that can be a script."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: dict[str, str] = {}
        self.tags: set[str] = set()
        self.handlers: list[str] = []
        self.fields: dict[str, str] = {}
        self._link = ""
        self.html = html
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        """Note a tag and its attributes."""
        given = dict(attrs)
        self.tags.add(tag)
        self.handlers += [name for name in given if name.startswith(("on", "style", "srcdoc"))]
        if tag == "a":
            self._link = given.get("href", "")
        if tag == "input" and given.get("name"):
            self.fields[given["name"]] = given.get("value", "")

    def handle_data(self, data):
        """Note the text of a link; of two links to one page, the last one's."""
        if self._link:
            self.links[self._link] = data.strip()
            self._link = ""

    @property
    def text(self) -> str:
        """What is shown, on one line."""
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", self.html)).split())

    def ids(self) -> list[str]:
        """The tasks that are listed, in order."""
        return re.findall(r'<th scope="row"><a class="id"[^>]*>([^<]+)</a>', self.html)

    def link(self, text: str) -> str:
        """Where the link with this text leads."""
        return next(href for href, of in self.links.items() if of.startswith(text))

    def is_harmless(self) -> bool:
        """Whether the page has only the elements of its own templates, and nothing that changes how a line looks."""
        shown = all(letter.isprintable() or letter in "\n\t" for letter in self.html)
        return self.tags <= ALLOWED and not self.handlers and shown


def read(browser, path: str, **query) -> Page:
    """A page that must be there."""
    return Page(browser.text(path_of(path, **query)))


def walk(browser, page: Page, text: str = "Next page") -> list[str]:
    """The tasks of this page and of all that follow it."""
    ids = page.ids()
    while any(of.startswith(text) for of in page.links.values()):
        page = Page(browser.text(page.link(text)))
        ids += page.ids()
    return ids


def lists(client) -> int:
    """How many TASK.LISTs the server got."""
    return {name.lower(): of["calls"] for name, of in client.info("commandstats").items()}[
        "cmdstat_task.list"
    ]


def in_each_state(queue) -> dict[str, str]:
    """A task in each state, by state."""
    queue.configure(retain=60_000)
    made = {}
    for state in ("done", "dead", "leased"):
        made[state] = queue.push(call("mail.send", state), headers={"kind": state}, group="g")
        task = queue.claim(worker=f"worker-{state}", lease_ms=60_000)[0]
        if state == "done":
            queue.ack(task, result=b"sent")
        elif state == "dead":
            queue.fail(task, "ValueError: no such user", dead=True)
        else:
            queue.extend(task, progress="half")
    made["ready"] = queue.push(call("mail.send", "ready"))
    made["delayed"] = queue.push(call("mail.send", "delayed"), delay_ms=60_000)
    made["held"] = queue.push(call("mail.send", "held"), after=[made["ready"]])
    return made


OWN_WORDS = {
    "ready": "ready since", "delayed": "due", "held": "waits for", "leased": "worker-leased", "dead": "no such user",
    "done": "sent",
}  # fmt: skip


def test_each_state_has_a_tab_with_its_tasks(web, queue):
    """Each with what is of interest in that state, and a link to the task's page."""
    made = in_each_state(queue)
    browser = web()
    for state, task in made.items():
        page = read(browser, "/queue", key="mail", state=state)
        assert page.ids() == [task] and OWN_WORDS[state] in page.text
        assert f'mail.send("{state}")' in page.text and f"1 to 1 of 1 {state} tasks" in page.text
        assert path_of("/task", key="mail", id=task) in page.links
    assert "1 dead" in page.text and "300" not in page.links  # the concerns are those of `top`


@pytest.mark.parametrize("state", ["ready", "dead"])
def test_a_list_is_read_page_by_page_in_both_orders(web, queue, state):
    """Each task stands there once. Dead ones come newest first, ready ones as they will be claimed."""
    pushed = queue.push_many([f"{n}" for n in range(ROWS * 2 + 7)])
    if state == "dead":
        for task in queue.claim(len(pushed)):
            queue.fail(task, "no", dead=True)
    browser = web()
    first = read(browser, "/queue", key="mail", state=state)
    newest_first = walk(browser, first) == pushed[::-1]
    assert len(first.ids()) == ROWS and newest_first == (state == "dead")
    other = read(browser, "/queue", key="mail", state=state, order="first" if newest_first else "newest")
    assert walk(browser, other) == (pushed if newest_first else pushed[::-1])


def test_tasks_are_found_by_payload_and_by_header(web, queue):
    """The page says how many tasks were looked at."""
    queue.push_many([call("mail.send", n) for n in range(99)])
    found = queue.push(call("mail.send", "bob"), headers={"trace": "t-77"})
    browser = web()
    for filter in ({"match": '*"bob"*'}, {"header": "trace", "header_match": "t-7?"}, {"header": "trace"}):
        page = read(browser, "/queue", key="mail", state="ready", **filter)
        assert page.ids() == [found] and "looked at 100 of 100" in page.text
        assert all(page.fields[name] == value for name, value in filter.items())
    page = read(browser, "/queue", key="mail", match="*alice*")
    assert "No ready tasks found; looked at 100 of 100." in page.text


def test_a_search_in_a_large_queue_is_cut_into_parts(web, queue, client):
    """A page sends a bounded number of commands and reads a bounded number of bytes; a link goes on."""
    for n in range(100):
        queue.push_many([b"x" * 100] * 1000 if n != 77 else [b"x" * 100] * 999 + [b"needle"])
    browser = web()
    browser.text("/queue?key=mail")
    client.config_resetstat()
    page = read(browser, "/queue", key="mail", match="needle")
    assert lists(client) == MOST_EXAMINED / 10_000
    looked = int(re.search(r"looked at about ([\d,]+) of 100,000", page.text)[1].replace(",", ""))
    assert 5_000 < looked < 20_000  # five commands compare 256 KiB each, of tasks of about 110 bytes
    found, pages = [], 0
    while any(of.startswith("Search on") for of in page.links.values()):
        page = Page(browser.text(page.link("Search on")))
        found, pages = found + page.ids(), pages + 1
    assert len(found) == 1 and pages < 20
    client.config_resetstat()
    page = read(browser, "/queue", key="mail")
    assert lists(client) == 1
    assert client.info("stats")["total_net_output_bytes"] < 100_000 and len(page.html) < 100_000


def test_the_leases_of_a_worker_are_found_among_many_others(web, queue):
    """The server looks for them among all leases, so the page says how far it has looked."""
    for _ in range(60):
        queue.push_many([b"x"] * 1000)
        queue.claim(1000, worker="w1", lease_ms=600_000)
    task = queue.push("y")
    queue.claim(worker="w2", lease_ms=600_000)
    browser = web()
    page = read(browser, "/queue", key="mail", state="leased", worker="w2")
    assert "No leased tasks found; looked at about 50,000 of 60,001 tasks in all states." in page.text
    page = Page(browser.text(page.link("Search on")))
    assert page.ids() == [task] and not any(of.startswith("Search on") for of in page.links.values())


def test_long_payloads_do_not_make_a_page_long(web, queue, client):
    """A page reads about a MiB of payloads; tasks after that stand there without theirs."""
    made = queue.push_many([b"a" * 400_000] * 10)
    browser = web()
    browser.text("/queue?key=mail")
    client.config_resetstat()
    page = read(browser, "/queue", key="mail")
    assert page.ids() == made and "long: open the task" in page.text
    assert client.info("stats")["total_net_output_bytes"] < 1_500_000 and len(page.html) < 50_000


def test_a_filter_that_the_server_would_refuse_is_explained(web, queue):
    """Nothing of it is sent."""
    queue.push("a")
    browser = web()
    for query, text in (
        ({"match": "a", "header": "b"}, "not in both"),
        ({"header_match": "b"}, "needs the header"),
        ({"worker": "w"}, "only leased tasks"),
        ({"state": "gone"}, "must be one of"),
        ({"match": "a" * 257}, "more than 256 bytes"),
        ({"at": "7:0"}, "go back to the first page"),
        ({"at": "x"}, "go back to the first page"),
        ({"section": "x"}, "must be one of"),
    ):
        answer = browser.get(path_of("/queue", key="mail", **query))
        assert answer.status_code == 400 and text.lower() in Page(answer.text).text.lower(), query
    assert "invalid cursor" in read(browser, "/queue", key="mail", at="0:nonsense").text
    assert browser.get("/queue").status_code == 400


def test_settings_are_told_with_their_units(web, queue):
    """Once each, and -1 is explained."""
    queue.configure(lease=90_000, max_bytes=1536)
    text = read(web(), "/queue", key="mail", section="settings").text
    assert "lease 90,000 ms (90s) default: 30,000 ms (30s)" in text
    assert "1 to 86400000 ms" in text and "from 0 bytes; -1: no limit" in text and "0 to 100 %" in text
    assert "retain 0 ms default" in text and "max-bytes 1.5 KiB default: no limit" in text


def test_the_tabs_show_groups_workers_schedules_batches_and_settings(web, queue):
    """Each with links to its tasks."""
    queue.set_group("acme", concurrency=3, rate=10)
    queue.pause(group="beta", for_ms=3_600_000)
    queue.push_many(["a", "b"], group="acme")
    queue.push("c", group="beta")
    queue.claim(worker="w1")
    queue.schedule("morning", call("digest", 3), cron="0 7 * * *", tz="Europe/Berlin", group="acme")
    queue.open_batch("import-7", call("report", 7))
    queue.push_many(["row"] * 4, batch="import-7")
    queue.configure(max_len=10)
    browser = web()
    groups = read(browser, "/queue", key="mail", section="groups")
    assert "acme 2 1 1" in groups.text and "beta 1 1 0 pause for 59m" in groups.text
    acme = read(browser, "/queue", key="mail", state="ready", group="acme")
    assert urlsplit(groups.link("acme")).query == "key=mail&state=ready&group=acme" and len(acme.ids()) == 1
    workers = read(browser, "/queue", key="mail", section="workers")
    assert "w1 1" in workers.text and len(Page(browser.text(workers.link("w1"))).ids()) == 1
    schedules = read(browser, "/queue", key="mail", section="schedules")
    assert "0 7 * * * Europe/Berlin" in schedules.text and "digest(3)" in schedules.text
    batches = read(browser, "/queue", key="mail", section="batches")
    assert "import-7 open 0 of 4" in batches.text
    settings = read(browser, "/queue", key="mail", section="settings")
    assert "max-len 10 default: no limit 8 of 10" in settings.text
    for page in (groups, workers, schedules, batches, settings):
        assert page.text.count("Figures") == 1 and page.is_harmless()


def test_groups_are_read_page_by_page(web, queue):
    """Each stands there once."""
    for n in range(NAMED_ROWS * 2 + 5):
        queue.push("a", group=f"g{n:04}")
    browser, found = web(), []
    page = read(browser, "/queue", key="mail", section="groups")
    while True:
        found += re.findall(r">(g\d{4})</a>", page.html)
        if not any(of.startswith("Next page") for of in page.links.values()):
            break
        page = Page(browser.text(page.link("Next page")))
    assert found == [f"g{n:04}" for n in range(NAMED_ROWS * 2 + 5)]


# ---- what others wrote


def test_nothing_that_a_client_wrote_becomes_a_part_of_the_page(web, client):
    """Scripts, quotes, templates, control characters and marks of direction, wherever a client can write."""
    queue = Queue(client, HOSTILE)
    options = {"group": HOSTILE, "headers": {HOSTILE: HOSTILE}, "retain_ms": 60_000}
    queue.configure(errors_kept=3)
    ready, dead, done, leased = queue.push_many([HOSTILE] * 4, **options)
    for task, answer in zip(queue.claim(4, worker=HOSTILE), ("", "dead", "done", "leased"), strict=True):
        if not answer:
            queue.requeue(task)
        elif answer == "dead":
            trace = f"ValueError: {HOSTILE}\nTraceback (most recent call last):\n  {HOSTILE}"
            queue.fail(task, trace, dead=True, progress=HOSTILE)
        elif answer == "done":
            queue.ack(task, result=HOSTILE)
    queue.push(HOSTILE, unique=HOSTILE, delay_ms=60_000)
    queue.schedule(HOSTILE, HOSTILE, every_ms=60_000, group=HOSTILE, headers={HOSTILE: HOSTILE})
    queue.open_batch(HOSTILE, HOSTILE)
    browser, key = web(), HOSTILE.encode()
    pages = [read(browser, "/queue", key=key, state=state) for state in OWN_WORDS]
    pages += [
        read(browser, "/queue", key=key, section=section)
        for section in ("groups", "workers", "schedules", "batches", "settings")
    ]
    pages += [read(browser, "/task", key=key, id=task) for task in (ready, dead, done, leased)]
    pages.append(read(browser, "/queue", key=key, match="*script*", group=HOSTILE))
    pages.append(Page(browser.get(path_of("/queue/find", key=key, id=HOSTILE + "x")).text))
    for page in pages:
        assert page.is_harmless(), (page.tags - ALLOWED, page.handlers)
        assert "{{7*7}}" in page.text or "49" not in page.text
    assert len(pages[0].ids()) == 1 and len(pages[-2].ids()) == 1
    assert Page(browser.text(path_of("/queue/find", key=key, id=HOSTILE))).is_harmless()


@pytest.mark.parametrize("key", [b"a/b?c#d&e=f%g h", b"\xff\xfe\x00", "grüße 🎈".encode(), b"'\"><x", b"%FF"])
def test_a_key_can_hold_any_bytes(web, client, key):
    """Links, the search form and the form that finds a task lead to the same queue. Names of groups too."""
    group = b"g\xff&/"
    task = client.execute_command("TASK.PUSH", key, "hello", "GROUP", group, "UNIQUE", b"u\xff")[0].decode()
    browser = web()
    page = read(browser, "/queue", key=key)
    assert page.ids() == [task]
    for form in (
        read(browser, "/queue", of=page.fields["of"], state="ready"),
        Page(browser.text(page.link(task))),
    ):
        assert task in form.text
    groups = read(browser, "/queue", key=key, section="groups")
    link = next(href for href in groups.links if "group=" in href)
    assert dict(parse_qsl(urlsplit(link).query, encoding="latin-1"))["group"].encode("latin-1") == group
    assert Page(browser.text(link)).ids() == [task]
    found = browser.get(path_of("/queue/find", of=page.fields["of"], id=b"u\xff"))
    assert found.headers["location"] == f"/task?key={quote(key, safe='')}&id={task}"


def test_a_task_is_found_by_id_handle_or_token(web, queue):
    """Otherwise the page says that there is none, and leads back."""
    task = queue.push("a", unique="order 17")
    handle = queue.claim()[0].handle
    browser = web()
    for text in (task, handle, "order 17", f"  {task} "):
        assert (
            browser.get(path_of("/queue/find", key="mail", id=text))
            .headers["location"]
            .endswith(f"id={task}")
        )
    for text in ("1-0", "nonsense", "5/1-0", "x" * 1000):
        answer = browser.get(path_of("/queue/find", key="mail", id=text))
        assert answer.status_code == 404 and "/queue?key=mail" in Page(answer.text).links


# ---- what is away, or not allowed


def test_a_queue_that_was_deleted_meanwhile_is_said_to_be_gone(web, queue, client):
    """Also if the key holds something else by now."""
    queue.push("a")
    browser = web()
    page = read(browser, "/queue", key="mail")
    client.delete("mail")
    for path in (*[href for href in page.links if href.startswith("/queue")], page.link(page.ids()[0])):
        answer = browser.get(path)
        assert answer.status_code == 404 and "/" in Page(answer.text).links
    client.set("mail", "a text")
    answer = browser.get("/queue?key=mail")
    assert answer.status_code == 409 and "text" not in answer.text.partition("<main")[2]


def test_what_the_user_of_the_page_may_not_read_is_said_where_it_would_be(web, server, client, queue):
    """The rest is shown. Without any right to the queue, the page is a 403."""
    task = queue.push("a")
    for name, rights in (
        ("figures", "+task.info +task.help"),
        ("lists", "+task.list +task.help"),
        ("other", "+@all resetkeys ~other"),
    ):
        client.execute_command("ACL", "SETUSER", name, "on", ">secret", "~mail", *rights.split())
    at = "redis://{}:secret@127.0.0.1:" + str(server.port)
    page = read(web(at=at.format("figures")), "/queue", key="mail")
    assert "may not call TASK.LIST" in page.text and "oldest ready" in page.text and not page.ids()
    page = read(web(at=at.format("lists")), "/queue", key="mail")
    assert "may not call TASK.INFO" in page.text and page.ids() == [task]
    answer = web(at=at.format("other")).get("/queue?key=mail")
    assert answer.status_code == 403 and "permission" in answer.text


# ---- shards


def test_the_page_of_a_sharded_queue_adds_up_its_shards(web, client):
    """Lists go shard by shard, and each shard can be looked at alone."""
    with ShardedQueue(client, "orders", shards=4) as queue:
        made = [queue.push(call("order", n), group=f"t{n}", unique=f"u{n}") for n in range(ROWS * 2 + 10)]
        queue.open_batch("b", "report")
        queue.push("row", batch="b")
        queue.schedule("daily", "x", every_ms=86_400_000)
        browser = web()
        page = read(browser, "/queue", key="orders", shards="4")
        ids = walk(browser, page)
        assert f"of {len(made) + 1} ready tasks" in page.text and "shard by shard" in page.text
        assert browser.text(page.link("×4 shards")).count("/queue?key=orders%3A%7B") >= 4
        assert len(ids) == len(made) + 1 and set(made) < set(ids)
        assert set(made) < set(
            walk(browser, read(browser, "/queue", key="orders", shards="4", order="newest"))
        )
        one = read(browser, "/task", key="orders", shards="4", id=made[0])
        assert "order(0)" in one.text and f"shard {made[0][0]}" in one.text
        alone = read(browser, "/queue", key=names("orders", 4)[int(made[0][0])])
        assert made[0][2:] in walk(browser, alone)
        groups = read(browser, "/queue", key="orders", shards="4", section="groups")
        assert f"{len(made)} groups" in groups.text
        batches = read(browser, "/queue", key="orders", shards="4", section="batches")
        assert (
            Page(browser.text(batches.link(str(queue.batch_info("b").callback)))).text.count("batch b") == 1
        )
        assert "daily" in read(browser, "/queue", key="orders", shards="4", section="schedules").text
        for text in (made[3], "u3"):
            found = browser.get(path_of("/queue/find", key="orders", shards="4", id=text))
            assert found.headers["location"] == path_of("/task", key="orders", shards="4", id=made[3])
        assert read(browser, "/queue", key="orders", shards="4", section="workers").is_harmless()
        assert (
            "of the first shard" in read(browser, "/queue", key="orders", shards="4", section="settings").text
        )


def test_an_id_without_a_shard_is_looked_for_on_all_of_them(web, client):
    """Two shards can have tasks of the same bare id: then the page shows both."""
    one, two = names("orders", 2)
    client.execute_command("TASK.PUSH", one, "a", "UNIQUE", "token")
    client.copy(one, two)
    task = client.execute_command("TASK.PUSH", two, "b").decode()
    browser = web()
    for text, ids in (
        (task, {f"1/{task}"}),
        ("token", {f"{shard}/{first_id(client, one)}" for shard in (0, 1)}),
    ):
        answer = browser.get(path_of("/queue/find", key="orders", shards="2", id=text))
        shown = answer.headers.get("location", "") + answer.text
        assert all(path_of("/task", key="orders", shards="2", id=one) in unescape(shown) for one in ids)


def first_id(client, key) -> str:
    """The first ready task of a queue."""
    return next(Queue(client, key).tasks("ready")).id


def test_a_sharded_queue_that_is_not_there_is_a_404(web, client):
    """So is one with a name or a number that no shard can have: a 400."""
    browser = web()
    assert browser.get("/queue?key=orders&shards=4").status_code == 404
    for query in ("key=orders&shards=99999", "key=a{b}&shards=2", "key=orders&shards=x"):
        assert browser.get(f"/queue?{query}").status_code == 400


# ---- live


def test_figures_and_counts_are_live_and_lists_are_not(web, queue):
    """Nothing moves while one reads. The parts are those of the page itself, from what the sampler has seen."""
    queue.push_many(["a", "b"], group="g")
    browser = web()
    html = browser.text("/queue?key=mail&state=dead")
    live = unescape(re.search(r'data-live="([^"]+)"', html)[1])
    scope = {"type": "http", "query_string": live.partition("?")[2].encode(), "root_path": "", "headers": []}
    scope |= {"path": "/live", "session": {}, "taskslot.site": browser.app.state.site}
    site = browser.app.state.site
    parts = site.views["queue"](Request(scope), site.sampler.snapshot())
    assert set(parts) == {"figures", "concerns", "tabs"}
    assert all(f'data-part="{name}"' in html for name in parts)
    assert (
        all(parts[name] in html for name in ("tabs", "concerns"))
        and "<dt>oldest ready</dt>" in parts["figures"]
    )
    assert 'aria-current="page">dead' in parts["tabs"] and "2</span>" in parts["tabs"]


def test_a_server_that_is_away_is_said_at_once(web, queue, server):
    """The page does not wait for it to come back."""
    queue.push("a")
    browser = web()
    browser.text("/queue?key=mail")
    server.kill9()
    answer = browser.get("/queue?key=mail")
    assert answer.status_code == 503 and "can't be reached" in Page(answer.text).text
    server.start()
    with redis.Redis(port=server.port) as client:
        Queue(client, "mail").push("b")
    assert len(read(browser, "/queue", key="mail").ids()) == 1
