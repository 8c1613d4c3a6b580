"""Claims tasks for the free places of a worker, and runs the short ones itself.

One thread at a time has the turn. In one round trip it acks what has ended and claims for all free places. Then it runs
the tasks whose functions are usually short, one after the other, which saves a switch of threads for each. The others
run on threads of their own, or on the event loop.

No task waits for long behind another: a guard looks now and then, and if the thread is still busy with the same tasks,
it starts another thread. That one takes the turn, so that answers and claims go on, and starts threads for the tasks
that wait. If the process can't start threads, the tasks run one after the other.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from .. import commands
from ..arguments import MOST, token
from ..replies import Task
from ..tracebacks import asks_for_password, described
from .answers import Answers, by_answer, groups, requeue
from .context import TaskContext
from .executor import Executor, Job
from .leases import Leases
from .options import WorkerOptions
from .outcomes import Done
from .places import Ended, Places
from .polling import Polling
from .relations import Relations
from .retries import log_retry, passes, rests
from .sources import Source
from .threads import Threads

log = logging.getLogger("taskslot")

# How long a claim waits in the server. A stop waits at most this long for the last claim.
BLOCK_MS = 1000
# How long the tasks that the claimer runs itself take together, by the last runs of their functions.
SPARE_S = 0.002
# How long the guard rests between two looks. A task waits behind another for about two of these, unless a function
# holds Python's GIL.
GUARD_S = 0.002

Acked = tuple[Done, Sequence[TaskContext]]  # the finished tasks of one ack


class Claimer:
    """Claims until the worker stops, or until an error that another claim would meet again. Then it calls `over`."""

    def __init__(
        self,
        options: WorkerOptions,
        claims: Source | Polling,
        threads: Threads,
        places: Places,
        leases: Leases,
        answers: Answers,
        executor: Executor,
        over: Callable[[], None],
    ) -> None:
        self._options = options
        self.claims = claims
        self._threads = threads
        self._places = places
        self._leases = leases
        self._answers = answers
        self._executor = executor
        self._over = over
        self._relations = {
            key: Relations(queue, options.codec, is_only=len(options.queues) == 1)
            for queue in options.queues
            for key in queue.keys
        }
        self._guard_needed = threading.Event()
        self._closed = False
        self._has_next = True
        self.has_ended = False
        self.error: BaseException | None = None

    def open(self) -> None:
        """Start claiming."""
        self._threads.start(partial(self._live, self._places.give_turn()))
        self._threads.start(self._guard)

    def close(self) -> None:
        """End the guard."""
        self._closed = True
        self._guard_needed.set()

    # ---- the thread that has the turn

    def _live(self, turn: object) -> None:
        try:
            while (found := self._places.next_turn(turn)) is not None:
                free, ended = found
                if not free and not ended:
                    break
                contexts, asked_at = self._exchange(min(free, MOST), ended)
                if contexts:
                    self._begin(turn, contexts, asked_at)
            else:
                return  # another thread has the turn
        except BaseException as error:  # a log handler can raise anything
            self.error = error
            self._answers.send_again(self._places.left_ended())
        self.has_ended = True
        self._over()
        if self.error is not None:
            wants = asks_for_password(self.error)
            why = "the server asks for a password" if wants else described(self.error)
            log.error("worker %s stops: %s", self._options.name, why)

    def _begin(self, turn: object, contexts: Sequence[TaskContext], asked_at: float) -> None:
        taken = self._places.take(contexts)
        if taken is None:
            requeue(contexts)
            return
        self._leases.add(taken, asked_at)
        if jobs := self._executor.start(taken, SPARE_S):
            self._run_here(turn, deque(jobs))

    def _run_here(self, turn: object, jobs: deque[Job]) -> None:
        self._places.begin(turn, jobs)
        if not self._guard_needed.is_set():
            self._guard_needed.set()
        while (job := taken_from(jobs)) is not None:
            if self._places.batch() is jobs or not self._executor.start_thread(job):
                self._executor.run(job, turn)

    # ---- the guard

    def _guard(self) -> None:
        while True:
            self._guard_needed.wait()
            if self._closed:
                return
            if (jobs := self._places.batch()) is not None:
                time.sleep(GUARD_S)
                if self._places.batch() is jobs:
                    self._relieve(jobs)
                continue
            self._guard_needed.clear()
            if self._places.batch() is not None or self._closed:
                self._guard_needed.set()

    def _relieve(self, jobs: deque[Job]) -> None:
        """Let another thread take the turn of the claimer, which is still busy with these tasks."""
        try:
            self._threads.start(partial(self._take_over, jobs))
        except RuntimeError:
            pass  # the process can't start another thread: the claimer goes on, and the guard looks again

    def _take_over(self, jobs: deque[Job]) -> None:
        """If the claimer is still busy with these tasks, start those that wait, and take its turn."""
        if (turn := self._places.give_turn(jobs)) is not None:
            while (job := taken_from(jobs)) is not None:
                if not self._executor.start_thread(job):
                    self._run_here(turn, deque([job]))
            self._live(turn)

    # ---- answers and claims

    def _exchange(self, free: int, ended: Sequence[Ended]) -> tuple[Sequence[TaskContext], float]:
        """Answer for tasks that have ended, and claim; in one round trip unless something is in the way.

        Returns the claimed tasks, and when the claim was sent first, as a monotonic time.
        """
        if isinstance(self.claims, Polling):
            return self._polled(self.claims, free) if free else ([], 0.0)
        asked_at, request = time.monotonic(), token()
        if self._places.together:
            # The answers count at once, also while the claim waits.
            self._leases.remove(context for context, _ in ended)
            if (contexts := self._at_once(self.claims, free, ended, request)) is not None:
                return contexts, asked_at
        try:
            tasks = self._claim(self.claims, free, request) if free else []
        except Exception as error:
            tasks, self.claims = [], self._singly(self.claims, error)
        return [self._context_of(task) for task in tasks], asked_at

    def _singly(self, source: Source, error: Exception) -> Polling:
        """The queues of a source that the server refuses, to be polled one by one: it may refuse only some of them.

        Raises the error if it is about one queue. Tied leases need one connection, so they end with it too.
        """
        if not source.also or self._options.tied:
            raise error
        self._places.together = False
        polling = Polling([source], self._places)
        polling.sources[0].queue.wire.outages = source.queue.wire.outages
        return polling

    def _polled(self, polling: Polling, free: int) -> tuple[Sequence[TaskContext], float]:
        """Claim from several sources. Tasks for which there is no place, of a claim whose reply was lost, go back."""
        found = polling.claim(free, self._options.claim_options())
        contexts = [self._context_of(task) for task in found.tasks]
        requeue(contexts[free:])
        return contexts[:free], found.asked_at

    def _at_once(
        self, source: Source, free: int, ended: Sequence[Ended], request: str
    ) -> Sequence[TaskContext] | None:
        """Send all answers and the claim in one go. None if the claim has to be sent again, with the same token."""
        acks, keys = list(groups(ended)), source.keys
        is_next = bool(free and acks and self._has_next and len(keys) == 1)
        sent = self._commands(keys, acks, free, request, is_next)
        replies = source.queue.wire.send_together([command.words for command in sent])
        if replies is None:
            self._answers.send_again(ended)
            return None
        answers, claimed = self._parted(source, replies, free, is_next)
        for (done, of), reply in zip(acks, answers, strict=True):
            again = of if isinstance(reply, Exception) else by_answer(of, reply)[1]
            self._answers.send_again([(context, done) for context in again])
        if isinstance(claimed, Exception):
            return None
        if not claimed:
            return []
        key, tasks = (keys[0], claimed) if len(keys) == 1 else commands.parted(claimed)
        relations = self._relations[key]
        return [self._context(key, relations, one) for one in tasks]

    def _commands(
        self, keys: Sequence[str], acks: Sequence[Acked], free: int, request: str, is_next: bool
    ) -> list[commands.Command[Any]]:
        """The commands of one turn. If `is_next`, the last ack and the claim are one command."""
        options = self._options.claim_options()
        last = len(acks) - 1 if is_next else len(acks)
        of_acks = [
            (of[0].task.key, [context.task.handle for context in of], done.result, done.retain_ms)
            for done, of in acks
        ]
        sent: list[commands.Command[Any]] = [commands.ack(*of) for of in of_acks[:last]]
        if is_next:
            sent.append(commands.claim_next(*of_acks[last], free, BLOCK_MS, request, **options))
        elif free:
            sent.append(commands.claim(keys, free, BLOCK_MS, request, **options))
        return sent

    def _parted(
        self, source: Source, replies: Sequence[Any], free: int, is_next: bool
    ) -> tuple[Sequence[Any], Any]:
        """The replies to the acks of one turn, and that to its claim."""
        if not free:
            return replies, []
        *answers, last = replies
        if not is_next:
            return answers, last
        if isinstance(last, Exception):
            # A module before 0.3.0 has no TASK.NEXT, and a user may lack the right to it.
            self._has_next = not source.queue.wire.kind.refuses_command(last)
            return [*answers, last], last
        acked, claimed = last
        return [*answers, acked], claimed

    def _context(self, key: str, relations: Relations, reply: Any) -> TaskContext:
        """A task of a claim's reply. What it has in addition is only read if the worker's user wants that."""
        if len(reply) > 3 and self._options.meta:
            return self._context_of(commands.read_task(key, reply))
        meta = reply[3] if len(reply) > 3 else None
        return TaskContext(
            commands.read_task(key, reply[:3]),
            self._leases.wake,
            is_kept=meta is not None and commands.in_meta(meta, b"retain") is not None,
            meta=meta,
            relations=relations,
        )

    def _context_of(self, task: Task) -> TaskContext:
        meta, relations = task.meta, self._relations[task.key]
        is_kept = meta is not None and meta.retain is not None
        task = task if self._options.meta else replace(task, meta=None)
        return TaskContext(task, self._leases.wake, is_kept=is_kept, meta=meta, relations=relations)

    def _claim(self, source: Source, count: int, request: str) -> list[Task]:
        """Claim, and again while a server is away, always with the same token: a lost reply may have had tasks."""
        for rest_s in rests():
            if self._places.is_stopping():
                break
            try:
                return source.claim(count, BLOCK_MS, request, self._options.claim_options())
            except Exception as error:
                if not passes(source.queue, error):
                    raise
                log_retry(error, f"claim of {source.name} failed")
            self._places.rest(rest_s)
        return []


def taken_from(jobs: deque[Job]) -> Job | None:
    """The next task, if there is one. Two threads can ask at the same time."""
    try:
        return jobs.popleft()
    except IndexError:
        return None
