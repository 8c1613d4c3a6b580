"""A connection of the worker: reads its commands one after the other, and answers as a server would."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from . import greeting
from .faults import Fault
from .model import ModelTask
from .resp import ErrorReply, packed, read_command
from .sent import BadCommand, Sent, taken_apart

if TYPE_CHECKING:
    from .stage import Stage

# The longest time that a reply is held back, if no other command ends that.
HELD_S = 12.0


class Connection:
    """One connection. Commands that come while a claim waits are noted, and answered after it."""

    def __init__(
        self, stage: Stage, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.stage = stage
        self.number = number
        self.protocol = 2
        self.is_open = True
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
                    self.stage.rules.came_behind_a_claim(words)
                self._waits_read += waits(words)
                self._come.put_nowait(words)
        finally:
            self.cut()
            serving.cancel()

    def cut(self) -> None:
        """Close the connection."""
        self.is_open = False
        with suppress(Exception):
            self._writer.transport.abort()
        self.stage.changed()

    async def _serve(self) -> None:
        with suppress(ConnectionError):
            while self.is_open:
                words = await self._come.get()
                await self._reply_to(words)
                self._waits_read -= waits(words)

    async def _reply_to(self, words: list[bytes]) -> None:
        name = words[0].upper()
        if not name.startswith(b"TASK."):
            return self._write(greeting.reply(self, words))
        try:
            sent = taken_apart(words, time.monotonic(), self.number)
        except BadCommand as error:
            self.stage.rules.broken(
                "commands that the server accepts", f"{words[0].decode('latin-1')}: {error}"
            )
            return self._write(ErrorReply(str(error)))
        if sent.name == "TASK.NEXT" and not self.stage.has_next:
            return self._write(greeting.unknown(words))
        self.stage.rules.came(sent)
        self.stage.sent.append(sent)
        self.stage.changed()
        await self._carry_out(sent, self.stage.next_fault(sent))

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
        self.stage.changed()

    async def _executed(self, sent: Sent) -> tuple[Any, list[ModelTask]]:
        """Carry out a command. Returns its reply, and the tasks that it has."""
        model = self.stage.model
        answers = model.answers(sent) if sent.handles else None
        if not sent.claims:
            return (answers, []) if sent.handles else (greeting.task_reply(model, sent), [])
        await self._wait_for_tasks(sent)
        tasks = model.claim(sent) if self.is_open else []
        reply = model.reply_of(tasks, "WITHMETA" in sent.options)
        return ([answers, reply] if sent.name == "TASK.NEXT" else reply), tasks

    async def _wait_for_tasks(self, sent: Sent) -> None:
        block_ms = sent.number("BLOCK", 0)
        ends_at = time.monotonic() + block_ms / 1000 + (self.stage.late_s if block_ms else 0.0)
        sent.is_waiting = True
        while self.is_open and not self.stage.model.has_ready(sent.request):
            if (left_s := ends_at - time.monotonic()) <= 0 or self.stage.rules.ends_waits():
                break
            await self.stage.change(min(left_s, 0.05))
        sent.is_waiting = False

    async def _hold(self, sent: Sent) -> None:
        """Hold a reply back until the worker has given up the connection or sent the command again."""
        ends_at = time.monotonic() + HELD_S

        def is_again(other: Sent) -> bool:
            return other is not sent and other.request == sent.request and other.is_answered

        while self.is_open and time.monotonic() < ends_at and not any(map(is_again, self.stage.sent)):
            await self.stage.change(0.05)

    def _write(self, reply: Any) -> None:
        if self.is_open:
            self._writer.write(packed(reply, self.protocol))


def waits(words: list[bytes]) -> bool:
    """Whether a command is a claim that waits in the server."""
    return words[0].upper() in (b"TASK.CLAIM", b"TASK.NEXT") and b"BLOCK" in map(bytes.upper, words)
