"""A queue as the keys that hold it: one, or those of all shards of a logical queue. A value, no connection."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ...shards import names


@dataclass(frozen=True)
class QueueKeys:
    """A queue by its name. `shards` is 0 for a queue in one key, else how many hold it."""

    name: str
    shards: int = 0

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The keys, by the number of the shard. Raises ValueError for a name that can have no shards."""
        return tuple(names(self.name, self.shards)) if self.shards else (self.name,)

    @property
    def query(self) -> dict[str, object]:
        """The parameters that name this queue in a link."""
        return {"key": self.name, "shards": self.shards or None}

    def located(self, task: str) -> tuple[int, str]:
        """The shard of a task, and the id that the server knows. Raises ValueError."""
        number, slash, bare = task.partition("/")
        if not self.shards and not slash:
            return 0, task
        if self.shards and not slash:
            raise ValueError("an id of a sharded queue begins with its shard, as in 5/1795334211134-0")
        if not self.shards or not (number.isascii() and number.isdigit()) or int(number) >= len(self.keys):
            raise ValueError("there is no such shard in this queue")
        return int(number), bare

    def id_in(self, shard: int, task: str) -> str:
        """The id that a task of a shard has in this queue."""
        return f"{shard}/{task}" if self.shards else task
