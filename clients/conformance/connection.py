"""A connection of the worker: reads its commands one after the other, and answers as a server would."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

from . import greeting
from .faults import Fault
from .model import ModelTask
from .resp import ErrorReply, packed, read_command
from .rules import Rules
from .scene import Scene
from .sent import BadCommand, Sent, taken_apart

# The longest time that a reply is held back, if no other command ends that.
HELD_S = 12.0


class Connection:
    """One connection. Commands that come while a claim waits are noted, and answered after it."""

    def __init__(
        self,
        scene: Scene,
        rules: Rules,
        number: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._scene = scene
        self._rules = rules
        self.number = number
        self.protocol = 2
        self.is_open = True
        scene.open_connections.add(number)
        self._reader, self._writer = reader, writer
        self._come: asyncio.Queue[list[bytes]] = asyncio.Queue()
        self._waits_read = 0  # waiting claims that were read and have no reply

    async def live(self) -> None:
        """Serve until the connection ends."""
        serving = asyncio.create_task(self._serve())
        try:
            while True:
                words = await read_command(self._reader)
                if self._waits_read:
                    self._rules.came_behind_a_claim(words)
                self._waits_read += waits(words)
                self._come.put_nowait(words)
        finally:
            self.cut()
            serving.cancel()

    def cut(self) -> None:
        """Close the connection."""
        self.is_open = False
        self._scene.open_connections.discard(self.number)
        with suppress(Exception):
            self._writer.transport.abort()
        self._scene.changed()

    async def _serve(self) -> None:
        breaks_at, served = self._scene.next_break(), 0
        if breaks_at == 0:
            return self.cut()
        with suppress(ConnectionError):
            while self.is_open:
                words = await self._come.get()
                if breaks_at == served:
                    return self.cut()
                await self._reply_to(words)
                served += 1
                self._waits_read -= waits(words)

    async def _reply_to(self, words: list[bytes]) -> None:
        name = words[0].upper()
        if not name.startswith(b"TASK."):
            self.protocol = greeting.protocol(words, self.protocol)
            return self._write(greeting.reply(words, self.protocol, self.number))
        try:
            sent = taken_apart(words, time.monotonic(), self.number)
        except BadCommand as error:
            self._rules.broken("commands that the server accepts", f"{words[0].decode('latin-1')}: {error}")
            return self._write(ErrorReply(str(error)))
        if sent.name == "TASK.NEXT" and not self._scene.has_next:
            return self._write(greeting.unknown(words))
        self._rules.came(sent)
        self._scene.sent.append(sent)
        self._scene.changed()
        await self._carry_out(sent, self._scene.next_fault(sent))

    async def _carry_out(self, sent: Sent, fault: Fault | None) -> None:
        if fault is not None and fault.how == "not executed, connection cut":
            return self.cut()
        if fault is not None and fault.how == "refused":
            sent.is_answered = sent.is_refused = True
            return self._write(ErrorReply(fault.error))
        reply, tasks = await self._executed(sent)
        if not self.is_open:
            return
        if fault is not None and fault.how == "executed, connection cut":
            return self.cut()
        if fault is not None and fault.how == "reply held":
            await self._hold(sent)
            if not self.is_open:
                return
        for task in tasks:
            task.delivered_at = time.monotonic()
        sent.is_answered = True
        self._write(reply)
        self._scene.changed()

    async def _executed(self, sent: Sent) -> tuple[Any, list[ModelTask]]:
        """Carry out a command. Returns its reply, and the tasks that it has."""
        model = self._scene.model
        answers = model.answers(sent) if sent.handles else None
        if not sent.claims:
            return (answers, []) if sent.handles else (greeting.task_reply(model, sent), [])
        await self._wait_for_tasks(sent)
        tasks = model.claim(sent) if self.is_open else []
        reply = model.reply_of(tasks, "WITHMETA" in sent.options)
        return ([answers, reply] if sent.name == "TASK.NEXT" else reply), tasks

    async def _wait_for_tasks(self, sent: Sent) -> None:
        block_ms = sent.number("BLOCK", 0)
        ends_at = time.monotonic() + block_ms / 1000 + (self._scene.late_s if block_ms else 0.0)
        sent.is_waiting = True
        while self.is_open and not self._scene.model.has_ready(sent.request):
            if (left_s := ends_at - time.monotonic()) <= 0 or self._rules.ends_waits():
                break
            await self._scene.change(min(left_s, 0.05))
        sent.is_waiting = False

    async def _hold(self, sent: Sent) -> None:
        """Hold a reply back until the worker has given up the connection or sent the command again."""
        ends_at = time.monotonic() + HELD_S

        def is_again(other: Sent) -> bool:
            return other is not sent and other.request == sent.request and other.is_answered

        while self.is_open and time.monotonic() < ends_at and not any(map(is_again, self._scene.sent)):
            await self._scene.change(0.05)

    def _write(self, reply: Any) -> None:
        if self.is_open:
            self._writer.write(packed(reply, self.protocol))


def waits(words: list[bytes]) -> bool:
    """Whether a command is a claim that waits in the server."""
    return words[0].upper() in (b"TASK.CLAIM", b"TASK.NEXT") and b"BLOCK" in map(bytes.upper, words)
