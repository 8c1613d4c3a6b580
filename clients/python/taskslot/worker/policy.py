"""The policy of a function: when its task is tried again, when it is dead, and how long it may run."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

log = logging.getLogger("taskslot")

# How long finished tasks of a function are kept, in ms. None leaves it to the push and the queue's setting.
Retain = int | Literal["default"] | None
Errors = type[BaseException] | Iterable[type[BaseException]]
Backoff = int | tuple[int, int] | Callable[[int], int]

# The longest delay of the server: 100 years.
MOST_MS = 100 * 366 * 86_400_000
# By how much a delay that grows varies, either way, so that tasks that failed together are not tried together.
JITTER = 0.1


class PolicyOptions(TypedDict, total=False):
    """What a function can say about its failed attempts and its time."""

    backoff: (
        Backoff | None
    )  # ms to the next attempt; (first, most) doubles; or a function of the failure's number
    retry_for: Errors | None  # only these exceptions are tried again; all others make the task dead
    dead_for: Errors  # these exceptions make the task dead at once
    timeout_ms: int | None  # how long the function may run


@dataclass(frozen=True, slots=True)
class Policy:
    """What a worker does when a function fails, or takes too long."""

    backoff: Backoff | None = None
    retry_for: tuple[type[BaseException], ...] | None = None
    dead_for: tuple[type[BaseException], ...] = ()
    timeout_ms: int | None = None

    @classmethod
    def of(
        cls,
        backoff: Backoff | None = None,
        retry_for: Errors | None = None,
        dead_for: Errors = (),
        timeout_ms: int | None = None,
    ) -> Policy:
        """Check what a user gave. Raises TypeError and ValueError."""
        check_backoff(backoff)
        if timeout_ms is not None and (isinstance(timeout_ms, bool) or not isinstance(timeout_ms, int)):
            raise TypeError("timeout_ms must be a number of ms")
        if timeout_ms is not None and timeout_ms < 1:
            raise ValueError("timeout_ms must be at least 1")
        retried = None if retry_for is None else classes(retry_for, "retry_for")
        return cls(backoff, retried, classes(dead_for, "dead_for"), timeout_ms)

    @property
    def counts_failures(self) -> bool:
        """Whether the delay depends on the number of failures."""
        return isinstance(self.backoff, tuple) or callable(self.backoff)

    def is_dead(self, error: BaseException) -> bool:
        """Whether an exception makes the task dead, whatever its `attempts`."""
        if isinstance(error, self.dead_for):
            return True
        return self.retry_for is not None and not isinstance(error, self.retry_for)

    def delay_ms(self, failure: int) -> int | None:
        """How long the task waits after this failure, 1 for the first; None for the queue's backoff."""
        if self.backoff is None:
            return None
        if isinstance(self.backoff, int | float):
            return round(self.backoff)
        if isinstance(self.backoff, tuple):
            first, most = self.backoff
            delay: int = min(most, first * 2 ** min(failure - 1, 64))
            return max(1, round(delay * random.uniform(1 - JITTER, 1 + JITTER)))
        try:
            return checked_ms(self.backoff(failure))
        except Exception:
            log.exception("backoff failed, so the queue's backoff applies")
            return None


NO_POLICY = Policy()


def check_backoff(backoff: Any) -> None:
    """Raise TypeError or ValueError for what is no backoff."""
    if backoff is None or callable(backoff):
        return
    if isinstance(backoff, tuple) and len(backoff) == 2:
        first, most = whole_ms(backoff[0]), whole_ms(backoff[1])
        if not 1 <= first <= most:
            raise ValueError("backoff=(first, most) needs 1 ≤ first ≤ most")
        return
    whole_ms(backoff)


def whole_ms(value: Any) -> int:
    """A span in the code, which is ms: 1.5 is a mistake, most likely seconds. Raises TypeError and ValueError."""
    ms = checked_ms(value)
    if ms != value:
        raise ValueError(
            f"backoff is in ms, whole numbers: {value} is none; for seconds write {value * 1000:g}"
        )
    return ms


def checked_ms(value: Any) -> int:
    """A span as a whole number of ms. Raises TypeError and ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        what = type(value).__name__
        raise TypeError(f"backoff must be ms, (first, most) in ms, or a function that returns ms, not {what}")
    if not 0 <= value <= MOST_MS:
        raise ValueError(f"backoff must be from 0 to {MOST_MS} ms, not {value}")
    return round(value)


def classes(errors: Any, name: str) -> tuple[type[BaseException], ...]:
    """One class of exceptions or several as a tuple. Raises TypeError for anything else."""
    found = (errors,) if isinstance(errors, type) else tuple(errors)
    if not all(isinstance(one, type) and issubclass(one, BaseException) for one in found):
        raise TypeError(f"{name} must be a class of exceptions, or several")
    return found
