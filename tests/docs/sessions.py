"""Runs the redis-cli sessions of a page, and the commands of other clients that directives contain."""

from __future__ import annotations

import re
import select
import time

from harness.server import NotInTime, wait_until
from harness.talk import Error, Talk

from docs.comparison import OtherTask, align, masked_reply, without_numbers
from docs.page import Block
from docs.ports import Ports
from docs.terminal import Typed, session, split, written
from docs.workplace import Mismatch, Workplace, difference

# Commands that only read. They are repeated until the reply is as shown.
READS = re.compile(
    r"(TASK\.(GET|LEN|INFO|LIST|RESULT)|INFO|ROLE|DBSIZE|EXISTS|TTL|PTTL|TYPE|SCAN|LATENCY|MEMORY|WAIT|CLUSTER|GET|LLEN|XLEN)\b",
    re.I,
)


class Connection(Talk):
    """A connection to a port of the page."""

    def __init__(self, ports: Ports, port: int):
        self.port = port
        self._ports = ports
        super().__init__(self)

    def raw(self):
        """The socket for `Talk`."""
        return self._ports.connect(self.port)

    def has_reply(self) -> bool:
        """Returns whether a reply has arrived."""
        return bool(select.select([self._socket], [], [], 0)[0])


class Sessions:
    """The terminals of a page: one for each port, and one for each command that waits."""

    def __init__(self, place: Workplace):
        self._ports, self._names, self._patience_s = place.ports, place.names, place.patience_s
        self._terminals: dict[int, Connection] = {}
        # Commands that wait until the next block is over.
        self._waiting: list[tuple[Block, Typed, Connection]] = []
        # Connections of other clients that wait.
        self._others: list[Connection] = []

    # ---- blocks

    def begin(self, block: Block) -> list[tuple[Block, Typed, Connection]]:
        """Prepare for a block of any language. Returns the waiting commands to compare after it."""
        if block.has("fresh"):
            if self._waiting:
                raise Mismatch(self._waiting[0][1].line, "this command still waits")
            self.forget()
            Connection(self._ports, 6379)("FLUSHALL")
        for line in block.texts("wait"):
            reply, _, command = line.partition(" ")
            self._wait_for(block, reply, command)
        over, self._waiting = self._waiting, []
        return over

    def end(self, over: list[tuple[Block, Typed, Connection]]) -> None:
        """Compare the replies of commands that waited while a block was done."""
        for block, typed, connection in over:
            self._compare(block, typed, self._read(typed, connection))

    def end_all(self) -> None:
        """Compare the replies of all waiting commands, at the end of the page."""
        over, self._waiting = self._waiting, []
        self.end(over)

    def forget(self) -> None:
        """Close all connections and forget all ids."""
        self._terminals, self._others, self._waiting = {}, [], []
        self._names.forget()

    def do(self, block: Block) -> None:
        """Run a block."""
        for command in block.texts("before"):
            self._prepare(block, command)
        try:
            commands = session(block.lines, block.line)
        except ValueError as error:
            raise Mismatch(block.line, str(error)) from None
        meanwhile = block.texts("meanwhile")
        for typed in commands:
            is_last = typed is commands[-1]
            if typed.subscribes:
                self._subscribe(block, typed, meanwhile)
                meanwhile = []
            elif meanwhile and typed.waits:
                self._with_others(block, typed, meanwhile)
                meanwhile = []
            elif is_last and typed.waits_without_limit:
                self._leave_waiting(block, typed)
            elif READS.match(typed.command) and not typed.waits:
                self._repeat(block, typed)
            else:
                self._compare(block, typed, self._ask(typed))
        if meanwhile:
            raise Mismatch(block.line, "'meanwhile' needs a command that blocks")

    def _prepare(self, block: Block, command: str) -> None:
        """Send a command of `before`. If it blocks, leave it waiting."""
        typed = Typed(block.line, 6379, command)
        if not typed.waits:
            self._succeed(block, command)
            return
        self._others.append(Connection(self._ports, typed.port))
        self._send_and_wait(typed, self._others[-1])

    # ---- commands

    def _terminal(self, port: int) -> Connection:
        if port not in self._terminals:
            self._terminals[port] = Connection(self._ports, port)
        return self._terminals[port]

    def _words(self, typed: Typed) -> list[bytes]:
        # Escapes are bytes.
        return [self._names.in_place(word).encode("utf-8") for word in split(typed.command)]

    def _ask(self, typed: Typed) -> list[str]:
        connection = self._terminal(typed.port)
        reply = connection(*self._words(typed))
        if isinstance(reply, Error) and reply.startswith("MOVED ") and typed.shown[:1]:
            if typed.shown[0].startswith("-> Redirected"):
                _, slot, address = reply.split()
                other = self._terminal(int(address.rpartition(":")[2]))
                moved = f"-> Redirected to slot [{slot}] located at {address}"
                return [moved, *written(other(*self._words(typed)), typed.command)]
        return written(reply, typed.command)

    def _repeat(self, block: Block, typed: Typed) -> None:
        end = time.monotonic() + self._patience_s
        while self._differs(block, typed, actual := self._ask(typed)) and time.monotonic() < end:
            select.select([], [], [], 0.005)
        self._compare(block, typed, actual)

    def _read(self, typed: Typed, connection: Connection) -> list[str]:
        try:
            return written(connection.read(), typed.command)
        except TimeoutError:
            raise Mismatch(typed.line, f"{typed.command}\nstill waits after 15 s") from None

    def _subscribe(self, block: Block, typed: Typed, meanwhile: list[str]) -> None:
        """Subscribe, run the commands of other clients, and read as many messages as the page shows."""
        connection = Connection(self._ports, typed.port)
        connection.send(self._words(typed))
        actual = [line for line in typed.shown if line.startswith("Reading messages")]
        actual += self._read(typed, connection)
        for command in meanwhile:
            self._succeed(block, command)
        while len(actual) < len(typed.shown):
            actual += self._read(typed, connection)
        self._compare(block, typed, actual)

    def _leave_waiting(self, block: Block, typed: Typed) -> None:
        connection = self._terminals.pop(typed.port, None) or Connection(self._ports, typed.port)
        self._send_and_wait(typed, connection)
        self._waiting.append((block, typed, connection))

    def _with_others(self, block: Block, typed: Typed, meanwhile: list[str]) -> None:
        """Send a blocking command, run the commands of other clients, and read the reply."""
        connection = self._terminal(typed.port)
        self._send_and_wait(typed, connection)
        for command in meanwhile:
            self._succeed(block, command)
        self._compare(block, typed, self._read(typed, connection))

    def _send_and_wait(self, typed: Typed, connection: Connection) -> None:
        """Send a command. Returns when it waits in the server or has a reply."""
        watcher, client = Connection(self._ports, typed.port), connection("CLIENT", "ID")

        def waits_or_is_answered() -> bool:
            flags = re.search(rb" flags=(\w+)", watcher("CLIENT", "LIST", "ID", client))
            return connection.has_reply() or bool(flags) and b"b" in flags[1]

        connection.send(self._words(typed))
        try:
            wait_until(waits_or_is_answered, "it waits", self._patience_s)
        except NotInTime:
            raise Mismatch(typed.line, f"{typed.command}\nneither waits nor has a reply") from None

    def _succeed(self, block: Block, command: str) -> None:
        """Send a command of another client. It must succeed."""
        typed = Typed(block.line, 6379, command)
        reply = Connection(self._ports, typed.port)(*self._words(typed))
        if isinstance(reply, Error):
            raise Mismatch(block.line, f"{command}\n(error) {reply}")

    def _wait_for(self, block: Block, reply: str, command: str) -> None:
        connection = Connection(self._ports, 6379)
        words = self._words(Typed(block.line, 6379, command))

        def is_so() -> bool:
            actual = connection(*words)
            return (actual.decode() if isinstance(actual, bytes) else str(actual)) == reply

        try:
            wait_until(is_so, f"{command} is {reply}", self._patience_s)
        except NotInTime as late:
            raise Mismatch(block.line, str(late)) from None

    # ---- comparing

    def _differs(self, block: Block, typed: Typed, actual: list[str]) -> bool:
        return self._aligned(block, typed, actual) is None

    @staticmethod
    def _aligned(block: Block, typed: Typed, actual: list[str]) -> list[tuple[int, int]] | None:
        shown, real = masked_reply(typed.shown, typed.command), masked_reply(actual, typed.command)
        if block.has("numbers"):
            shown, real = without_numbers(shown), without_numbers(real)
        return align(shown, real)

    def _compare(self, block: Block, typed: Typed, actual: list[str]) -> None:
        pairs = self._aligned(block, typed, actual)
        if pairs is None:
            raise Mismatch(typed.line, difference(typed.command, typed.shown, actual))
        try:
            for one, other in pairs:
                self._names.learn(typed.shown[one], actual[other], typed.queue)
        except OtherTask as error:
            raise Mismatch(typed.line, f"{typed.command}\n{error}") from None
