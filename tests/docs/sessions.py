"""Types the redis-cli sessions of a page on its servers, and does what others do meanwhile."""

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

# Commands that are repeated until their reply is as shown.
READS = re.compile(
    r"(TASK\.(GET|LEN|INFO|LIST|RESULT)|INFO|ROLE|DBSIZE|EXISTS|TTL|PTTL|TYPE|SCAN|LATENCY|MEMORY|WAIT|CLUSTER|GET|LLEN|XLEN)\b",
    re.I,
)


class Connection(Talk):
    """A connection to a port that a page names."""

    def __init__(self, ports: Ports, port: int):
        self.port = port
        self._ports = ports
        super().__init__(self)

    def raw(self):
        """What `Talk` speaks over."""
        return self._ports.connect(self.port)

    def has_reply(self) -> bool:
        """Whether there is something to read."""
        return bool(select.select([self._socket], [], [], 0)[0])


class Sessions:
    """The terminals of a page: one for each port, and those in which a command waits."""

    def __init__(self, place: Workplace):
        self._ports, self._names, self._patience_s = place.ports, place.names, place.patience_s
        self._terminals: dict[int, Connection] = {}
        # Commands that wait until the next block is over.
        self._waiting: list[tuple[Block, Typed, Connection]] = []
        # Connections of others that wait.
        self._others: list[Connection] = []

    # ---- blocks

    def begin(self, block: Block) -> list[tuple[Block, Typed, Connection]]:
        """Do what has to be done before a block of any language: whose commands are over when it is."""
        if block.has("fresh"):
            if self._waiting:
                raise Mismatch(self._waiting[0][1].line, "nothing follows that ends this wait")
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
        """Compare the replies of all commands that wait: nothing follows."""
        over, self._waiting = self._waiting, []
        self.end(over)

    def forget(self) -> None:
        """Close all connections; ids that were shown stand for nothing."""
        self._terminals, self._others, self._waiting = {}, [], []
        self._names.forget()

    def do(self, block: Block) -> None:
        """Type a block."""
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
            raise Mismatch(block.line, "'meanwhile' needs a command that waits")

    def _prepare(self, block: Block, command: str) -> None:
        """Send what `before` says; if it waits, it is left waiting."""
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
        while self._differs(block, typed, came := self._ask(typed)) and time.monotonic() < end:
            select.select([], [], [], 0.005)
        self._compare(block, typed, came)

    def _read(self, typed: Typed, connection: Connection) -> list[str]:
        try:
            return written(connection.read(), typed.command)
        except TimeoutError:
            raise Mismatch(typed.line, f"{typed.command}\nstill waits, 15 s later") from None

    def _subscribe(self, block: Block, typed: Typed, meanwhile: list[str]) -> None:
        """Subscribe, let others do something, and read as many messages as are shown."""
        connection = Connection(self._ports, typed.port)
        connection.send(self._words(typed))
        came = [line for line in typed.shown if line.startswith("Reading messages")]
        came += self._read(typed, connection)
        for command in meanwhile:
            self._succeed(block, command)
        while len(came) < len(typed.shown):
            came += self._read(typed, connection)
        self._compare(block, typed, came)

    def _leave_waiting(self, block: Block, typed: Typed) -> None:
        connection = self._terminals.pop(typed.port, None) or Connection(self._ports, typed.port)
        self._send_and_wait(typed, connection)
        self._waiting.append((block, typed, connection))

    def _with_others(self, block: Block, typed: Typed, meanwhile: list[str]) -> None:
        """Send a command that waits, let others do something, and read its reply."""
        connection = self._terminal(typed.port)
        self._send_and_wait(typed, connection)
        for command in meanwhile:
            self._succeed(block, command)
        self._compare(block, typed, self._read(typed, connection))

    def _send_and_wait(self, typed: Typed, connection: Connection) -> None:
        """Send a command, and return when it waits in the server, or is answered."""
        watcher, client = Connection(self._ports, typed.port), connection("CLIENT", "ID")

        def waits_or_is_answered() -> bool:
            flags = re.search(rb" flags=(\w+)", watcher("CLIENT", "LIST", "ID", client))
            return connection.has_reply() or bool(flags) and b"b" in flags[1]

        connection.send(self._words(typed))
        try:
            wait_until(waits_or_is_answered, "it waits", self._patience_s)
        except NotInTime:
            raise Mismatch(typed.line, f"{typed.command}\nneither waits nor is answered") from None

    def _succeed(self, block: Block, command: str) -> None:
        """Send what somebody else does, which must succeed."""
        typed = Typed(block.line, 6379, command)
        reply = Connection(self._ports, typed.port)(*self._words(typed))
        if isinstance(reply, Error):
            raise Mismatch(block.line, f"{command}\n(error) {reply}")

    def _wait_for(self, block: Block, reply: str, command: str) -> None:
        connection = Connection(self._ports, 6379)
        words = self._words(Typed(block.line, 6379, command))

        def is_so() -> bool:
            came = connection(*words)
            return (came.decode() if isinstance(came, bytes) else str(came)) == reply

        try:
            wait_until(is_so, f"{command} is {reply}", self._patience_s)
        except NotInTime as late:
            raise Mismatch(block.line, str(late)) from None

    # ---- comparing

    def _differs(self, block: Block, typed: Typed, came: list[str]) -> bool:
        return self._aligned(block, typed, came) is None

    @staticmethod
    def _aligned(block: Block, typed: Typed, came: list[str]) -> list[tuple[int, int]] | None:
        shown, real = masked_reply(typed.shown, typed.command), masked_reply(came, typed.command)
        if block.has("numbers"):
            shown, real = without_numbers(shown), without_numbers(real)
        return align(shown, real)

    def _compare(self, block: Block, typed: Typed, came: list[str]) -> None:
        pairs = self._aligned(block, typed, came)
        if pairs is None:
            raise Mismatch(typed.line, difference(typed.command, typed.shown, came))
        try:
            for one, other in pairs:
                self._names.learn(typed.shown[one], came[other], typed.queue)
        except OtherTask as error:
            raise Mismatch(typed.line, f"{typed.command}\n{error}") from None
