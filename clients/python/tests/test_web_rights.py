"""Who may read and change by the web page, and what every answer has."""

import asyncio
import time

import pytest
from harness.web import PASSWORD, FormClient, create_app, path_of
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from taskslot import Queue
from taskslot.web import Read, Write
from taskslot.web.http import guard, rights
from taskslot.web.http.rights import Tries, hashed

OTHERS = "http://evil.example"


def changing(app):
    """The paths of all routes that change things, with what they need in the query."""
    routes = [route for route in app.routes if "POST" in (getattr(route, "methods", None) or ())]
    return [
        path_of(route.path, key="mail", id="1-0") for route in routes if not route.path.startswith("/sign-")
    ]


@pytest.fixture
def broken(web):
    """A browser of a page that has a route with a mistake."""

    def fail(request):
        raise ZeroDivisionError("secret detail")

    browser = web()
    browser.app.router.routes.insert(0, Route("/broken", fail))
    return browser


# ---- reading only


def test_a_page_without_the_right_to_write_changes_nothing(web, queue, client):
    """Each POST is refused, whatever it says, and no page has a form that posts."""
    queue.push(b"hello")
    before = client.execute_command("DEBUG", "DIGEST-VALUE", "mail")
    browser = web()
    paths = changing(browser.app)
    assert "/marks?key=mail&id=1-0" in paths
    for path in paths:
        answer = browser.post(path, {"text": "x"})
        assert answer.status_code == 403 and "This page is read-only" in answer.text, path
    assert client.execute_command("DEBUG", "DIGEST-VALUE", "mail") == before
    assert 'method="post"' not in browser.text("/") + browser.text("/charts")


def test_a_change_needs_the_session_s_token(web):
    """Without it, or with that of another session, nothing is done."""
    browser, other = web(write=True), web(write=True)
    for token in ("", "wrong", other.token()):
        answer = browser.post("/marks", {"text": "x"}, token=token)
        assert answer.status_code == 403 and "too old" in answer.text
    assert browser.app.state.site.history.marks() == []
    assert browser.post("/marks", {"text": "x"}).status_code == 303
    header = {"x-csrf-token": browser.token(), "hx-request": "true"}
    answer = browser.client.post("/marks", data={"text": "y"}, headers=header)
    assert (answer.status_code, answer.headers["hx-redirect"]) == (204, "/charts")
    assert [mark.text for mark in browser.app.state.site.history.marks()] == ["x", "y"]


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": OTHERS},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_change_that_another_site_sends_is_refused(web, headers):
    """Even with the token. The page's own origin is accepted."""
    browser = web(write=True)
    fields = {"csrf": browser.token(), "text": "x"}
    assert browser.client.post("/marks", data=fields, headers=headers).status_code == 403
    own = {"origin": "http://testserver", "sec-fetch-site": "same-origin"}
    assert browser.client.post("/marks", data=fields, headers=own).status_code == 303


def test_the_origin_can_be_a_name_of_the_page_but_not_another_port_of_this_machine(web):
    """A proxy may change the Host header. Behind another local port is another page."""
    browser = web(write=True, hosts=["testserver", "localhost", "tasks.example"])
    fields = {"csrf": browser.token(), "text": "x"}
    for origin, status in (
        ("https://tasks.example", 303),
        ("http://localhost:9", 403),
        ("http://localhost", 403),
        ("https://tasks.example.evil", 403),
        ("https://[", 403),
    ):
        answer = browser.client.post("/marks", data=fields, headers={"origin": origin})
        assert answer.status_code == status, origin


def test_only_plain_forms_of_a_limited_size_are_read(web):
    """A file, JSON and a huge form are refused before the page sees them."""
    browser = web(write=True)
    token = {"x-csrf-token": browser.token()}
    assert browser.client.post("/marks", json={"text": "x"}, headers=token).status_code == 415
    assert browser.client.post("/marks", files={"text": b"x"}, headers=token).status_code == 415
    large = {"text": "x" * guard.LARGEST_FORM}
    assert browser.client.post("/marks", data=large, headers=token).status_code == 413
    many = {f"f{n}": "x" for n in range(5001)}
    assert browser.client.post("/marks", data=many, headers=token).status_code == 400


# ---- signing in


def test_one_signs_in_and_comes_back_to_the_page_that_was_asked_for(web):
    """Without a session, pages lead to the form, and everything else is a 401."""
    browser = web(read=Read.by_password(PASSWORD))
    asked = browser.get("/charts?span=24h")
    assert (asked.status_code, asked.headers["location"]) == (303, "/sign-in?next=%2Fcharts%3Fspan%3D24h")
    for path in ("/live?view=queues", "/charts/data"):
        assert browser.get(path, headers={"accept": "*/*"}).status_code == 401
    assert [browser.get(path).status_code for path in ("/health", "/static/app.css")] == [200, 200]
    answer = browser.post("/sign-in", {"password": PASSWORD, "next": "/charts?span=24h"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/charts?span=24h")
    assert "Sign out" in browser.text("/charts?span=24h")


@pytest.mark.parametrize(
    "path", ["//evil.example", "/\\evil.example", OTHERS, "/\n/evil.example", "javascript:x", ""]
)
def test_signing_in_never_leads_to_another_site(web, path):
    """A path that is none of the page leads to its start."""
    browser = web(read=Read.by_password(PASSWORD))
    assert browser.post("/sign-in", {"password": PASSWORD, "next": path}).headers["location"] == "/"


def test_a_wrong_password_opens_nothing_and_costs_time(web):
    """After five, even the right one has to wait. Another address does not."""
    browser = web(write=Write.by_header("x-user"), read=Read.by_password(PASSWORD))
    browser.client.headers["accept"] = "text/html"
    for _ in range(rights.FREE_TRIES):
        answer = browser.post("/sign-in", {"password": "wrong password"})
        assert answer.status_code == 401 and "This is not the password." in answer.text
    answer = browser.post("/sign-in", {"password": PASSWORD})
    assert answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1
    assert browser.get("/").status_code == 303
    elsewhere = FormClient(browser.app, client=("10.0.0.7", 1))
    assert elsewhere.sign_in().get("/").status_code == 200


def test_programs_read_the_metrics_with_the_password(web, queue):
    """As HTTP Basic, by any user's name. It opens nothing else, and wrong ones cost time too."""
    queue.push(b"hello")
    browser = web(read=Read.by_password(PASSWORD))
    answer = browser.client.get("/metrics")
    assert answer.status_code == 401 and answer.headers["www-authenticate"].startswith("Basic")
    answer = browser.client.get("/metrics", auth=("prometheus", PASSWORD))
    assert answer.status_code == 200 and 'queue="mail"' in answer.text
    assert browser.client.get("/charts/data", auth=("prometheus", PASSWORD)).status_code == 303
    for _ in range(rights.FREE_TRIES):
        assert browser.client.get("/metrics", auth=("", "wrong")).status_code == 401
    assert browser.client.get("/metrics", auth=("", PASSWORD)).status_code == 429
    # They are counted apart from those of people at the same address.
    browser.sign_in()
    assert 'queue="mail"' in web().get("/metrics").text


def test_each_wrong_password_doubles_the_wait_up_to_a_limit(monkeypatch):
    """The number of addresses that are remembered is limited."""
    monkeypatch.setattr(rights, "MOST_ADDRESSES", 3)
    tries = Tries()
    waits = []
    for _ in range(30):
        tries.was_wrong("a")
        waits.append(round(tries.wait_s("a")))
    assert waits[:8] == [0, 0, 0, 0, 1, 2, 4, 8] and waits[-1] == rights.LONGEST_WAIT_S
    for address in "bcd":
        tries.was_wrong(address)
    assert tries.wait_s("a") == 0


def test_the_password_of_readers_does_not_let_one_change_things(web):
    """Each of two passwords opens its own part. One can be given as its hash."""
    app = web(
        read=Read.by_password("for readers"), write=Write.by_password(hashed("for writers")), signed_in=False
    ).app
    reader, writer = FormClient(app).sign_in("for readers"), FormClient(app).sign_in("for writers")
    assert "read-only" in reader.text("/")
    assert reader.post("/marks", {"text": "x"}).status_code == 401
    assert writer.post("/marks", {"text": "x"}).status_code == 303


def test_signing_out_ends_the_session_for_copies_of_its_cookie_too(web):
    """Whoever has stolen a cookie is out as well."""
    browser = web(write=True)
    thief = FormClient(browser.app)
    thief.client.cookies.update(browser.client.cookies)
    assert "Sign out" in thief.text("/")
    assert browser.post("/sign-out").status_code == 303
    for one in (browser, thief):
        assert "Sign out" not in one.text("/")
    assert thief.post("/marks", {"text": "x"}).status_code in (401, 403)


def test_a_new_password_ends_the_sessions_of_the_old_one(server):
    """Also with the same secret. So does another way to sign in. Other processes of the same page know the session."""
    url, doors = (
        f"redis://127.0.0.1:{server.port}",
        [Write.by_password(PASSWORD), Write.by_password("another one")],
    )
    apps = [
        create_app(url, secret="s", write=one, read=Read(one.secret, one.header))
        for one in (doors[0], *doors, Write.by_header("X-User"))
    ]
    cookies = FormClient(apps[0]).sign_in().client.cookies
    seen = []
    for app in apps:
        browser = FormClient(app)
        browser.client.cookies.update(cookies)
        seen.append(browser.get("/queue?key=mail").status_code)
        app.state.site.close()
    assert seen == [404, 404, 303, 403]


def test_two_pages_of_one_host_have_their_own_sessions(server):
    """Their cookies have two names, because browsers send both of them to both."""
    url, cookies = f"redis://127.0.0.1:{server.port}", {}
    apps = [create_app(url, read=Read.by_password(PASSWORD), cookie=name) for name in ("one", "two")]
    for app in apps:
        page = FormClient(app)
        page.client.cookies.update(cookies)
        cookies.update(page.sign_in().client.cookies)
    for app in apps:
        page = FormClient(app)
        page.client.cookies.update(cookies)
        assert "Sign out" in page.text("/")
        app.state.site.close()


@pytest.mark.parametrize("limit", ["SESSION_S", "IDLE_S"])
def test_a_session_ends_by_itself(web, monkeypatch, limit):
    """After a week, or after half a day in which nobody used it. Until then it goes on."""
    monkeypatch.setattr(f"taskslot.web.{'http.rights' if limit == 'SESSION_S' else 'app'}.{limit}", 2000)
    browser, now = web(write=True), time.time()
    # The client's own clock is not what ends it.
    for after, is_open in ((1000, True), (2900, limit == "IDLE_S"), (6000, False)):
        monkeypatch.setattr("time.time", lambda after=after: now + after)
        assert ("Sign out" in browser.text("/")) == is_open, after


def test_a_cookie_that_somebody_has_made_is_worth_nothing(web):
    """Sessions are signed, and one that is planted before signing in is left."""
    browser = web(write=True)
    signed = browser.client.cookies["taskslot"]
    browser.client.cookies.clear()
    browser.client.cookies.set("taskslot", "x" + signed[1:])
    assert "Sign out" not in browser.text("/")
    planted = FormClient(browser.app)
    before = planted.token()
    assert planted.sign_in().token() != before


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_cookie_is_for_this_page_alone(server, scheme):
    """Scripts can't read it, other sites can't send it with a form, and behind https it is never sent without."""
    app = create_app(f"redis://127.0.0.1:{server.port}", write=Write.by_password(PASSWORD))
    answer = FormClient(app, base_url=f"{scheme}://testserver").get("/sign-in")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=lax" in cookie
    assert ("; secure" in cookie) == (scheme == "https")
    app.state.site.close()


def test_a_proxy_says_who_it_is(web):
    """Its header counts, for the users who may."""
    browser = web(read=Read.by_header("X-User"), write=Write.by_header("X-User", {"ann"}))
    assert browser.get("/").status_code == 403
    bob, ann = (FormClient(browser.app, headers={"x-user": name}) for name in ("bob", "ann"))
    assert "read-only" in bob.text("/") and bob.post("/marks", {"text": "x"}).status_code == 403
    assert "read-only" not in ann.text("/") and ann.post("/marks", {"text": "x"}).status_code == 303
    assert ann.post("/marks", {"text": "x"}, token="").status_code == 403
    without_session = FormClient(browser.app, headers={"x-user": "ann"})
    assert without_session.post("/marks", {"text": "x"}, token="").status_code == 403


@pytest.mark.parametrize("secret", ["short", "scrypt:00", "scrypt:xx:yy"])
def test_a_password_that_is_none_is_refused(secret):
    """At once, not when somebody signs in."""
    with pytest.raises(ValueError):
        Write.by_password(secret)


# ---- what every answer has


def test_every_answer_has_the_headers(broken):
    """Pages, errors, redirects and files."""
    paths = {
        "/": 200,
        "/nope": 404,
        "/broken": 500,
        "/static/app.js": 200,
        "/static/nope": 404,
        "/marks": 405,
    }
    for path, status in paths.items():
        answer = broken.get(path)
        assert answer.status_code == status, path
        assert "default-src 'none'" in answer.headers["content-security-policy"], path
        assert answer.headers["x-content-type-options"] == "nosniff", path
        assert answer.headers["x-frame-options"] == "DENY", path
        assert answer.headers["cache-control"] in ("no-store", "no-cache"), path


def test_a_mistake_in_the_page_shows_no_traceback(broken, caplog):
    """The log has it."""
    answer = broken.get("/broken")
    assert answer.status_code == 500 and "<h1>Something went wrong</h1>" in answer.text
    assert "secret detail" not in answer.text and "Traceback" not in answer.text
    assert "secret detail" in caplog.text


def test_who_leaves_in_the_middle_of_a_form_leaves_no_traceback(web, caplog):
    """It is no mistake of the page."""
    app = web(write=True, signed_in=False).app
    scope = {"type": "http", "method": "POST", "path": "/sign-in", "query_string": b"", "headers": []}

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        pass

    asyncio.run(app(scope, receive, send))
    assert not caplog.records


def test_no_page_has_scripts_or_styles_in_it(web, queue):
    """So the policy can forbid them."""
    queue.push(b"hello")
    browser = web(write=True)
    for path in ("/", "/nodes", "/charts", "/sign-in", "/nope"):
        html = browser.get(path).text
        assert "<script>" not in html and "<style" not in html and " style=" not in html, path
        assert " onclick" not in html and "javascript:" not in html, path


def test_only_the_names_of_the_page_are_served(web):
    """A name that somebody else's DNS server gives to this machine is refused."""
    browser = web(hosts=["localhost", "127.0.0.1", "::1"])
    for host in ("localhost:8080", "LOCALHOST", "127.0.0.1", "[::1]:8080"):
        assert browser.get("/", headers={"host": host}).status_code == 200, host
    for host in ("evil.example", "evil.example:8080", "localhost.evil.example", "", "[::1", "a@localhost.x"):
        answer = browser.get("/", headers={"host": host})
        assert answer.status_code == 421 and "content-security-policy" in answer.headers, host


# ---- below a path


def test_it_works_below_a_path_of_another_app(server):
    """All links stay there, signing in as well, and the session of the outer app is its own."""
    inner = create_app(
        f"redis://127.0.0.1:{server.port}", write=Write.by_password(PASSWORD), read=Read.by_password(PASSWORD)
    )

    def outer(request: Request):
        request.session["outer"] = "kept"
        return PlainTextResponse(str(sorted(request.session)))

    app = Starlette(
        routes=[Mount("/ops/tasks", app=inner), Route("/", outer)],
        middleware=[Middleware(SessionMiddleware, secret_key="of the outer app")],
    )
    check_below(FormClient(app, root="/ops/tasks"), server)
    browser = FormClient(app, root="/ops/tasks")
    browser.get("/")
    cookie = browser.client.cookies["session"]
    browser.sign_in()
    assert browser.client.cookies["session"] == cookie
    assert browser.get("/").text == "['outer']"
    inner.state.site.close()


def test_it_works_behind_a_proxy_that_removes_a_path(server):
    """The server is told the path, as by --root-path."""
    app = create_app(
        f"redis://127.0.0.1:{server.port}", write=Write.by_password(PASSWORD), read=Read.by_password(PASSWORD)
    )
    check_below(FormClient(app, root="/ops/tasks", root_path="/ops/tasks"), server)
    app.state.site.close()


def check_below(browser, server):
    with Queue(server.client(), "mail") as queue:
        queue.push(b"hello")
    asked = browser.get("/ops/tasks/")
    assert asked.headers["location"] == "/ops/tasks/sign-in?next=%2F"
    assert browser.get("/ops/tasks/static/app.css").status_code == 200
    answer = browser.post("/ops/tasks/sign-in", {"password": PASSWORD, "next": "/nodes"})
    assert answer.headers["location"] == "/ops/tasks/nodes"
    html = browser.text("/ops/tasks/")
    assert 'href="/ops/tasks/queue?key=mail"' in html
    assert 'href="/' not in html.replace('href="/ops/tasks/', "")
    assert 'src="/' not in html.replace('src="/ops/tasks/', "")
    assert 'data-live="/ops/tasks/live' in html and 'action="/ops/tasks/' in html


def test_a_client_that_leaves_in_the_middle_of_a_form_leaves_no_traceback(server, caplog):
    """Anybody could fill the log with them."""
    app = create_app(f"redis://127.0.0.1:{server.port}", write=Write.by_password(PASSWORD))
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/sign-in",
        "query_string": b"",
        "headers": [],
        "scheme": "http",
    }

    async def leave():
        return {"type": "http.disconnect"}

    async def send(message):
        raise AssertionError("nobody is there")

    asyncio.run(app(scope, leave, send))
    app.state.site.close()
    assert caplog.messages == []
