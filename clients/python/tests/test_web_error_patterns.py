"""The patterns by which the web page groups errors: texts of one kind are equal, others are not. No server."""

import pytest
from taskslot.tracebacks import error_text
from taskslot.web.dead import patterns
from taskslot.web.dead.patterns import MOST_SHOWN, NO_TEXT, headline, pattern

PYTHON = """Traceback (most recent call last):
  File "/srv/shop.py", line 12, in send
    raise ValueError(f"no user {n}")
KeyError: 'x'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/srv/shop.py", line 14, in send
    connect()
shop.errors.NoUser: no user 17
and a second line of the text"""
NODE = """TypeError: Cannot read properties of undefined (reading 'id')
    at send (/srv/mail.js:31:17)
    at process.processTicksAndRejections (node:internal/process/task_queues:95:5)"""
RUBY = """/srv/mail.rb:3:in `divide': divided by 0 (ZeroDivisionError)
\tfrom /srv/mail.rb:3:in `<main>'"""
GO = """panic: runtime error: index out of range [5] with length 3

goroutine 1 [running]:
main.main()
\t/srv/main.go:9 +0x1d"""
JAVA = """Exception in thread "worker-3" java.lang.IllegalStateException: order 4711 is closed
\tat shop.Orders.close(Orders.java:88)
Caused by: java.sql.SQLException: no row"""
RUST = """thread 'main' panicked at src/main.rs:4:22:
index out of bounds: the len is 3 but the index is 99
note: run with `RUST_BACKTRACE=1`"""


def test_the_name_of_a_function_that_a_worker_lacks_is_kept():
    """It is what one has to know, and each such name is a cause of its own."""
    assert (
        pattern("UnknownFunction: no function 'mail.send_2'") == "UnknownFunction: no function 'mail.send_2'"
    )


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PYTHON, "shop.errors.NoUser: no user 17"),
        (NODE, "TypeError: Cannot read properties of undefined (reading 'id')"),
        (RUBY, "ZeroDivisionError: divided by 0"),
        (GO, "panic: runtime error: index out of range [5] with length 3"),
        (JAVA, "java.lang.IllegalStateException: order 4711 is closed"),
        (RUST, "panicked: index out of bounds: the len is 3 but the index is 99"),
        ("open /tmp/x: no such file or directory", "open /tmp/x: no such file or directory"),
        ("\n\n  \nafter empty lines", "after empty lines"),
        ("", NO_TEXT),
        (None, NO_TEXT),
    ],
    ids=["python", "node", "ruby", "go", "java", "rust", "plain", "empty lines", "empty", "none"],
)
def test_the_headline_is_the_line_that_says_what_was_raised(error, said):
    """Tracebacks of six languages, and texts without one."""
    assert headline(error) == said


def test_the_headline_of_the_librarys_own_errors_is_their_first_line():
    """A worker sends what was raised, then the traceback."""
    try:
        {}["missing"]
    except KeyError as error:
        text = error_text(error)
    assert "Traceback" in text
    assert headline(text) == "KeyError: 'missing'"


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("ValueError: no user 17", "ValueError: no user 4211", "ValueError: no user #"),
        ("KeyError: 'a'", "KeyError: 'b c'", "KeyError: '…'"),
        ('bad value "x 1"', 'bad value ""', 'bad value "…"'),
        (
            "order 0b8f0e1c-96b4-4d0a-9be1-1f0d6f0b7a55 lost",
            "order FFFFFFFF-96b4-4d0a-9be1-1f0d6f0b7a50 lost",
            "order # lost",
        ),
        ("<Job object at 0x7f3a2b>", "<Job object at 0x7f0000ffff>", "<Job object at #>"),
        ("commit 3fa94c1de is bad", "commit 0a11b2c3d4e5 is bad", "commit # is bad"),
        ("dial tcp 10.0.0.7:5432: refused", "dial tcp 10.1.22.7:80: refused", "dial tcp #: refused"),
        ("late since 2026-11-27T10:00:05Z", "late since 2025-01-02T23:59:59.125Z", "late since #"),
        ("no such user bob@example.org", "no such user a.b+c@x.co.uk", "no such user …@…"),
        (
            "2 stalls, the last after 1000 ms at worker w1",
            "5 stalls, the last after 30000 ms at worker host-a:77",
            "# stalls, the last after # ms at worker …",
        ),
        ("a\tb  c", "a b c", "a b c"),
    ],
)
def test_errors_of_one_kind_have_one_pattern(one, other, shared):
    """Numbers, ids, hex, quoted parts, addresses and instants do not matter."""
    assert pattern(one) == pattern(other) == shared


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ValueError: no user", "TypeError: no user"),
        ("can't connect to host", "can't reach host isn't"),
        ("deadbeef", "facade"),  # words of the letters a to f
        ("timeout after 5 s", "refused after 5 s"),
    ],
)
def test_errors_of_different_kinds_have_different_patterns(one, other):
    """Apostrophes are no quotes, and words of hex letters are words."""
    assert pattern(one) != pattern(other)


def test_a_pattern_is_bounded_and_takes_no_time_on_hostile_texts():
    """Texts that make careless expressions run for minutes."""
    for text in (
        "'" * 4000,
        "a@" * 2000,
        "1." * 5000,
        "a-" * 3000,
        "(" * 5000,
        "0" * 10**6,
        '"' + "x" * 10**6,
    ):
        assert len(pattern(text)) <= MOST_SHOWN


def test_quotes_that_are_not_closed_are_followed_to_the_next_one_only():
    """Otherwise thousands of them take the square of that time."""
    assert pattern("no « here, «17» is") == "no « here, «…» is"
    assert pattern("no “ here, “17” is") == "no “ here, “…” is"


def test_each_line_of_a_traceback_is_looked_at_twice_at_most(monkeypatch):
    """A client can write one of thousands of lines."""
    looked = []
    monkeypatch.setattr(patterns, "begins_text", lambda line: bool(looked.append(line)) or True)
    assert headline(f"{patterns.PYTHON_TRACE}\n" + "\n".join(map(str, range(1000)))) == "0"
    assert len(looked) <= 2 * 1001
