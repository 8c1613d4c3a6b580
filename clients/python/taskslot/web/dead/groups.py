"""Dead tasks grouped by the pattern of their error: how many, the newest, the oldest, an example. No connection."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace

from ...replies import TaskView
from .patterns import pattern

# Patterns of one queue. A queue whose errors are all different has its other tasks in `others`.
MOST_PATTERNS = 300
# Letters of an example.
EXAMPLE = 1500


@dataclass
class DeadGroup:
    """The dead tasks of a queue with one pattern. Instants are unix times in ms of the server's clock."""

    pattern: str
    count: int = 0
    newest_at: int = 0
    oldest_at: int = 0
    example_id: str = ""
    example: str = ""
    workers: set[str] = field(default_factory=set)

    def add(self, task: TaskView, task_id: str) -> None:
        """Count a task. The newest one is the example, under the id that it has in its queue."""
        at = task.dead_since or 0
        if not self.count or at > self.newest_at:
            self.newest_at, self.example_id, self.example = at, task_id, (task.error or "")[:EXAMPLE]
        self.oldest_at = at if not self.count else min(self.oldest_at, at)
        self.count += 1
        if task.worker and len(self.workers) < 3:
            self.workers.add(task.worker)


@dataclass
class DeadGroups:
    """The groups of what was looked at so far. `others` counts tasks whose pattern had no room.

    One thread adds tasks while others read the groups.
    """

    looked: int = 0
    others: int = 0
    by_pattern: dict[str, DeadGroup] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, task: TaskView, task_id: str) -> None:
        """Count a dead task, which has this id in its queue."""
        name = pattern(task.error)
        with self._lock:
            self.looked += 1
            group = self.by_pattern.get(name)
            if group is None:
                if len(self.by_pattern) >= MOST_PATTERNS:
                    self.others += 1
                    return
                group = self.by_pattern[name] = DeadGroup(name)
            group.add(task, task_id)

    def largest_first(self) -> list[DeadGroup]:
        """The groups as they are now, the largest first, and of equal ones the newest."""
        with self._lock:
            groups = [replace(group, workers=set(group.workers)) for group in self.by_pattern.values()]
        return sorted(groups, key=lambda one: (-one.count, -one.newest_at, one.pattern))
