"""What the web page changes: each action's effect, its refusals, and races with workers. On real servers."""

import logging
from html import unescape
from re import DOTALL, findall, search, sub

import pytest
from harness.server import wait_until
from harness.web import FormClient, create_app, path_of
from taskslot import Queue, ShardedQueue
from taskslot.web import Write
from taskslot.web.dead import scans as dead_scans
from taskslot.web.queue.queue_keys import QueueKeys

OTHER = "http://evil.example"


@pytest.fixture
def page(web):
    """A browser that has signed in to change things."""
    return web(write=True)


def said(page, answer):
    """What the page says after a change, or beside the form that it refused."""
    if answer.status_code == 422:
        return unescape(search(r'id="refused"[^>]*>(.*?)</p>', answer.text)[1])
    assert answer.status_code == 303, answer.text
    text = page.text(answer.headers["location"])
    found = findall(r'<p class="said \w+" role="status">(.*?)</p>', text)
    assert found, text
    return unescape(found[-1])


def look_anew(page):
    """Have the sampler look once more, and wait until it has."""
    sampler = page.app.state.site.sampler
    before = sampler.snapshot().number
    sampler.look_soon()
    wait_until(lambda: sampler.snapshot().number > before, "it has looked")


def plain(html):
    """The text of a page in one line."""
    return " ".join(unescape(sub(r"<[^>]*>", " ", html.partition("<main")[2])).split())


def of(verb, **query):
    """The link of an action on a task of the queue `mail`."""
    return path_of(f"/do/task/{verb}", key="mail", **query)


# Every route that changes something, with a form that would work.
ROUTES = {
    "/do/task/retry": {"id": "1-0"},
    "/do/task/cancel": {"id": "1-0"},
    "/do/task/remove": {"id": "1-0"},
    "/do/task/set": {"id": "1-0"},
    "/do/queue/pause": {},
    "/do/queue/resume": {},
    "/do/group/pause": {"group": "acme"},
    "/do/group/resume": {"group": "acme"},
    "/do/group/set": {"group": "acme"},
    "/do/group/forget": {"group": "acme"},
    "/do/settings/set": {},
    "/do/settings/reset": {},
    "/do/batch/close": {"batch": "b"},
    "/do/batch/delete": {"batch": "b"},
    "/do/schedule/save": {"schedule": "s"},
    "/do/schedule/run": {"schedule": "s"},
    "/do/schedule/remove": {"schedule": "s"},
    "/do/bulk": {"state": "dead"},
    "/do/job/start": {"id": "x"},
    "/do/job/stop": {"id": "x"},
}


# ---- who may


def test_all_routes_that_change_something_are_known_here(page):
    """So that the next tests are about all of them."""
    paths = {route.path for route in page.app.routes if route.path.startswith("/do/")}
    assert paths == set(ROUTES)


def test_nothing_is_changed_by_a_page_that_is_read_only_nor_without_the_token_nor_from_another_site(
    web, server, queue, client
):
    """All routes, in all the ways in which they are refused; the whole database stays as it is, byte for byte."""
    queue.push("a", group="acme")
    queue.open_batch("b", "callback")
    queue.schedule("s", "x", every_ms=10**9)
    client.config_set("hz", 1)
    before = client.debug_object("mail")["refcount"], client.execute_command("DEBUG", "DIGEST")
    reading, writing = web(), web(write=True)
    stranger = FormClient(writing.app)
    for path, query in ROUTES.items():
        link = path_of(path, key="mail", **query)
        fields = {"do": "retry:all", "way": "out", "concurrency": "0", "every": "5s", "payload": "x"}
        assert reading.post(link, fields).status_code == 403
        assert stranger.post(link, fields).status_code in (401, 403)
        assert writing.post(link, fields, token="wrong").status_code == 403
        data = {"csrf": writing.token(), **fields}
        for headers in ({"origin": OTHER}, {"sec-fetch-site": "cross-site"}, {"origin": "null"}):
            assert writing.client.post(link, data=data, headers=headers).status_code == 403
        assert writing.get(link).status_code == 405
    assert (client.debug_object("mail")["refcount"], client.execute_command("DEBUG", "DIGEST")) == before


def test_a_page_that_is_read_only_has_no_forms_that_change_something(web, queue):
    """Not even hidden ones."""
    (task,) = queue.push_many(["a"])
    queue.fail(queue.claim()[0], "E: x", dead=True)
    for path in ("/dead", path_of("/dead", key="mail"), path_of("/dead", key="mail", error="E: x"), "/jobs"):
        assert "/do/" not in web().text(path)
    assert "/do/bulk" in web(write=True).text("/dead")


def test_the_log_says_who_changed_what_and_shows_no_payload(page, queue, caplog):
    """A line for each change, in which a hostile name can't begin another one."""
    caplog.set_level(logging.INFO, "taskslot.web.audit")
    (task,) = queue.push_many(["secret"], delay_ms=10**6)
    page.post(of("set", id=task), {"state": "delayed", "payload": "other", "payload_was": "x"})
    page.post(of("set", id=task), {"state": "delayed", "priority": "3"})
    page.post(path_of("/do/group/pause", key="mail", group="a\nb"), {"for": "1h\n2m"})
    assert caplog.messages == [
        f"'ann' on 'mail': changed priority of task {task}",
        "'ann' on 'mail': paused group 'a\\nb' for 1h\\n2m",
    ]


def test_a_proxys_user_is_who_it_is_in_the_log(web, queue, caplog):
    """Without a session of its own."""
    caplog.set_level(logging.INFO, "taskslot.web.audit")
    page = web(write=Write.by_header("X-User"))
    page.client.headers["x-user"] = "ben"
    page.post(path_of("/do/queue/pause", key="mail"), {"way": "in"})
    assert caplog.messages == ["'ben' on 'mail': paused pushes until somebody resumes it"]


# ---- one task


def test_a_dead_task_is_retried(page, queue):
    """And the page says so."""
    (task,) = queue.push_many(["a"])
    queue.fail(queue.claim()[0], "E", dead=True)
    answer = page.post(of("retry", id=task), {"state": "dead"})
    assert said(page, answer) == "Retried: it is at the back of the queue."
    assert queue.get(task).state == "ready"


def test_a_delayed_and_a_held_task_run_now(page, queue):
    """A held one waits for nothing any more."""
    delayed = queue.push("a", delay_ms=10**7)
    held = queue.push("b", after=[delayed])
    for task in (delayed, held):
        state = queue.get(task).state
        assert said(page, page.post(of("retry", id=task), {"state": state})) == "It is ready now."
        assert queue.get(task).state == "ready"


def test_a_waiting_task_is_cancelled_and_a_leased_ones_worker_is_asked(page, queue):
    """Two words for two things."""
    first, second = queue.push_many(["a", "b"])
    queue.claim(worker="w1")
    assert "asked to stop" in said(page, page.post(of("cancel", id=first), {"state": "leased"}))
    assert queue.get(first).cancel_asked
    assert said(page, page.post(of("cancel", id=second), {"state": "ready"})).startswith("Cancelled")
    assert queue.get(second) is None


def test_dead_and_done_tasks_are_removed_and_others_are_not(page, queue):
    """A ready task is cancelled, not removed."""
    dead, done, ready = queue.push_many(["a", "b", "c"], retain_ms=10**7)
    queue.fail(queue.claim()[0], "E", dead=True)
    queue.ack(queue.claim()[0])
    for task, state in ((dead, "dead"), (done, "done")):
        assert said(page, page.post(of("remove", id=task), {"state": state})) == f"Task {task} is removed."
        assert queue.get(task) is None
    assert "can't be removed: cancel it" in said(page, page.post(of("remove", id=ready), {"state": "ready"}))
    assert queue.get(ready).state == "ready"


@pytest.mark.parametrize("verb", ["retry", "cancel", "remove", "set"])
def test_a_task_that_was_claimed_meanwhile_is_left_alone(page, queue, verb):
    """The person saw it dead or ready; somebody retried it, and a worker has it now."""
    (task,) = queue.push_many(["a"])
    queue.claim(worker="w7")
    seen = "ready" if verb in ("cancel", "set") else "dead"
    answer = page.post(of(verb, id=task), {"state": seen, "priority": "5"})
    assert said(page, answer) == "It was claimed meanwhile by w7: nothing was changed."
    view = queue.get(task)
    assert (view.state, view.cancel_asked, view.priority) == ("leased", False, 0)


@pytest.mark.parametrize("verb", ["retry", "cancel", "remove", "set"])
def test_a_task_that_is_gone_is_said_to_be_gone(page, queue, verb):
    """The queue's page says it, because the task's can't."""
    (task,) = queue.push_many(["a"])
    queue.push("b")
    queue.cancel(task)
    answer = page.post(of(verb, id=task), {"state": "ready"})
    assert said(page, answer) == (
        f"Task {task}: It has ended and is not kept, or was removed: nothing was changed."
    )


def test_a_dead_task_whose_token_another_one_holds_stays_dead(page, queue):
    """And the reason is said."""
    task = queue.push("a", unique="t")
    queue.fail(queue.claim()[0], "E", dead=True)
    queue.push("b", unique="t")
    answer = page.post(of("retry", id=task), {"state": "dead"})
    assert "another task holds its unique token" in said(page, answer)
    assert queue.get(task).state == "dead"


def test_a_waiting_task_is_changed_in_what_the_form_says_and_nothing_else(page, queue):
    """Due time, priority, group and payload; line ends of browsers are undone."""
    (task,) = queue.push_many(["a\nb"], delay_ms=10**7, priority=2, group="acme")
    text = page.text(path_of("/task", key="mail", id=task))
    was = search(r'name="payload_was" value="([^"]*)"', text)[1]
    form = {"state": "delayed", "priority": "2", "group": "acme", "payload": "a\r\nb", "payload_was": was}
    assert said(page, page.post(of("set", id=task), form)) == "Nothing to change: all is as it was."
    form |= {"delay": "2h 30m", "priority": "-7", "group": "", "payload": "c\r\nd"}
    assert said(page, page.post(of("set", id=task), form)) == "Changed: due time, priority, group, payload."
    view = queue.get(task)
    assert (view.priority, view.group, view.payload) == (-7, None, b"c\nd")
    assert 8_900_000 < view.due - view.enqueued < 9_100_000
    answer = page.post(of("set", id=task), {"state": "delayed", "at": "2030-05-04T12:00"})
    assert said(page, answer) == "Changed: due time."
    assert queue.get(task).due == 1904126400000
    # The payload is not what this form was made of.
    form = {"state": "delayed", "payload": "e", "payload_was": was}
    assert "somebody has changed the payload meanwhile" in said(page, page.post(of("set", id=task), form))
    assert queue.get(task).payload == b"c\nd"


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ({"priority": "128"}, "priority must be from -128 to 127"),
        ({"priority": "1e3"}, "priority must be a whole number"),
        ({"delay": "5"}, "due in must be a span with its unit"),
        ({"delay": "\u0663s"}, "due in must be a span with its unit"),
        ({"delay": "-5s"}, "due in must be a span with its unit"),
        ({"delay": "5s", "at": "2030-01-01T00:00"}, "either a span or an instant"),
        ({"at": "tomorrow"}, "at must be a date and a time in UTC"),
        ({"group": "x" * 300}, "Nothing was changed"),
    ],
)
def test_bad_input_is_said_and_changes_nothing(page, queue, form, why):
    """The text says what would be right."""
    (task,) = queue.push_many(["a"], delay_ms=10**7)
    before = queue.get(task)
    assert why in said(page, page.post(of("set", id=task), {"state": "delayed", **form}))
    assert queue.get(task) == before


def field(html, name):
    """The value of a field in the form that was refused."""
    form = search(r'<details[^>]* open>(?:(?!<details).)*?id="refused".*?</form>', html, DOTALL)[0]
    found = search(
        rf'name="{name}"[^>]*? value="([^"]*)"|name="{name}"[^>]*>\n(.*?)</textarea>', form, DOTALL
    )
    return unescape(found[1] if found[1] is not None else found[2])


def test_a_refused_change_of_a_task_keeps_what_was_typed(page, queue):
    """The form is open and filled, with the reason in it; what is right then is taken."""
    (task,) = queue.push_many(["a"], delay_ms=10**7)
    html = page.text(path_of("/task", key="mail", id=task))
    was = search(r'name="payload_was" value="([^"]*)"', html)[1]
    form = {
        "state": "delayed",
        "priority": "300",
        "group": "<acme>",
        "payload": "b\r\n<c>",
        "payload_was": was,
    }
    form["at"] = "2030-05-04T12:00:00.000Z"
    answer = page.post(of("set", id=task), form)
    assert answer.status_code == 422 and answer.text.count('id="refused"') == 1
    assert "priority must be from -128 to 127" in said(page, answer)
    names = ("priority", "group", "payload", "payload_was", "at")
    assert [field(answer.text, name) for name in names] == [
        "300",
        "<acme>",
        "b\n<c>",
        was,
        "2030-05-04T12:00",
    ]
    assert "<acme>" not in answer.text
    assert said(page, page.post(of("set", id=task), form | {"priority": "3"})).startswith("Changed: ")
    assert "refused" not in page.text(path_of("/task", key="mail", id=task))


def test_a_refused_schedule_keeps_what_was_typed(page, queue):
    """A new one, and one of several that is edited: the others' forms are as they were."""
    for name in ("a", "b"):
        queue.schedule(name, "x", every_ms=10**9)
    query = {"key": "mail", "section": "schedules"}
    form = {"name": "night", "cron": "99 * * * *", "tz": "Europe/Berlin", "payload": "hello"}
    html = page.post(path_of("/do/schedule/save", **query), form).text
    assert [field(html, name) for name in form] == list(form.values())
    link = path_of("/do/schedule/save", key="mail", schedule="b", section="schedules")
    html = page.post(link, {"every": "soon", "catchup": "none", "payload": "y"}).text
    assert field(html, "every") == "soon"
    assert html.count('value="soon"') == html.count('<option value="none" selected>') == 1
    assert html.count('<details class="confirm" open>') == 1


def test_refused_settings_keep_what_was_typed_and_what_it_was_typed_over(page, queue):
    """Else a second try would undo what somebody else has changed meanwhile."""
    queue.configure(attempts=7)
    link = path_of("/do/settings/set", key="mail", section="settings")
    form = {"lease": "soon", "was.lease": "30000", "attempts": "25", "was.attempts": "25"}
    html = page.post(link, form).text
    assert [field(html, name) for name in form] == list(form.values())
    page.post(link, form | {"lease": "5000"})
    assert (queue.settings().lease, queue.settings().attempts) == (5000, 7)


def test_what_was_refused_where_there_is_no_such_form_is_said_on_the_page(page, queue):
    """The task of an old page may be leased by now, and has no form then."""
    (task,) = queue.push_many(["a"])
    queue.claim()
    answer = page.post(of("retry", id=task), {"state": "leased"})
    assert answer.status_code == 303
    assert "can't be retried" in said(page, answer)


@pytest.mark.parametrize("payload", [b"\xff\x00", b"a\r\nb", b"x\x1b[31m", b"y" * 70_000])
def test_a_payload_that_a_form_cannot_hold_is_not_edited(page, queue, payload):
    """It would come back as other bytes."""
    (task,) = queue.push_many([payload], delay_ms=10**7)
    text = page.text(path_of("/task", key="mail", id=task))
    assert "<textarea" not in text
    assert "can't be edited here" in text
    page.post(of("set", id=task), {"state": "delayed", "priority": "1"})
    assert queue.get(task).payload == payload


# ---- a queue


def test_a_queue_is_paused_and_resumed(page, queue):
    """Claims, pushes or both; for a time, or until somebody resumes it."""
    pause, resume = path_of("/do/queue/pause", key="mail"), path_of("/do/queue/resume", key="mail")
    assert said(page, page.post(pause, {"way": "out", "for": "1h"})) == "Paused: claims, for 1h."
    assert 3_500_000 < queue.info().paused_out <= 3_600_000
    page.post(pause, {"way": "all"})
    assert (queue.info().paused_in, queue.info().paused_out) == (-1, -1)
    assert said(page, page.post(resume, {"way": "in"})) == "Resumed: pushes."
    assert (queue.info().paused_in, queue.info().paused_out) == (0, -1)
    assert "choose what to pause: claims, pushes" in said(page, page.post(pause, {"way": "sideways"}))


def test_settings_are_changed_where_the_form_differs(page, queue):
    """Others may have changed the rest meanwhile. A value out of bounds changes nothing at all."""
    queue.configure(attempts=7, max_len=100)
    link = path_of("/do/settings/set", key="mail")
    form = {"lease": "5000", "was.lease": "30000", "attempts": "25", "was.attempts": "25"}
    assert said(page, page.post(link, form)) == "Set: lease 5000."
    assert (queue.settings().lease, queue.settings().attempts) == (5000, 7)
    form = {"lease": "6000", "was.lease": "5000", "backoff_jitter": "101", "was.backoff_jitter": "10"}
    assert said(page, page.post(link, form)).startswith("Nothing was changed: ")
    assert queue.settings().lease == 5000
    form = {"lease": "soon", "was.lease": "5000"}
    assert "lease must be a whole number" in said(page, page.post(link, form))
    reset = path_of("/do/settings/reset", key="mail", setting="max-len")
    assert said(page, page.post(reset)) == "max-len has its default now."
    assert (queue.settings().max_len, queue.settings().attempts) == (-1, 7)
    page.post(path_of("/do/settings/reset", key="mail"))
    assert queue.settings().attempts == 25


def test_the_settings_form_has_all_settings_with_their_values(page, queue):
    """What it sends back unchanged changes nothing."""
    queue.configure(backoff="linear", lease=1234)
    text = page.text(path_of("/queue", key="mail", section="settings"))
    assert 'value="1234"' in text
    assert "<option selected>linear</option>" in text
    assert text.count('name="was.') == 23


def test_a_group_is_paused_limited_and_forgotten(page, queue):
    """Its link names it with any bytes."""
    name = b"acme/\xff &?"
    queue.push("a", group=name)

    def group():
        return queue.groups()[0]

    def to(verb):
        return path_of(f"/do/group/{verb}", key="mail", group=name)

    page.post(to("pause"), {"for": "10m"})
    assert 500_000 < group().paused_ms <= 600_000
    page.post(to("resume"))
    assert group().paused_ms == 0
    answer = page.post(to("set"), {"weight": "3", "concurrency": "2", "rate": "5", "per": "1m"})
    assert "weight 3, concurrency 2, rate 5, per_ms 60000" in said(page, answer)
    assert (group().weight, group().concurrency, group().rate_per, group().ordered) == (3, 2, 60_000, False)
    page.post(to("set"), {"ordered": "yes"})
    assert (group().weight, group().ordered) == (3, True)
    assert "at least one value" in said(page, page.post(to("set"), {}))
    assert "rate together" in said(page, page.post(to("set"), {"per": "1m"}))
    page.post(to("forget"))
    assert group().weight == 1
    assert "no weight or limits of its own" in said(page, page.post(to("forget")))


def test_a_batch_is_closed_and_removed(page, queue):
    """The answer tells a batch that is gone from one that was closed before."""
    queue.open_batch("b", "callback")
    close, delete = (path_of(f"/do/batch/{verb}", key="mail", batch="b") for verb in ("close", "delete"))
    queue.push("a", batch="b")
    assert "is closed" in said(page, page.post(close))
    assert queue.batch_info("b").state == "closed"
    assert "was closed before" in said(page, page.post(close))
    assert "callback are removed" in said(page, page.post(delete))
    assert queue.batch_info("b") is None
    assert "no batch b any more" in said(page, page.post(delete))


def test_a_schedule_is_added_changed_run_and_removed(page, queue):
    """An edit keeps what the form can't hold: the headers, and how long a token is held."""
    add = path_of("/do/schedule/save", key="mail")
    form = {"name": "beat", "every": "5m", "payload": "x", "priority": "0", "catchup": "none"}
    assert said(page, page.post(add, form)) == "Schedule beat is added."
    assert "there is a schedule beat" in said(page, page.post(add, form))
    queue.schedule("beat", "x", every_ms=300_000, headers={"a": "b"}, unique="t", for_ms=999_999, keep=True)
    save, run, remove = (
        path_of(f"/do/schedule/{verb}", key="mail", schedule="beat") for verb in ("save", "run", "remove")
    )
    text = page.text(path_of("/queue", key="mail", section="schedules"))
    was = [one for one in text.split('name="payload_was" value="')[1:]][-1].partition('"')[0]
    form = {"cron": "30 2 * * *", "tz": "Europe/Berlin", "payload": "y\r\nz", "payload_was": was}
    form |= {"unique": "t", "lease": "90s", "attempts": "-1", "group": "acme"}
    assert said(page, page.post(save, form)) == "Schedule beat is changed."
    (made,) = queue.schedules()
    assert (made.cron, made.tz, made.every, made.payload) == ("30 2 * * *", "Europe/Berlin", None, b"y\nz")
    assert (made.headers, made.unique_hold, made.unique_for) == ({"a": b"b"}, "keep", 999_999)
    assert (made.lease_ms, made.attempts, made.group, made.catchup) == (90_000, -1, "acme", "one")
    for bad, why in (
        ({"every": "5m"}, "either an interval or a cron"),
        ({"cron": "61 * * * *"}, "five fields"),
        ({"tz": "Mars/Olympus"}, "name of a time zone"),
        ({"payload_was": "stale", "payload": "q"}, "changed the payload meanwhile"),
    ):
        assert why in said(page, page.post(save, {**form, **bad}))
    assert (queue.schedules()[0].cron, queue.schedules()[0].payload) == ("30 2 * * *", b"y\nz")
    assert "has pushed task" in said(page, page.post(run))
    assert queue.len("ready") == 1
    assert "another task holds the token" in said(page, page.post(run))
    assert "is removed" in said(page, page.post(remove))
    assert "any more" in said(page, page.post(remove))
    assert "somebody has removed" in said(page, page.post(save, form))


def test_a_sharded_queue_is_changed_on_all_shards(page, client):
    """Pause and settings go to all, schedules to the first, a task to its own."""
    queue = ShardedQueue(client, "orders", shards=4)
    (task,) = queue.push_many(["a"], delay_ms=10**7)
    page.post(path_of("/do/queue/pause", key="orders", shards="4"), {"way": "in"})
    assert [info.paused_in for info in queue.infos().values()] == [-1] * 4
    page.post(path_of("/do/settings/set", key="orders", shards="4"), {"lease": "5000", "was.lease": "1"})
    assert [one.settings().lease for one in queue.queues] == [5000] * 4
    page.post(path_of("/do/queue/resume", key="orders", shards="4"), {"way": "in"})
    answer = page.post(path_of("/do/task/retry", key="orders", shards="4", id=task), {"state": "delayed"})
    assert said(page, answer) == "It is ready now."
    assert queue.get(task).state == "ready"
    form = {"name": "s", "every": "1h", "payload": "x"}
    page.post(path_of("/do/schedule/save", key="orders", shards="4"), form)
    assert [one.name for one in queue.schedules()] == ["s"]


def test_a_refusal_for_a_lack_of_rights_is_said_in_words(web, server, client, queue):
    """The page's own user on the server may not do it."""
    queue.push("a")
    client.execute_command("ACL", "SETUSER", "few", "on", ">pw", "~*", "+@all", "-task.pause")
    page = web(write=True, at=f"redis://few:pw@127.0.0.1:{server.port}")
    text = said(page, page.post(path_of("/do/queue/pause", key="mail"), {"way": "out"}))
    assert "may not call TASK.PAUSE" in text
    assert queue.info().paused_out == 0


def test_no_connection_outlives_the_page(server, client, queue):
    """Those of changes neither."""
    queue.push("a")
    before = len(client.client_list())
    app = create_app(f"redis://127.0.0.1:{server.port}", write=Write.by_header("X-User"))
    page = FormClient(app, headers={"X-User": "ann"})
    assert page.get("/queue?key=mail").status_code == 200
    assert said(page, page.post("/do/queue/pause?key=mail", {"way": "out"})).startswith("Paused")
    assert len(client.client_list()) > before
    app.state.site.close()
    wait_until(lambda: len(client.client_list()) <= before, "all connections are closed")


def test_while_the_server_is_away_the_answer_says_that_it_is_not_known(page, server, queue):
    """A change is not sent twice by the page."""
    queue.push("a")
    page.text("/")
    server.stop()
    answer = page.post(path_of("/do/queue/pause", key="mail"), {"way": "out"})
    assert answer.status_code == 503
    assert "Look whether it was done" in answer.text


# ---- bulk


def job_link(page, answer):
    """The link of the job that a form made."""
    assert answer.status_code == 303, answer.text
    link = answer.headers["location"]
    assert link.startswith("/job?"), said(page, answer)
    return link


def test_dead_tasks_of_one_error_are_found_retried_and_gone(page, queue, monkeypatch):
    """An operator's way: the groups, these, how many, yes, the end; all of it without a script."""
    monkeypatch.setattr(dead_scans, "OLD_S", 10**6)
    for number in range(30):
        queue.push(f"{number}")
        error = f"KeyError: 'k{number}'\nTraceback" if number % 3 else f"OSError: no host {number}"
        queue.fail(queue.claim()[0], error, dead=True)
    look_anew(page)
    wait_until(lambda: "All 30" in plain(page.text("/dead")), "it has been looked at")
    text = page.text("/dead")
    assert "KeyError: '…'" in unescape(text)
    link = unescape(search(r'action="(/do/bulk[^"]*KeyError[^"]*)"', text)[1])
    job = job_link(page, page.post(link, {"do": "retry:all"}))
    assert "20 tasks will be retried" in plain(page.text(job))
    assert queue.len("dead") == 30
    answer = page.post(job.replace("/job?", "/do/job/start?"))
    assert answer.status_code == 303
    wait_until(lambda: "20 retried" in plain(page.text(job)), "it is done")
    assert (queue.len("dead"), queue.len("ready")) == (10, 20)
    wait_until(lambda: "KeyError" not in page.text("/dead"), "the page of all queues knows it")
    assert "OSError" in page.text("/dead")


def test_selected_tasks_are_removed_after_a_yes_and_not_after_a_no(page, queue):
    """The rows of a list, by their boxes."""
    ids = queue.push_many(["a"] * 5)
    queue.fail_many(queue.claim(5), "E", dead=True)
    link = path_of("/do/bulk", key="mail", state="dead")
    chosen = {"do": "remove:selected", "id": [ids[0], ids[3]]}
    job = job_link(page, page.post(link, chosen))
    page.post(job.replace("/job?", "/do/job/stop?"))
    assert "stopped" in plain(page.text(job))
    job = job_link(page, page.post(link, chosen))
    assert "2 tasks will be removed, for good" in plain(page.text(job))
    page.post(job.replace("/job?", "/do/job/start?"))
    wait_until(lambda: "2 removed" in plain(page.text(job)), "it is done")
    assert {task.id for task in queue.tasks("dead")} == {ids[1], ids[2], ids[4]}


@pytest.mark.parametrize(
    ("query", "fields", "why"),
    [
        ({"state": "dead"}, {"do": "retry:selected"}, "select some tasks first"),
        ({"state": "dead"}, {"do": "cancel:all"}, "can't be changed by 'cancel'"),
        ({"state": "dead"}, {"do": "retry"}, "choose what to do"),
        ({"state": "dead"}, {}, "can't be changed by ''"),
        ({"state": "dead", "match": "a", "header": "b"}, {"do": "retry:all"}, "not in both"),
    ],
)
def test_a_form_that_asks_for_no_job_is_said_to(page, queue, query, fields, why):
    """On the list from which it came."""
    queue.push("a")
    answer = page.post(path_of("/do/bulk", key="mail", **query), fields)
    assert answer.status_code in (303, 400)
    assert why in (said(page, answer) if answer.status_code == 303 else unescape(answer.text))


def test_a_state_is_emptied_after_a_yes(page, queue):
    """The page of the queue has the button."""
    queue.push_many(["a"] * 700)
    job = job_link(page, page.post(path_of("/do/bulk", key="mail", state="ready"), {"do": "purge:all"}))
    assert "700 tasks will be removed, for good" in plain(page.text(job))
    page.post(job.replace("/job?", "/do/job/start?"))
    wait_until(lambda: "700 removed" in plain(page.text(job)), "it is done")
    assert queue.len() == 0


def test_a_job_that_is_forgotten_is_a_404_that_says_so(page):
    """Jobs end with the process."""
    for answer in (page.get("/job?id=x"), page.post("/do/job/start?id=x"), page.post("/do/job/stop?id=x")):
        assert answer.status_code == 404
        assert "no such job any more" in answer.text


# ---- dead tasks by error


def test_dead_tasks_of_all_queues_are_grouped_with_shards_together(page, client, queue):
    """Each queue with its groups, the one with most dead tasks first."""
    orders = ShardedQueue(client, "orders", shards=4)
    for one, number in ((queue, 3), (orders, 8)):
        one.push_many(["a"] * number)
        for task in one.claim(10):
            one.fail(task, f"ValueError: no {task.id}", dead=True)
    look_anew(page)
    wait_until(lambda: "All 8" in plain(page.text("/dead")), "it has been looked at")
    text = plain(page.text("/dead"))
    assert text.index("orders") < text.index("mail")
    assert "All 8" in text
    assert "All 3" in text
    assert search(r'href="/task\?id=[0-3]%2F\d+-\d+&amp;key=orders&amp;shards=[1-4]"', page.text("/dead"))
    link = unescape(search(r'href="(/dead\?[^"]*error=[^"]*key=orders[^"]*)"', page.text("/dead"))[1])
    assert page.text(link).count('name="id"') == 8


def test_a_look_is_bounded_and_goes_further_when_asked(page, queue, monkeypatch):
    """The newest tasks first; what was looked at is said."""
    for error, number in (("Old: x", 700), ("New: x", 1300)):
        queue.push_many(["a"] * number)
        while tasks := queue.claim(1000):
            queue.fail_many(tasks, error, dead=True)
    first = path_of("/dead", key="mail", look="1300")
    wait_until(lambda: "The newest 1,300 of 2,000" in plain(page.text(first)), "it has been looked at")
    text = page.text(first)
    assert "Old: x" not in text
    further = unescape(search(r'href="([^"]*look=[^"]*)"', text)[1])
    wait_until(lambda: "All 2,000" in plain(page.text(further)), "it has been looked at")
    assert "700 Old: x" in plain(page.text(further))


def test_the_reading_of_dead_tasks_is_bounded_however_often_it_is_asked_for(page, client, monkeypatch):
    """Those that would be one too many say so, and the next look is as good as ever."""
    scans = dead_scans.DeadScans(client)
    monkeypatch.setattr(dead_scans, "MOST_STARTED", 3)
    for _ in range(dead_scans.MOST_ACTIVE):
        scans._slots.acquire()
    made = [scans.look(QueueKeys(f"q{number}"), wait_s=0) for number in range(5)]
    assert [bool(scan.error) for scan in made] == [False, False, False, True, True]
    assert scans.look(made[0].queue, wait_s=0) is made[0]
    further = scans.look(made[4].queue, 20_000, wait_s=0)
    assert further.error
    for _ in range(dead_scans.MOST_ACTIVE):
        scans._slots.release()
    assert all(scan.ended.wait(20) for scan in made)
    wait_until(lambda: not scans.look(made[4].queue, wait_s=1).error, "there is room again")


def test_hostile_errors_names_and_keys_are_text(page, client):
    """Script, quotes, templates, control and direction characters, bytes that are no UTF-8."""
    key = b"a/b?c&d <script>alert(1)</script>\xff\xe2\x80\xae"
    hostile = "<img src=x onerror=alert(1)>\"'{{7*7}}{% raw %}\x1b[31m\u202e"
    with Queue(client, "x") as queue:
        queue.name = queue.keys[0] = key
        queue.push(hostile, group=hostile)
        task = queue.claim(worker=hostile)[0]
        queue.fail(task, hostile + "\n" + hostile, dead=True)
        task_id = task.id
    look_anew(page)
    wait_until(lambda: "onerror" in page.text("/dead"), "it has been looked at")
    pages = [page.text("/dead"), page.text(path_of("/dead", key=key))]
    link = unescape(search(r'href="(/dead\?[^"]*error=[^"]*)"', pages[1])[1])
    pages.append(page.text(link))
    assert task_id in pages[-1]
    action = unescape(search(r'action="(/do/bulk[^"]*)"', pages[-1])[1])
    job = job_link(page, page.post(action, {"do": "retry:all"}))
    pages.append(page.text(job))
    assert "1 task will be retried" in plain(pages[-1])
    page.post(job.replace("/job?", "/do/job/start?"))
    wait_until(lambda: "1 retried" in plain(page.text(job)), "it is done")
    pages.append(page.text("/jobs"))
    for text in pages:
        assert "<script>alert" not in text
        assert "<img" not in text
        assert ("{{" in text) == ("onerror" in text)
        assert "\x1b" not in text
        assert "\u202e" not in text
