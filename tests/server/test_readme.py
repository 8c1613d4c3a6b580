"""The sessions of the README, typed: each command of each block, and replies of the same shape as those shown.

Ids, handles and instants are others each time: they are masked, and what a later command says of them is put in. What
a reader does in another terminal, and what the clock does, is done by `ASIDE`.
"""

import re
import shlex
from collections.abc import Callable, Iterator

import pytest
from harness.server import ROOT, Server
from harness.talk import Error, Talk

PROMPT = "127.0.0.1:6379> "
HANDLE, ID = r"\d{13}-\d+@\d{16}-[0-9a-f]{8}", r"\d{13}-\d+"
TOKENS = re.compile(f"{HANDLE}|{ID}")
# What may be asked again until it is as shown.
READS = {"TASK.GET", "TASK.LEN", "TASK.INFO"}


def sessions(text: str) -> Iterator[list[tuple[str, list[str]]]]:
    """The blocks in which something is typed: each command with the lines that are shown below it."""
    for indent, block in re.findall(r"^( *)```\n(.*?)^ *```$", text, re.M | re.S):
        if PROMPT not in block:
            continue
        lines = [line.removeprefix(indent) for line in block.splitlines()]
        session: list[tuple[str, list[str]]] = []
        for line in lines:
            if line.startswith(PROMPT):
                session.append((line.removeprefix(PROMPT), []))
            elif not re.fullmatch(r"\(\d+\.\d\ds\)", line):
                session[-1][1].append(line)
        yield session


def typed(reply: object) -> list[str]:
    """A reply as redis-cli shows it."""
    if isinstance(reply, Error):
        return [f"(error) {reply}"]
    if isinstance(reply, list):
        if not reply:
            return ["(empty array)"]
        lines = []
        for number, one in enumerate(reply, 1):
            head = f"{number})".rjust(len(str(len(reply))) + 1) + " "
            first, *rest = typed(one)
            lines += [head + first, *(" " * len(head) + line for line in rest)]
        return lines
    if reply is None:
        return ["(nil)"]
    if isinstance(reply, bytes):
        return [f'"{reply.decode()}"']
    return [f"(integer) {reply}" if isinstance(reply, int) else str(reply)]


def masked(line: str, command: str) -> str:
    """Without what is another each time; of a queue's figures every number is."""
    line = re.sub(ID, "<id>", re.sub(HANDLE, "<handle>", line))
    line = re.sub(r"\(integer\) \d{5,}", "(integer) <large>", line)
    if command.startswith("TASK.INFO thumbs"):
        line = re.sub(r'\(integer\) \d+|"\d+\.\d+"', "<number>", line)
    return line


def differs(shown: list[str], told: list[str], command: str) -> bool:
    """Whether a reply isn't as shown, where `...` stands for any lines."""
    pattern = "".join(
        r"(.*\n)*" if line == "..." else re.escape(masked(line, command)) + "\n" for line in shown
    )
    return not re.fullmatch(pattern, "".join(masked(line, command) + "\n" for line in told))


class Reader:
    """Somebody who types what stands there."""

    def __init__(self, server: Server):
        self.server, self.here, self.elsewhere = server, Talk(server), Talk(server)
        self.known: dict[str, str] = {}
        self.waits: list[tuple[str, list[str]]] = []

    def type(self, command: str, shown: list[str]) -> None:
        """Send a command and compare its reply; one that waits for ever is compared when the session is over."""
        words = [self.known.get(word, word) for word in shlex.split(command)]
        aside = next((do for begin, do in ASIDE.items() if command.startswith(begin)), None)
        if command.endswith("BLOCK 0"):
            self.here.send(words)
            self.waits.append((command, shown))
            self.here, self.elsewhere = Talk(self.server), self.here
            return
        if words[0] in READS and aside is None:
            self.server.wait_until(
                lambda: not differs(shown, typed(self.here(*words)), command), f"{command} is as shown"
            )
            return
        told = aside(self, words) if aside else typed(self.here(*words))
        self.compare(command, shown, told)

    def compare(self, command: str, shown: list[str], told: list[str]) -> None:
        """Whether it is as shown; and which id or handle stands for which."""
        assert not differs(shown, told, command), "\n".join([command, *shown, "--- was answered:", *told])
        names = [TOKENS.findall("\n".join(lines)) for lines in (shown, told)]
        self.known.update(zip(*names, strict=False))

    def ends(self) -> None:
        """What waited has its reply by now."""
        for command, shown in self.waits:
            self.compare(command, shown, typed(self.elsewhere.read()))
        self.waits = []


def two_beats(reader: Reader, words: list[str]) -> list[str]:
    """A second passes."""
    reader.server.wait_until(
        lambda: reader.elsewhere("TASK.LEN", "reports", "READY") == 2, "two tasks are there"
    )
    return typed(reader.here(*words))


def pushed_elsewhere(reader: Reader, words: list[str]) -> list[str]:
    """Somebody pushes while this one waits."""
    reader.here.send(words)
    reader.server.wait_until(
        lambda: reader.elsewhere.map("TASK.INFO", "{mail}low")[b"blocked-workers"] == 1, "it waits"
    )
    reader.elsewhere("TASK.PUSH", "{mail}low", "newsletter:8")
    return typed(reader.here.read())


def worked_on(reader: Reader, words: list[str]) -> list[str]:
    """Three workers are at it: two have a task, one waits."""
    if "WORKERS" not in words:
        c = reader.elsewhere
        c("TASK.MPUSH", "thumbs", "TASKS", 6, *range(6))
        for _ in range(4):
            c("TASK.ACK", "thumbs", c("TASK.CLAIM", "thumbs", "WORKER", "w1")[0][0])
        c("TASK.CLAIM", "thumbs", "WORKER", "w1"), c("TASK.CLAIM", "thumbs", "WORKER", "w2")
        reader.third = Talk(reader.server)
        reader.third.send(["TASK.CLAIM", "thumbs", "WORKER", "w3", "BLOCK", 0])
        reader.server.wait_until(
            lambda: c.map("TASK.INFO", "thumbs")[b"blocked-workers"] == 1, "a worker waits"
        )
    return typed(reader.here(*words))


def subscribed(reader: Reader, words: list[str]) -> list[str]:
    """A task is pushed, and claimed with NOACK."""
    lines = typed(reader.here(*words))
    reader.elsewhere("TASK.PUSH", "mail", "x")
    reader.elsewhere("TASK.CLAIM", "mail", "NOACK")
    return lines + [line for _ in range(4) for line in typed(reader.here.read())]


ASIDE: dict[str, Callable[[Reader, list[str]], list[str]]] = {
    "TASK.CLAIM reports COUNT 5": two_beats,
    "TASK.MCLAIM {mail}high KEYS 1 {mail}low BLOCK": pushed_elsewhere,
    "TASK.INFO thumbs": worked_on,
    "PSUBSCRIBE": subscribed,
}


def test_the_sessions_of_the_readme_go_as_they_are_shown(start):
    """All of them, on a fresh server, in their order."""
    server = start()
    found = list(sessions((ROOT / "README.md").read_text()))
    assert len(found) >= 12 and sum(map(len, found)) >= 40
    reader = Reader(server)
    for session in found:
        if not reader.waits:
            Talk(server)("FLUSHALL")
            reader = Reader(server)
        waited = bool(reader.waits)
        for command, shown in session:
            reader.type(command, shown)
        if waited:
            reader.ends()


@pytest.mark.parametrize(
    ("shown", "told"),
    [
        (["(integer) 1"], ["(integer) 2"]),
        (["...", '3) "a"'], ['2) "a"']),
        (['1) "a"'], ['1) "a"', '2) "b"']),
        (["(error) STALE"], ["(integer) 1"]),
    ],
)
def test_a_session_that_is_out_of_date_is_noticed(shown, told):
    """Another number, another place in a map, a line more, an error."""
    assert differs(shown, told, "TASK.LEN q") and not differs(told, told, "TASK.LEN q")
    assert not differs(["..."], told, "TASK.LEN q")
