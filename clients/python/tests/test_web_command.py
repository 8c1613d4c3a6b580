"""`taskslot web`: where it listens, whom it lets in, and that it is a real server."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager

import httpx
import pytest
from harness.command_line import run
from harness.programs import OF_THIS_TREE, with_ctrl_c
from taskslot.addresses import is_loopback
from taskslot.cli.listening import listen_address
from taskslot.web.http.rights import verify


@contextmanager
def served(server, *words, **env):
    """The page of a server, as a process on a free port. It can be read once the process has said where it is."""
    url = f"redis://127.0.0.1:{server.port}"
    command = [sys.executable, "-m", "taskslot", "--url", url, "web", "--listen", "127.0.0.1:0", *words]
    process = subprocess.Popen(
        command,
        env={**os.environ, **OF_THIS_TREE, **env},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=with_ctrl_c,
    )
    try:
        line = process.stderr.readline()
        with httpx.Client(base_url=re.search(r"http://\S+", line)[0], timeout=30) as browser:
            yield process, browser, line
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_the_page_follows_the_server_until_it_is_told_to_stop(server, queue):
    """An open page gets what changes, and doesn't keep the process from ending."""
    queue.push(b"x")
    with served(server, "--name", "shop <1>") as (process, browser, line):
        html = browser.get("/").text
        assert '<a href="/queue?key=mail">mail</a>' in html and "shop &lt;1&gt;" in html
        assert browser.get("/", headers={"host": "evil.example"}).status_code == 421
        with browser.stream("GET", "/live?view=queues", timeout=30) as stream:
            lines = stream.iter_lines()
            assert "mail" in json.dumps(rows_of(lines)["rows"])
            queue.pause()
            while "claims" not in (rows := json.dumps(rows_of(lines))):
                assert "mail" in rows
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) in (0, -signal.SIGTERM)
        assert "read-only" in line and process.stderr.read() == ""


def rows_of(lines):
    """The next event of rows."""
    for line in lines:
        if line == "event: rows":
            return json.loads(next(lines).removeprefix("data: "))
    raise AssertionError("the stream has ended")


def test_with_a_password_the_whole_page_needs_it(server, tmp_path):
    """Also on this machine alone. The password comes from a file, and never from the command line."""
    (tmp_path / "password").write_text("open sesame\n")
    with served(server, "--write", "--web-password-file", tmp_path / "password") as (_, browser, _):
        page = browser.get("/", headers={"accept": "text/html"})
        assert (page.status_code, page.headers["location"]) == (303, "/sign-in?next=%2F")
        assert "set-cookie" in browser.get("/sign-in").headers


@pytest.mark.parametrize("env", [{}, {"FORWARDED_ALLOW_IPS": "127.0.0.1"}])
def test_nobody_guesses_passwords_under_many_addresses(server, env):
    """What a request says about its address counts only if a proxy is named."""
    with served(server, TASKSLOT_WEB_PASSWORD="open sesame", **env) as (_, browser, _):
        token = re.search(r'name="csrf" value="([^"]+)"', browser.get("/sign-in").text)[1]
        assert list(browser.cookies) == ["taskslot-0"]  # by the port that was asked for
        found = [
            browser.post(
                "/sign-in",
                data={"csrf": token, "password": "wrong one"},
                headers={"X-Forwarded-For": f"10.0.0.{number}"},
            ).status_code
            for number in range(6)
        ]
    assert found == ([401] * 6 if env else [401] * 5 + [429])


def test_each_change_is_a_line_of_the_log(server, queue):
    """Who changed what, on stderr."""
    queue.push(b"secret")
    with served(server, "--write", TASKSLOT_WEB_PASSWORD="open sesame") as (process, browser, _):

        def token(path):
            found = re.search(r'name="csrf" value="([^"]+)"', browser.get(path).text)
            return found[1]

        fields = {"password": "open sesame", "user": "ann", "csrf": token("/sign-in")}
        assert browser.post("/sign-in", data=fields).status_code == 303
        fields = {"way": "in", "for": "1h", "csrf": token("/queue?key=mail")}
        assert browser.post("/do/queue/pause?key=mail", data=fields).status_code == 303
        line = process.stderr.readline()
    assert line.endswith("'ann' on 'mail': paused pushes for 1h\n")


def test_a_port_that_is_taken_is_said(server):
    """In one line, and before the page is announced."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        url = f"redis://127.0.0.1:{server.port}"
        done = run("--url", url, "web", "--listen", f"127.0.0.1:{port}", status=1)
    assert done.errors == [f"taskslot: can't listen on 127.0.0.1:{port}: Address already in use"]


def test_it_is_at_its_root_path_whether_a_proxy_removes_that_or_not(server, queue):
    """So the address that it prints is one."""
    queue.push(b"x")
    with served(server, "--root-path", "/ops/tasks") as (_, browser, line):
        assert "/ops/tasks shows" in line
        for path in (
            "/",
            "/queue?key=mail",
            "/ops/tasks/",
            "/ops/tasks/queue?key=mail",
            "/ops/tasks/static/app.css",
        ):
            answer = httpx.get(f"{browser.base_url.copy_with(path='/')}"[:-1] + path)
            assert answer.status_code == 200, path
            assert "css" in path or 'href="/ops/tasks/nodes"' in answer.text


@pytest.mark.parametrize(
    ("words", "env", "says"),
    [
        (["--listen", "0.0.0.0:8080"], {}, "others can reach 0.0.0.0"),
        (["--listen", ":8080"], {}, "others can reach 0.0.0.0"),
        (["--listen", "[::]:8080"], {}, "others can reach ::"),
        (["--listen", "tasks.example:8080"], {}, "others can reach tasks.example"),
        (["--write"], {}, "--write needs a password"),
        (["--write", "--open"], {}, "--write needs a password"),
        (["--listen", "127.0.0.1"], {}, "--listen takes host:port"),
        (["--listen", "127.0.0.1:x"], {}, "--listen takes host:port"),
        (["--listen", "127.0.0.1:99999"], {}, "--listen takes host:port"),
        (["--write"], {"TASKSLOT_WEB_PASSWORD": "short"}, "at least 8 letters"),
        (["--trust-header", "X-User"], {"TASKSLOT_WEB_PASSWORD": "open sesame"}, "exclude each other"),
        (["--write", "--trust-header", "not a name"], {}, "the header must be a name"),
        (["--root-path", "tasks"], {}, "--root-path is a path"),
        (["--root-path", "/queue/x"], {}, "--root-path /queue/x begins like a page of its own"),
        (["--web-password-file", "/none"], {}, "/none: No such file"),
        ([], {"TASKSLOT_WEB_PASSWORD": ""}, "the password in TASKSLOT_WEB_PASSWORD is empty"),
    ],
)
def test_what_would_let_strangers_in_is_refused(words, env, says):
    """Before anything is served, in one line."""
    done = run("web", *words, status=1 if "/none" in words else 2, env=env)
    assert says in done.errors[-1] and done.errors[-1].startswith("taskslot: ")


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("127.0.0.1:80", "127.0.0.1", 80, True),
        ("127.8.8.8:80", "127.8.8.8", 80, True),
        ("[::1]:80", "::1", 80, True),
        ("LOCALHOST:80", "localhost", 80, True),
        (":80", "0.0.0.0", 80, False),
        ("10.0.0.1:80", "10.0.0.1", 80, False),
    ],
)
def test_it_knows_which_addresses_others_can_reach(text, host, port, loopback):
    """An address that is not this machine's alone needs a password."""
    assert listen_address(text) == (host, port)
    assert is_loopback(host) == loopback


def test_the_hash_of_a_password_is_made_without_showing_it():
    """It is asked for twice. A short one is refused."""
    done = run("web", "--make-hash", stdin="open sesame\nopen sesame\n")
    made = done.lines[-1]
    assert verify(made, "open sesame") and not verify(made, "open sesame!") and "sesame" not in made
    run("web", "--make-hash", stdin="short\nshort\n", status=2)
