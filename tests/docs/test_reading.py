"""The check of the documents finds errors in code blocks, and only those. Each test runs a small page."""

import shutil
import textwrap

import pytest
from harness.fixtures import chosen
from harness.server import ROOT, SERVERS, Installed

from docs.page import parse
from docs.reader import Outcome, Reader


@pytest.fixture
def read(pytestconfig):
    """Runs a page on the first selected server, or on another. Its text can be indented."""

    def read_page(text: str, on: Installed | None = None) -> Outcome:
        page = parse("docs/made-up.md", textwrap.dedent(text).lstrip("\n"))
        assert not page.problems, page.problems
        with Reader(page, on or chosen(pytestconfig)[0], ROOT, patience_s=2) as reader:
            return reader.read()

    return read_page


@pytest.fixture
def fine(read):
    """Runs a page that has no error."""

    def read_page(text: str) -> None:
        outcome = read(text)
        assert not outcome.problems, outcome.problems

    return read_page


@pytest.fixture
def wrong(read):
    """Runs a page that has one error. Returns its line and text."""

    def read_page(text: str) -> tuple[int, str]:
        [problem] = read(text).problems
        return problem

    return read_page


PUSHED = """
    ```redis
    127.0.0.1:6379> TASK.PUSH mail a
    "1795334211134-0"
    127.0.0.1:6379> TASK.CLAIM mail WORKER w1
    1) 1) "1795334211134-0@1795334211134000-ea7b6e21"
       2) "a"
       3) (integer) 1
    ```
    """


# ---- sessions of redis-cli


def test_ids_handles_and_instants_on_a_page_stand_for_the_actual_ones(fine):
    """A handle in a later block stands for the actual one, in any language."""
    fine(f"""{PUSHED}
    ```redis
    127.0.0.1:6379> TASK.EXTEND mail 1795334211134-0@1795334211134000-ea7b6e21
    (integer) 1795334247225
    (0.20s)
    ```

    ```console
    $ taskslot ack mail 1795334211134-0@1795334211134000-ea7b6e21
    1795334211134-0@1795334211134000-ea7b6e21  acked
    ```
    """)


@pytest.mark.parametrize(
    ("change", "to"),
    [
        ("(integer) 1", "(integer) 2"),
        ('"a"', '"b"'),
        ("       3) (integer) 1\n", ""),
        ("       3) (integer) 1\n", "       3) (integer) 1\n       4) (integer) 1\n"),
        ("   3)", "  3)"),
        ('"1795334211134-0"', "(nil)"),
        ("1795334211134-0@", "1795334211134-1@"),
    ],
)
def test_a_reply_that_differs_from_the_page_is_found(wrong, change, to):
    """It differs in a number, text, line, indentation or type, or a task has a second id."""
    assert change in PUSHED
    line, what = wrong(PUSHED.replace(change, to))
    assert line in (2, 4) and ("--- actual:" in what or "is the same task" in what)


def test_an_id_that_is_shown_for_two_tasks_is_found(wrong):
    """A later block could mean either."""
    line, what = wrong("""
    ```redis
    127.0.0.1:6379> TASK.PUSH mail a
    "1795334211134-0"
    127.0.0.1:6379> TASK.PUSH mail b
    "1795334211134-0"
    ```
    """)
    assert line == 4 and "1795334211134-0 stands for" in what


INFO = """
    ```redis
    127.0.0.1:6379> TASK.PAUSE mail
    OK
    ```

    <!-- test: DIRECTIVE -->
    ```redis
    127.0.0.1:6379> TASK.INFO mail CONFIG
     1) "lease"
     2) (integer) 99
     3) "attempts"
    ...
    ```
    """


def test_dots_stand_for_any_lines_and_the_directive_numbers_for_any_numbers(fine, wrong):
    """Without the directive numbers must match."""
    fine(INFO.replace("DIRECTIVE", "numbers"))
    assert wrong(INFO.replace("DIRECTIVE", "from 6.2"))[0] == 8


def test_a_read_is_repeated_until_it_is_as_shown(fine):
    """The task expires after 400 ms; the page needs no directive."""
    fine("""
    ```redis
    127.0.0.1:6379> TASK.PUSH calls ring TTL 400
    "1795334213275-0"
    127.0.0.1:6379> TASK.LEN calls
    (integer) 1
    127.0.0.1:6379> TASK.GET calls 1795334213275-0
    (nil)
    ```
    """)


WAITS = """
    <!-- test: DIRECTIVE -->
    ```redis
    127.0.0.1:6379> TASK.CLAIM mail BLOCK 0
    1) 1) "1795334211134-0@1795334211134000-ea7b6e21"
       2) "a"
       3) (integer) 1
    ```
    """
PUSHES = """
    ```redis
    127.0.0.1:6379> TASK.PUSH mail a
    "1795334211134-0"
    ```
    """


def test_a_command_that_waits_is_served_by_the_next_block(fine, wrong):
    """The reply is compared after that block."""
    fine(WAITS.replace("DIRECTIVE", "fresh") + PUSHES)
    line, what = wrong(WAITS.replace("DIRECTIVE", "fresh") + PUSHES.replace("mail a", "mail b"))
    assert line == 3 and '2) "b"' in what


def test_a_command_that_waits_is_served_by_the_directive_meanwhile(fine, wrong):
    """The directive is an error if no command waits."""
    fine(WAITS.replace("DIRECTIVE", "meanwhile TASK.PUSH mail a"))
    line, what = wrong("    <!-- test: meanwhile PING -->" + PUSHES)
    assert line == 3 and "needs a command that blocks" in what


def test_a_subscriber_gets_the_messages_of_other_clients(fine):
    """The next block has a free connection."""
    fine("""
    ```redis
    127.0.0.1:6379> CONFIG SET notify-keyspace-events Kd
    OK
    ```

    <!-- test: meanwhile TASK.PUSH mail a -->
    ```redis
    127.0.0.1:6379> SUBSCRIBE __keyspace@0__:mail
    1) "subscribe"
    2) "__keyspace@0__:mail"
    3) (integer) 1
    1) "message"
    2) "__keyspace@0__:mail"
    3) "task.pushed"
    ```

    ```redis
    127.0.0.1:6379> TASK.LEN mail
    (integer) 1
    ```
    """)


def test_directives_reset_and_prepare_a_page(fine):
    """Directives remove the keys of earlier blocks, prepare the block, and wait."""
    fine(f"""{PUSHED}
    <!-- test: fresh -->
    <!-- test: before
    TASK.MPUSH mail TASKS 2 a b
    TASK.CLAIM idle BLOCK 0
    -->
    ```redis
    127.0.0.1:6379> TASK.LEN mail READY
    (integer) 2
    ```

    <!-- test: wait 2 TASK.LEN mail -->
    ```redis
    127.0.0.1:6379> TASK.INFO idle
    (nil)
    ```
    """)


@pytest.mark.parametrize(("server", "problems"), [("redis-6.2", 0), ("valkey-9.1", 1)])
def test_a_block_for_newer_servers_is_skipped_on_older_ones(read, server, problems):
    """Valkey runs the block."""
    outcome = read(
        """
    <!-- test: from 8.0 -->
    ```redis
    127.0.0.1:6379> TASK.LEN q
    (integer) 1
    ```
    """,
        on=SERVERS[server],
    )
    assert len(outcome.problems) == problems


# ---- other languages


def test_python_blocks_share_their_names_and_wait(fine):
    """`await` works at the top level. Prints and values are compared."""
    fine("""
    ```python
    import asyncio, redis, taskslot
    mail = taskslot.Queue(redis.Redis(), "mail")
    ```

    ```python
    await asyncio.sleep(0)
    print(mail.push("a"))  # 1795334211134-0
    print("more")
    print(mail.len())  # 1
    ```

    ```redis
    127.0.0.1:6379> TASK.LEN mail
    (integer) 1
    ```

    <!-- test: before
    def double(n): return 2 * n
    -->
    ```python
    >>> mail.len() + double(1)
    3
    >>> mail.info()
    Info(...)
    >>> int("x")
    Traceback (most recent call last):
        ...
    ValueError: invalid literal for int() with base 10: 'x'
    ```
    """)


@pytest.mark.parametrize(
    ("code", "line", "says"),
    [
        (">>> 1 + 1\n2\n>>> 1 + 2\n4\n", 4, "--- actual:\n3"),
        ("x = 1\n\nx.foo\n", 2, 'made-up.md", line 4'),
        (">>> int('x')\n0\n", 2, "ValueError"),
        ("print(1 + 1)  # 2\nprint(1 + 2)  # 4\n", 2, "--- actual:\n2\n3"),
        ("import os\nos._exit(0)\n", 2, "process ended"),
    ],
)
def test_python_output_that_differs_is_found(wrong, code, line, says):
    """It is another value or print, an exception, with its line on the page, or a process that ends."""
    where, what = wrong(f"```python\n{code}```")
    assert where == line and says in what


def test_a_program_is_written_to_its_file_and_runs_in_the_background(fine):
    """Later blocks import it or run it. It ends with the page."""
    fine("""
    ```python
    # jobs.py
    import redis, taskslot
    queue = taskslot.Queue(redis.Redis(), "mail")
    if __name__ == "__main__":
        print("working")
        for task in queue.claim(block_ms=10_000):
            queue.ack(task, result=b"sent")
    ```

    <!-- test: background -->
    ```console
    $ python jobs.py
    working
    ```

    ```python
    >>> from jobs import queue
    >>> queue.result(queue.push("a", retain_ms=1000), block_ms=9000)
    Result(state='done', value=b'sent', error=None)
    ```
    """)


def test_a_terminal_shows_output_and_keeps_its_folder(fine):
    """`cd` and `export` affect later blocks. `> ` continues a command."""
    fine("""
    ```console
    $ mkdir -p a && cd a && export B=c
    $ echo one \\
    > two
    one two
    ```

    ```sh
    test $B = c
    test $(basename $PWD) = a
    ```
    """)


@pytest.mark.parametrize(
    ("language", "code", "says"),
    [
        ("console", "$ echo one\ntwo", "--- actual:\none"),
        ("console", "echo one", "begins with `$ `"),
        ("sh", "true\nfalse\ntrue", "so far:\nfalse"),
        ("console", "$ make fly", "fly"),
        ("sh", "pip install ./clients/cobol", "no Python package"),
        ("js", "throw new Error('no')", "Error: no"),
        ("conf", "appendfsync often", "doesn't start"),
        ("json", '{"a": }', "JSONDecodeError"),
        ("toml", "a = = 1", "TOMLDecodeError"),
        ("redis", "TASK.LEN q", "begins with a prompt"),
    ],
)
def test_errors_in_programs_and_files_are_found(read, language, code, says):
    """These are other output, a failed command and a syntax error."""
    outcome = read(f"```{language}\n{code}\n```")
    if outcome.lacking:
        pytest.skip(outcome.lacking)
    [(line, what)] = outcome.problems
    assert line == 2 and says in what


def test_make_and_pip_are_checked_and_not_run(fine):
    """Targets and folders must exist."""
    fine("""
    ```sh
    make run PORT=7411   # in the foreground
    make test && pip install ./clients/python[msgpack]
    ```
    """)


def test_a_page_has_a_cluster_if_it_names_its_port(fine):
    """redis-cli and redis-py follow redirections, although the real ports are others."""
    fine("""
    ```console
    $ redis-cli -c -p 7001 TASK.PUSH orders:{fjl} a
    1795334211134-0
    ```

    ```python
    import redis
    cluster = redis.RedisCluster("127.0.0.1", 7001)
    assert cluster.execute_command("TASK.LEN", "orders:{fjl}") == 1
    ```

    ```redis
    127.0.0.1:7001> TASK.LEN orders:{fjl}
    -> Redirected to slot [8192] located at 127.0.0.1:7002
    (integer) 1
    ```
    """)


def test_a_server_of_the_page_is_reached_by_its_port(fine):
    """A server that a command starts is reached. No other server of the machine is."""
    fine("""
    ```console
    $ redis-server --port 6380 --save '' --loadmodule /path/to/libtaskslot.so &
    ```

    ```redis
    127.0.0.1:6380> TASK.LEN q
    (integer) 0
    ```

    ```console
    $ redis-cli -p 6380 TASK.LEN q
    0
    $ redis-cli -p 6381 PING
    Could not connect to Redis at 127.0.0.1:6381: Connection refused
    ```
    """)


def test_each_kind_of_file_is_checked_by_its_reader(fine):
    """A server reads settings, after redis.conf. Parsers read data. Nothing reads text."""
    fine("""
    ```conf
    # said below redis.conf
    min-replicas-to-write 1
    loadmodule /path/to/libtaskslot.so max-payload 1mb
    ```

    ```json
    {"a": 1}
    ```

    ```toml
    a = 1
    ```

    ```text
    not run {
    ```
    """)


def test_yaml_is_parsed(read):
    """`make test` installs the parser."""
    pytest.importorskip("yaml")
    outcome = read("""
    ```yaml
    groups: [{name: taskslot}]
    ---
    more: 1
    ```

    ```yaml
    groups: [
    ```
    """)
    assert [line for line, _ in outcome.problems] == [8]


def test_a_skipped_block_is_reported_and_its_syntax_checked(read):
    """The outcome contains the reason of the directive."""
    outcome = read("""
    <!-- test: skip Celery's -->
    ```python
    import celery
    ```

    <!-- test: skip no -->
    ```python
    def (
    ```

    <!-- test: skip x -->
    ```cobol
    GO
    ```
    """)
    assert [reason for _, reason in outcome.skipped] == ["Celery's", "no", "x"]
    assert [line for line, _ in outcome.problems] == [8]


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
@pytest.mark.timeout(600)
def test_javascript_runs_with_its_clients(read):
    """The clients of the recipes are installed."""
    outcome = read("""
    ```js
    import Redis from "ioredis";
    const redis = new Redis();
    if (await redis.call("TASK.LEN", "q") !== 0) throw 1;
    redis.disconnect();
    ```
    """)
    if outcome.lacking:
        pytest.skip(outcome.lacking)
    assert not outcome.problems, outcome.problems
