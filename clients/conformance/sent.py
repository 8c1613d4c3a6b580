"""A command of the worker, taken apart."""

from __future__ import annotations

from dataclasses import dataclass, field

WITH_VALUE = {
    "TASK.CLAIM": "COUNT BYTES LEASE BLOCK GATHER WORKER GROUP REQUEST",
    "TASK.ACK": "RESULT RETAIN",
    "TASK.NEXT": "RESULT RETAIN COUNT BYTES LEASE BLOCK GATHER WORKER GROUP REQUEST",
    "TASK.FAIL": "ERROR DELAY PROGRESS",
    "TASK.REQUEUE": "DELAY PROGRESS",
    "TASK.EXTEND": "LEASE PROGRESS",
}
NUMBERS = {"COUNT", "BYTES", "LEASE", "BLOCK", "GATHER", "RETAIN", "DELAY"}
FLAGS = {
    "TASK.CLAIM": "TIED NOACK WITHMETA",
    "TASK.NEXT": "TIED NOACK WITHMETA",
    "TASK.FAIL": "DEAD",
    "TASK.REQUEUE": "BACK",
}
CLAIMS = ("TASK.CLAIM", "TASK.NEXT")
ANSWERS = ("TASK.ACK", "TASK.NEXT", "TASK.FAIL", "TASK.REQUEUE")


class BadCommand(ValueError):
    """The server would refuse the command. The text is that of its error."""


@dataclass(eq=False)
class Sent:
    """A command that came at the monotonic time `at`, on the connection with this number.

    `handles` are those it names, and `is_array` says that it names them with HANDLES. `is_answered` is set once a reply
    was written, and `is_refused` if that was an error.
    """

    at: float
    connection: int
    name: str
    words: list[bytes]
    key: str = ""
    handles: list[str] = field(default_factory=list)
    is_array: bool = False
    options: dict[str, bytes] = field(default_factory=dict)
    is_answered: bool = False
    is_refused: bool = False
    is_waiting: bool = False

    @property
    def claims(self) -> bool:
        """Whether it claims tasks."""
        return self.name in CLAIMS

    @property
    def answers(self) -> bool:
        """Whether it tells how tasks ended."""
        return self.name in ANSWERS

    @property
    def request(self) -> str:
        """Its REQUEST token; empty without one."""
        return self.options.get("REQUEST", b"").decode("utf-8", "replace")

    def number(self, option: str, default: int) -> int:
        """The value of an option as a number. Raises `BadCommand`."""
        try:
            return int(self.options.get(option, default))
        except ValueError:
            raise BadCommand(f"ERR {option} must be an integer") from None

    def __str__(self) -> str:
        shown = " ".join(word.decode("utf-8", "backslashreplace")[:60] for word in self.words[1:])
        return f"{self.name} {shown}"[:300]


def taken_apart(words: list[bytes], at: float, connection: int) -> Sent:
    """Take a command apart. Raises `BadCommand` for what the server would refuse."""
    sent = Sent(at, connection, words[0].decode("latin-1").upper(), words)
    if sent.name not in WITH_VALUE:
        return sent
    rest = list(words[1:])
    if not rest:
        raise BadCommand(f"ERR wrong number of arguments for '{sent.name}' command")
    sent.key = rest.pop(0).decode("utf-8", "replace")
    if sent.name != "TASK.CLAIM":
        take_handles(sent, rest)
    valued, flags = WITH_VALUE[sent.name].split(), FLAGS.get(sent.name, "").split()
    while rest:
        option = rest.pop(0).decode("latin-1").upper()
        if option not in (*valued, *flags):
            raise BadCommand(f"ERR unknown option '{option[:35]}'")
        if option in sent.options:
            raise BadCommand(f"ERR option {option} is given twice")
        if option in valued and not rest:
            raise BadCommand(f"ERR option {option} has no value")
        sent.options[option] = rest.pop(0) if option in valued else b""
    for option in NUMBERS & sent.options.keys():
        sent.number(option, 0)  # raises for what is no number
    return sent


def take_handles(sent: Sent, rest: list[bytes]) -> None:
    """Take the handles from the start of the arguments."""
    if not rest:
        raise BadCommand(f"ERR wrong number of arguments for '{sent.name}' command")
    first = rest.pop(0)
    number = 1
    if first.upper() == b"HANDLES":
        sent.is_array = True
        if not rest or not rest[0].isdigit() or not 1 <= int(rest[0]) <= min(1000, len(rest) - 1):
            raise BadCommand("ERR invalid number of HANDLES")
        number, first = int(rest[0]), rest[1]
        del rest[:2]
    handles = [first, *rest[: number - 1]]
    del rest[: number - 1]
    sent.handles = [handle.decode("utf-8", "replace") for handle in handles]
