"""The command as a process: signals, pipes, terminals, and what an import of the library loads."""

import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from json import loads

import pytest
from harness.programs import OF_THIS_TREE, with_ctrl_c
from harness.server import wait_until

COMMAND = [sys.executable, "-m", "taskslot"]


@pytest.fixture
def env(server):
    """An environment in which the command finds library and server."""
    return {
        **os.environ,
        **OF_THIS_TREE,
        "TASKSLOT_URL": f"redis://127.0.0.1:{server.port}",
        "TERM": "xterm-256color",
    }


@pytest.fixture
def terminal():
    """Both ends of a terminal of 100 columns and 20 lines."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 100, 0, 0))
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


def shown(ours: int, text: str) -> str:
    """Read the terminal's input until it contains a text."""
    got = ""

    def has_come():
        nonlocal got
        while select.select([ours], [], [], 0)[0]:
            got += os.read(ours, 65536).decode("utf-8", "replace")
        return text in got

    wait_until(has_come, f"{text!r} on the terminal")
    return got


def test_importing_the_library_does_not_load_the_command_line():
    """The packages that it uses are not loaded either."""
    script = "import sys, taskslot; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", script], env=OF_THIS_TREE, capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert "taskslot" in loaded and not loaded & {"typer", "rich", "click", "pydantic"}


def test_ctrl_c_ends_a_waiting_claim_without_a_traceback(env, server, client):
    """The exit status is the usual one, and the queue has no waiting worker any more."""
    waiting = subprocess.Popen(
        [*COMMAND, "claim", "mail", "--block-ms", "0"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=with_ctrl_c,
    )
    wait_until(lambda: client.info("taskslot")["taskslot_blocked_workers"] == 1, "it waits")
    waiting.send_signal(signal.SIGINT)
    output, errors = waiting.communicate(timeout=20)
    assert (waiting.returncode, output, errors) == (130, b"", b"")
    wait_until(lambda: client.info("taskslot")["taskslot_blocked_workers"] == 0, "it is gone")


def test_a_reader_that_closes_the_pipe_early_causes_no_error(env, queue):
    """`| head` closes the pipe early."""
    queue.push_many(["x" * 100] * 3000)
    writer = subprocess.Popen(
        [*COMMAND, "list", "mail", "ready", "-n", "3000", "--json"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    writer.stdout.readline()
    writer.stdout.close()
    assert writer.stderr.read() == b"" and writer.wait(timeout=20) == 1


@pytest.mark.parametrize("leave", ["q", "\x03"], ids=["q", "Ctrl-C"])
def test_top_is_live_on_a_terminal(env, queue, terminal, leave):
    """It shows new tasks. q or Ctrl-C ends it and restores the terminal."""
    ours, theirs = terminal
    before = termios.tcgetattr(theirs)
    queue.push("a")
    live = subprocess.Popen(
        [*COMMAND, "top", "--interval-ms", "100"],
        env=env,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        preexec_fn=lambda: (with_ctrl_c(), os.setsid(), ioctl(theirs, termios.TIOCSCTTY, 0)),
    )
    assert "mail" in shown(ours, "1 queue, 1 ready")
    queue.push_many(["a"] * 41)
    shown(ours, "42")
    os.write(ours, leave.encode())
    # Read to the end first: if a terminal's buffer is full, the program waits.
    assert "Traceback" not in shown(ours, "\x1b[?1049l")
    assert live.wait(timeout=20) == 0
    assert termios.tcgetattr(theirs) == before


def test_long_work_shows_a_progress_bar_on_a_terminal(env, queue, terminal):
    """It is printed on stderr, so that stdout stays clean."""
    ours, theirs = terminal
    queue.push_many(["a"] * 3000)
    words = [*COMMAND, "purge", "mail", "ready", "--all", "--yes"]
    with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=theirs) as purge:
        assert "purge mail" in shown(ours, "/3000")
        assert purge.communicate(timeout=20)[0] == b"purged 3000\n"
    assert purge.returncode == 0


def test_a_name_is_not_markup_on_a_terminal(env, queue, client, terminal):
    """Progress bars contain the queue's name, which can contain brackets."""
    client.execute_command("TASK.PUSH", "jobs[/]", "p")
    ours, theirs = terminal
    words = ["purge", "jobs[/]", "ready", "--all", "--yes"]
    with subprocess.Popen([*COMMAND, *words], env=env, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        assert "Traceback" not in shown(ours, "purged 1")
        assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("words", "closed", "status"),
    [("push mail --lines", "<&-", 0), ("list mail ready", ">&-", 0), ("info nothing", "2>&-", 1)],
)
def test_a_closed_stream_counts_as_empty(env, queue, words, closed, status):
    """A daemon or a careless cron job may close standard streams. There is never a traceback."""
    queue.push("p")
    line = f"{sys.executable} -m taskslot {words} {closed}"
    done = subprocess.run(["bash", "-c", line], env=env, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (status, b"")


def test_an_unknown_option_in_the_url_is_bad_usage(env, server):
    """There is no traceback of the client library."""
    url = f"redis://127.0.0.1:{server.port}?colour=red"
    done = subprocess.run([*COMMAND, "info", "mail", "--url", url], env=env, capture_output=True, timeout=60)
    assert done.returncode == 2 and b"has an option" in done.stderr and b"Traceback" not in done.stderr


ALL = (
    "list mail ready", "list mail ready -n 1", "get mail {id}", "info mail groups", "claim mail -n 9 --lease-ms 60000",
    "info mail", "top --once", "--help", "push --help", "info \u2026", "list mail nonsense",
)  # fmt: skip


@pytest.mark.parametrize(
    ("encoding", "json", "commands"),
    [
        ("ascii", False, ALL),
        ("latin-1", False, ALL[:1]),
        ("ascii", True, ("list mail ready", "get mail {id}")),
    ],
)
@pytest.mark.slow
def test_characters_that_the_encoding_lacks_are_written_as_escapes(env, queue, encoding, json, commands):
    """Names and payloads can be in any language, and our own symbols too. Each command works as with UTF-8."""
    task = queue.push("j\xf6 \u0416 \U0001f600" * 20, group="\u0416")
    queue.push("b")
    plain = {**env, "PYTHONIOENCODING": encoding, "COLUMNS": "100"}
    for words in commands:
        words = [*words.format(id=task).split(), *(["--json"] if json else [])]
        done = subprocess.run([*COMMAND, *words], env=plain, capture_output=True, timeout=60)
        assert b"Traceback" not in done.stderr, done.stderr
        assert done.returncode == {"nonsense": 2, "\u2026": 1}.get(words[-1], 0)
        assert done.stdout.decode(encoding) or done.returncode
        if json:
            first = loads(done.stdout.splitlines()[0])
            assert (first["group"], first["payload"][:4]) == ("\u0416", "j\xf6 \u0416")
