"""Runs several processes of a worker: starts them again when they die or their code changes, and stops them together.

The parent tells its children to stop through a pipe with two ends that both write, not by signals: Ctrl-C reaches the
whole process group and systemd signals each process of a service, so a child would count one request twice. If the
parent dies, the pipe closes, and the children stop too. A child says through it that it has loaded its code.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from ..worker import Worker
from .watch import Watch

log = logging.getLogger("taskslot")

# How the parent tells a child what it is: its number, and the end of the pipe.
NUMBER, PIPE = "TASKSLOT_PROCESS", "TASKSLOT_PIPE"
STOP, STOP_NOW = b"s", b"n"
LOADED = b"l"

# How often the parent looks at its children, and at files that may have changed.
LOOK_S, WATCH_S = 0.1, 0.5
# The shortest and the longest rest before a child that died is started again. It is the shortest again after a child
# has lived for LIVED_S.
RESTS_S, LIVED_S = (0.5, 30.0), 10.0
# How long tasks can go on after a change of code, before they are given back.
RELOAD_S = 1.0
# How long a child may take to give its tasks back and to end after STOP_NOW, before it is killed. If its server is
# away, it takes most of that.
KILL_S = 8.0
# A child ends with this status if its target can't be loaded: without a change, another start ends the same way. A task
# can end its process with it too, so it counts only if the child has not said that it has loaded.
UNUSABLE = 2
# The statuses of a child that has ended in time. The last three are of one that was still loading its code, and had
# claimed nothing: afterwards a worker handles these signals.
FINE = (0, 130, -signal.SIGINT, -signal.SIGTERM)


class Child:
    """One of the processes: how it is started, and when again."""

    def __init__(self, number: int, command: Sequence[str]) -> None:
        self.number = number
        self.starts_at = 0.0  # a monotonic time; infinite if only a change of code can help
        self.has_loaded = False  # whether its process, or the last one, has loaded its code
        self.has_ever_loaded = False
        self._command = command
        self._rest_s = RESTS_S[0]
        self._began_at = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: socket.socket | None = None

    @property
    def runs(self) -> bool:
        """Whether there is a process that has not been seen to end."""
        return self._process is not None

    def start(self) -> None:
        """Start the process."""
        pipe, its_end = socket.socketpair()
        env = {**os.environ, NUMBER: str(self.number), PIPE: str(its_end.fileno())}
        try:
            self._process = subprocess.Popen(
                self._command, env=env, pass_fds=[its_end.fileno()], stdin=subprocess.DEVNULL
            )
        except OSError:
            pipe.close()
            raise
        finally:
            its_end.close()
        pipe.setblocking(False)
        self._pipe, self.has_loaded = pipe, False
        self._began_at = time.monotonic()

    def tell(self, what: bytes) -> None:
        """Ask the process to stop."""
        if self._pipe is not None:
            with suppress(OSError):  # it has ended
                self._pipe.send(what)

    def kill(self) -> None:
        """End the process, even one that is suspended or runs no Python code."""
        if self._process is not None:
            self._process.kill()

    def ended(self) -> int | None:
        """The status of the process, once, if it has ended; negative if a signal ended it. Otherwise None."""
        if self._process is None or (status := self._process.poll()) is None:
            return None
        self._process = None
        if self._pipe is not None:
            with suppress(OSError):  # it has said nothing
                self.has_loaded = self._pipe.recv(1) == LOADED
            self._pipe.close()
            self._pipe = None
        self.has_ever_loaded |= self.has_loaded
        return status

    def rest(self) -> float:
        """Let it start again after a while, and return that time. It is longer each time that it dies soon."""
        if time.monotonic() - self._began_at > LIVED_S:
            self._rest_s = RESTS_S[0]
        rest_s, self._rest_s = self._rest_s, min(RESTS_S[1], 2 * self._rest_s)
        self.starts_at = time.monotonic() + rest_s
        return rest_s

    def again(self) -> None:
        """Let it start at once, because its code has changed."""
        self.starts_at, self._rest_s = 0.0, RESTS_S[0]


class Supervisor:
    """Runs `number` children until a signal. `watch` restarts them when code changes."""

    def __init__(self, command: Sequence[str], number: int, watch: Watch | None) -> None:
        self._children = [Child(one + 1, command) for one in range(number)]
        self._watch = watch
        self._signals = 0
        self._status = 0
        self._watched_at = 0.0

    def run(self) -> int:
        """Run the children. Returns 0 if all ended in time, 1 if some gave tasks back or died at the end."""
        handlers = {one: signal.signal(one, self._on_signal) for one in (signal.SIGTERM, signal.SIGINT)}
        try:
            while not self._signals and self._status != UNUSABLE:
                self._look()
                time.sleep(LOOK_S)
            self._stop()
        finally:
            for one, handler in handlers.items():
                signal.signal(one, handler)
        return self._status

    def _on_signal(self, *_: object) -> None:
        self._signals += 1

    # ---- while it runs

    def _look(self) -> None:
        for child in self._children:
            if (status := child.ended()) is not None:
                self._died(child, status)
            elif not child.runs and child.starts_at <= time.monotonic():
                self._start(child)
        now = time.monotonic()
        if self._watch is not None and now - self._watched_at > WATCH_S:
            self._watched_at = now
            if changes := self._watch.changes():
                self._reload(changes)

    def _start(self, child: Child) -> None:
        try:
            child.start()
        except OSError as error:  # the system has no room for another process
            rest_s = child.rest()
            log.error("process %d can't be started, trying again in %g s: %s", child.number, rest_s, error)

    def _died(self, child: Child, status: int) -> None:
        is_unusable = status == UNUSABLE and not child.has_loaded
        if is_unusable and self._watch is not None:
            child.starts_at = float("inf")
            log.error("process %d can't be started; waiting for a change of the code", child.number)
        elif is_unusable and not child.has_ever_loaded:
            child.starts_at = float("inf")
            self._status = UNUSABLE
        else:
            what = "can't load its code any more" if is_unusable else how(status)
            level = logging.ERROR if status else logging.INFO
            log.log(level, "process %d %s; starting it again in %g s", child.number, what, child.rest())

    def _reload(self, changes: Sequence[str]) -> None:
        more = f" and {len(changes) - 1} more" if len(changes) > 1 else ""
        log.info("%s%s changed: starting again", changes[0], more)
        until = time.monotonic() + RELOAD_S
        self._end(lambda: self._signals > 1 or time.monotonic() > until)
        for child in self._children:
            child.again()

    # ---- the end

    def _stop(self) -> None:
        running = sum(child.runs for child in self._children)
        if self._signals and running:
            what = "the process" if running == 1 else f"{running} processes"
            log.info("stopping %s; press Ctrl-C again, or send another signal, to stop at once", what)
        for status in self._end(lambda: self._signals > 1):
            self._status = self._status or (0 if status in FINE else 1)

    def _end(self, is_now: Callable[[], bool]) -> list[int]:
        """Stop all children and wait for their ends; without their grace once `is_now`. Returns their statuses."""
        self._tell(STOP)
        statuses, kill_at = list[int](), float("inf")
        while any(child.runs for child in self._children):
            if kill_at == float("inf") and is_now():
                self._tell(STOP_NOW)
                kill_at = time.monotonic() + KILL_S
            elif time.monotonic() > kill_at:
                self._kill()
                kill_at += KILL_S
            statuses += [status for child in self._children if (status := child.ended()) is not None]
            time.sleep(LOOK_S)
        return statuses

    def _tell(self, what: bytes) -> None:
        for child in self._children:
            child.tell(what)

    def _kill(self) -> None:
        for child in self._children:
            if child.runs:
                log.error(
                    "process %d has not stopped within %g s, so it is killed; its tasks come back with their leases",
                    *(child.number, KILL_S),
                )
                child.kill()


def how(status: int) -> str:
    """How a process ended."""
    if status >= 0:
        return f"ended with status {status}" if status else "has stopped by itself"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"


def command_of_this_process() -> list[str]:
    """The command that starts this program again, in the same way."""
    return [sys.executable, *sys.orig_argv[1:]]


# ---- in a child


class Parent:
    """What a child knows of its parent. `number` is the child's, from 1."""

    def __init__(self, number: int, pipe: int) -> None:
        self.number = number
        self._pipe = pipe
        os.set_inheritable(pipe, False)

    @classmethod
    def of_this_process(cls) -> Parent | None:
        """The parent of this process; None if it is none of a supervisor's children.

        The programs that it starts are no children, so it takes the note out of the environment.
        """
        number, pipe = os.environ.pop(NUMBER, None), os.environ.pop(PIPE, None)
        return cls(int(number), int(pipe)) if number and pipe else None

    def obey(self, worker: Worker) -> None:
        """Tell the parent that the code is loaded. Stop the worker when the parent says so, or has died."""
        with suppress(OSError):  # it has died
            os.write(self._pipe, LOADED)
        threading.Thread(target=self._listen, args=(worker,), name="taskslot-parent", daemon=True).start()

    def _listen(self, worker: Worker) -> None:
        with suppress(OSError):
            while said := os.read(self._pipe, 1):  # an empty read is the end of the pipe
                worker.stop(at_once=said == STOP_NOW)
        worker.stop()
