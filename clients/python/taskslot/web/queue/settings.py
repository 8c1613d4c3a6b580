"""The settings of a queue with their meaning, and how much of a limit is in use. Pure.

The texts are those of the table in docs/operations.md, which a test compares.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ... import figures
from ...replies import Info, Settings
from ..show.form_values import written_span

Unit = Literal["", "ms", "bytes", "percent", "word"]
NO_LIMIT = -1
UNIT_WORDS = {"ms": " ms", "bytes": " bytes", "percent": " %"}


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting: its name on the server, its default, what it means, and the unit of its value.

    `values` says which values are allowed. `used` counts what the setting limits.
    """

    name: str
    default: int | str
    values: str
    meaning: str
    unit: Unit = ""
    used: Callable[[Info], int] | None = None

    @property
    def attribute(self) -> str:
        """Its name in `Settings` and in `configure`."""
        return self.name.replace("-", "_")

    @property
    def allowed(self) -> str:
        """Which values are allowed, with their unit."""
        bounds = self.values.removesuffix(", -1")
        unit = UNIT_WORDS.get(self.unit, "") if bounds[-1:].isdigit() else ""
        return bounds + unit + ("; -1: no limit" if bounds != self.values else "")

    def text(self, value: int | str) -> str:
        """A value for people: `no limit`, `30,000 ms (30s)`, `1.5 MiB`, `10 %`."""
        if not isinstance(value, int):
            return value
        if value == NO_LIMIT:
            return "no limit"
        if self.unit == "bytes":
            return figures.size(value)
        span = f" ({written_span(value)})" if self.unit == "ms" and value >= 1000 else ""
        return f"{value:,}{UNIT_WORDS.get(self.unit, '')}{span}"


def waiting(info: Info) -> int:
    """The tasks that `max-len` counts."""
    return info.ready + info.delayed + info.held + info.leased


RATE, SPAN = "0 to 1000000, -1", "from 1"
SETTINGS = (
    Setting("lease", 30_000, "1 to 86400000", "length of a lease, if neither the claim nor the task gives one", "ms"),
    Setting("attempts", 25, "1 to 65535, -1", "failures until a task is dead"),
    Setting("stalls", 5, "1 to 65535, -1", "stalls (leases that ended without an answer) until a task is dead"),
    Setting(
        "backoff", "exponential", "exponential, linear, fixed",
        "how the delay grows after failure n: base · 2^(n-1), base · n, or base", "word",
    ),
    Setting("backoff-base", 1000, "from 1", "the first delay", "ms"),
    Setting("backoff-max", 3_600_000, "from 1", "the longest delay", "ms"),
    Setting(
        "backoff-jitter", 10, "0 to 100",
        "percent by which each delay after a FAIL varies at random, up or down. The first stall has no delay. The "
        "delay after a later stall is random, from 1 ms to the backoff", "percent",
    ),
    Setting(
        "run-max", NO_LIMIT, "1 to 30 days, -1",
        "the longest time a lease can be held, all extensions included", "ms",
    ),
    Setting(
        "max-len", NO_LIMIT, "from 0, -1",
        "the most ready, delayed, held and leased tasks together. One more push gets QFULL", used=waiting,
    ),
    Setting(
        "max-bytes", NO_LIMIT, "from 0, -1",
        "the most bytes of all tasks with their results and progress. Errors and waits come on top. The oldest done "
        "tasks are removed to make room for pushes", "bytes", lambda info: info.bytes,
    ),
    Setting(
        "dead-max", 100_000, "from 0, -1", "the most dead tasks. The oldest are removed",
        used=lambda info: info.dead,
    ),
    Setting("dead-ttl", NO_LIMIT, "from 0, -1", "how long a dead task is kept", "ms"),
    Setting("retain", 0, "from 0", "how long a finished task is kept as done. 0: it is removed at once", "ms"),
    Setting(
        "retain-max", 10_000, "from 0, -1", "the most done tasks. The oldest are removed",
        used=lambda info: info.done,
    ),
    Setting(
        "concurrency", NO_LIMIT, "from 0, -1", "the most leases at a time. 0 stops all claims",
        used=lambda info: info.leased,
    ),
    Setting("rate", NO_LIMIT, RATE, "the most claims in each span of rate-per. 0 stops all claims"),
    Setting("rate-per", 1000, SPAN, "the span of rate", "ms"),
    Setting("group-concurrency", NO_LIMIT, "from 0, -1", "the most leases of each group"),
    Setting("group-rate", NO_LIMIT, RATE, "the most claims of each group in a span"),
    Setting("group-rate-per", 1000, SPAN, "the span of group-rate", "ms"),
    Setting(
        "groups-max", 1_000_000, "0 to 10000000", "the most groups. A push into one more gets QFULL",
        used=lambda info: info.groups,
    ),
    Setting(
        "tokens-max", 1_000_000, "0 to 10000000",
        "the most UNIQUE tokens held. A push with one more gets QFULL", used=lambda info: info.tokens,
    ),
    Setting(
        "errors-kept", 1, "1 to 10", "how many of the last errors of a task are kept, up to 4 KiB each",
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Value:
    """A setting of one queue: its value, and how much of the limit is in use; None if it limits nothing that counts."""

    setting: Setting
    value: int | str
    used: int | None = None

    @property
    def is_default(self) -> bool:
        """Whether it has its default value."""
        return self.value == self.setting.default

    @property
    def text(self) -> str:
        """The value for people."""
        return self.setting.text(self.value)

    @property
    def default(self) -> str:
        """The default for people."""
        return self.setting.text(self.setting.default)

    @property
    def is_limit(self) -> bool:
        """Whether it limits something now."""
        return self.used is not None and isinstance(self.value, int) and self.value != NO_LIMIT


def values(settings: Settings, info: Info | None) -> list[Value]:
    """The settings of a queue, and those that a newer server has and this library does not know."""
    known = [
        Value(one, getattr(settings, one.attribute), one.used(info) if one.used and info else None)
        for one in SETTINGS
    ]
    newer = [
        Value(Setting(name, "", "", "not known to this version of the page"), of)
        for name, of in settings.more.items()
    ]
    return known + newer
