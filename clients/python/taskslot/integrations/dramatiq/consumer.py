"""Brings the messages of one queue to a Dramatiq worker, and their outcomes to the server."""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import dramatiq
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.errors import ConnectionClosed, DecodeError
from dramatiq.logging import get_logger
from dramatiq.message import Message

from ...arguments import MOST, token
from ...errors import LeaseLost
from ...replies import Task
from ...tracebacks import described, error_text
from ...worker.retries import passes
from .holdings import AnyQueue, Claim, Holdings, TaskslotMessage

# The files whose calls an error leaves out.
DRAMATIQ = str(Path(dramatiq.__file__).parent)


class TaskslotConsumer(Consumer):
    """Claims messages of a queue, as many as `prefetch` says with those that were not answered yet.

    A claim waits at most `timeout` ms. Worker threads answer messages while the consumer's thread claims others.
    """

    def __init__(self, queue: AnyQueue, holdings: Holdings, prefetch: int, timeout: int) -> None:
        self.logger = get_logger(__name__, type(self))
        self.queue, self.prefetch, self.timeout = queue, prefetch, timeout
        self._holdings = holdings
        self._worker = f"dramatiq-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._claimed: deque[TaskslotMessage] = deque()
        # What it has claimed itself. It also answers messages of the consumer before it, which don't count.
        self._held: set[str] = set()
        self._answered = threading.Condition()

    # ---- to the worker

    def __next__(self) -> TaskslotMessage | None:
        """The next message; None if there is none in time. Raises `ConnectionClosed` if the server takes no claims."""
        if not self._claimed and (places := self._wait_for_places()) > 0:
            self._take(self._claim(places))
        return self._claimed.popleft() if self._claimed else None

    def _wait_for_places(self) -> int:
        """How many more messages the worker can hold. If it is full, wait until one is answered."""
        with self._answered:
            if len(self._held) >= self.prefetch:
                self._answered.wait(self.timeout / 1000)
            return self.prefetch - len(self._held)

    def _claim(self, places: int) -> list[Task]:
        # A claim without a reply may have leased messages, which this consumer or the next one gets by its token.
        unanswered, name = self._holdings.unanswered, self.queue.name
        claim = unanswered.pop(name, None) or Claim(self._worker, token())
        try:
            with translated(self.queue):
                return self.queue.claim(
                    min(places, MOST),
                    block_ms=max(1, self.timeout),
                    request=claim.request,
                    lease_ms=self._holdings.lease_ms,
                    worker=claim.worker,
                )
        except Exception:
            unanswered[name] = claim
            raise

    def _take(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            try:
                message = TaskslotMessage(Message.decode(task.payload), task)
            except DecodeError as error:
                self._refuse(task, error)
                continue
            self._holdings.take(self.queue, message)
            self._claimed.append(message)
            with self._answered:
                self._held.add(task.handle)

    def _refuse(self, task: Task, error: DecodeError) -> None:
        """Make a task dead that is no message. If that fails, it comes again when its lease ends."""
        self.logger.error("Task %s of %s is not a message: %s", task.id, self.queue.name, error.error)
        try:
            self._fail(task, described(error.error))
        except Exception as failed:
            self.logger.warning("Task %s could not be made dead: %s", task.id, failed)

    # ---- to the server

    def ack(self, message: MessageProxy) -> None:
        """Finish a message; if its retry could not be pushed, give it back instead."""
        if isinstance(message, TaskslotMessage) and message.again_ms is not None:
            delay_ms = message.again_ms
            self._answer(message, lambda task: self.queue.requeue(task, delay_ms=delay_ms))
        else:
            self._answer(message, self.queue.ack)

    def nack(self, message: MessageProxy) -> None:
        """Make a message a dead task, with its exception and the traceback as the error."""
        error = message._exception
        text = None if error is None else error_text(error, DRAMATIQ)
        self._answer(message, lambda task: self._fail(task, text))

    def _fail(self, task: Task, error: str | None) -> None:
        self.queue.fail(task, error, dead=True)

    def _answer(self, message: MessageProxy, send: Callable[[Task], object]) -> None:
        """Send an answer. While the server takes none, the message stays held, and Dramatiq answers again later."""
        assert isinstance(message, TaskslotMessage)
        try:
            with translated(self.queue):
                send(message.task)
        except LeaseLost:
            self.logger.warning("Message %s lost its lease: it may run again.", message.message_id)
        except ConnectionClosed:
            raise
        except Exception:
            self._let_go([message])
            raise
        self._let_go([message])

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Give messages back, to their old positions."""
        given = [message for message in messages if isinstance(message, TaskslotMessage)]
        self._let_go(given)
        with translated(self.queue):
            self.queue.requeue_many([message.task for message in given])

    def close(self) -> None:
        """Give back what was claimed, but not handed to the worker yet."""
        given = list(self._claimed)
        self._claimed.clear()
        self.requeue(given)

    def _let_go(self, messages: Sequence[TaskslotMessage]) -> None:
        self._holdings.let_go(messages)
        with self._answered:
            self._held.difference_update(message.task.handle for message in messages)
            self._answered.notify()


@contextmanager
def translated(queue: AnyQueue, but: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Raise Dramatiq's error of a connection instead of one that passes, so that Dramatiq tries again later.

    Those in `but` stay what they are.
    """
    try:
        yield
    except but:
        raise
    except Exception as error:
        if passes(queue, error):
            raise ConnectionClosed(error) from error
        raise
