"""The settings and limits of queues and groups during a run.

A setting can change during a run. Then the value that forbids least is the one that rules go by.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from chaos.history import Call, History

# The product's defaults, of the settings that rules look at.
DEFAULTS = {"lease": 30_000, "attempts": 25, "stalls": 5, "run-max": -1, "concurrency": -1, "rate": -1}
DEFAULTS |= {"group-concurrency": -1, "group-rate": -1, "rate-per": 1000, "group-rate-per": 1000}
DEFAULTS |= {"backoff-max": 3_600_000, "retain": 0, "dead-ttl": -1, "dead-max": 100_000}


class Limits:
    """What was set for queues and groups, by the run or by calls."""

    def __init__(self, history: History) -> None:
        run = history.run
        self._settings: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        self._purges: dict[str, list[Call]] = defaultdict(list)
        self._pauses: dict[str, list[Call]] = defaultdict(list)
        self._retries: dict[str, list[Call]] = defaultdict(list)
        for queue, settings in run.settings.items():
            self._settings[queue].append(settings)
        for queue, groups in run.groups.items():
            for group, options in groups.items():
                self._groups[queue, group].append(options)
        for call in history.calls:
            if call.call == "config":
                self._settings[call.queue].append(call.asked.get("settings", {}))
            elif call.call == "group":
                self._groups[call.queue, call.asked["group"]].append(call.asked)
            elif call.call == "purge" and "ids" not in call.asked and call.may_count:
                self._purges[call.queue].append(call)
            elif call.call == "retry" and "count" in call.asked and call.may_count:
                self._retries[call.queue].append(call)
            elif call.call in ("pause", "resume"):
                self._pauses[call.queue].append(call)

    def values(self, queue: str, name: str) -> list[int]:
        """All values that this setting had."""
        found = [settings[name] for settings in self._settings.get(queue, []) if name in settings]
        return [int(value) for value in found] or [DEFAULTS[name]]

    def lease_ms(self, queue: str) -> int:
        """The shortest lease of a claim that gives none."""
        return min(self.values(queue, "lease"))

    def run_max_s(self, queue: str) -> float:
        """The longest time that a lease is certain to be allowed to last."""
        return min((value / 1000 for value in self.values(queue, "run-max") if value >= 0), default=math.inf)

    def stalls(self, queue: str) -> float:
        """The fewest stalls that can make a task dead."""
        return min((value for value in self.values(queue, "stalls") if value >= 0), default=math.inf)

    def most(self, queue: str, name: str) -> float:
        """The highest value of a setting for which -1 means no limit."""
        values = self.values(queue, name)
        return math.inf if -1 in values else max(values)

    def group_options(self, queue: str, group: str) -> list[dict[str, Any]]:
        """Everything that was set for this group."""
        return self._groups.get((queue, group), [])

    def limited(self, queue: str, group: str | None) -> bool:
        """Whether anything but the order of the queue can have held this group's tasks back."""
        if queue in self._pauses:
            return True
        if any(math.isfinite(self.most(queue, name)) for name in ("concurrency", "rate")):
            return True
        if group is None:
            return False
        of_each = any(math.isfinite(self.most(queue, name)) for name in ("group-concurrency", "group-rate"))
        return of_each or bool(self.group_options(queue, group))

    def purges(self, queue: str) -> list[Call]:
        """The calls that purged tasks by their state."""
        return self._purges.get(queue, [])

    def retries(self, queue: str) -> list[Call]:
        """The calls that retried dead tasks without naming them."""
        return self._retries.get(queue, [])

    def groups(self) -> Iterator[tuple[str, str]]:
        """All groups for which something was set."""
        yield from self._groups
