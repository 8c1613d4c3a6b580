"""BullMQ: lists `bull:NAME:wait` and `paused`, sorted sets `prioritized` and `delayed`, a hash `bull:NAME:ID` per job.

The score of a delayed job is its due time in ms, times 4096, plus a counter. A job's data is JSON.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from .job import Entry, Job, Left, Place, origin, renamed
from .source import hashes

PER_MS = 4096
Format = Literal["envelope", "data"]

NO_ZONE = (
    "has no time zone: its times are UTC here, and in BullMQ were those of its process. "
    "If that had another zone, add it: TZ Europe/Berlin"
)


@dataclass
class BullmqSource:
    """A queue of BullMQ by its name and prefix. Format `data` makes the job's data alone the payload.

    For the commands of schedules: `redis_cli` are the words that reach the target's server, and `schedules_key` is the
    key in which the target has its schedules, if that is not its name.
    """

    client: Any
    name: str
    prefix: str = "bull"
    format: Format = "envelope"
    names: Mapping[str, str] = field(default_factory=dict)
    redis_cli: Sequence[str] = ("redis-cli",)
    schedules_key: str = ""
    system: str = "BullMQ"

    def key(self, part: str) -> str:
        """A key of the queue."""
        return f"{self.prefix}:{self.name}:{part}"

    @property
    def staging(self) -> str:
        """The key that holds jobs between taking and pushing. It has the hash tag of the other keys."""
        return f"taskslot:migrate:{self.key('jobs')}"

    def places(self) -> list[Place]:
        """The waiting, the paused, the prioritized and the delayed. Raises ValueError if there is no such queue."""
        if not self.client.exists(self.key("meta"), self.key("wait"), self.key("id"), self.staging):
            raise ValueError(
                f"BullMQ has no queue {self.name} on this server: there is no key {self.key('meta')} "
                "(a queue with another prefix needs --prefix)"
            )
        lists = [Place(self.key("wait"), "tail"), Place(self.key("paused"), "tail")]
        return [*lists, Place(self.key("prioritized"), "scores"), Place(self.key("delayed"), "scores")]

    def jobs(self, place: Place, entries: Sequence[Entry]) -> list[Job | Left | None]:
        """Read the jobs with these ids."""
        ids = [one.member.decode(errors="replace") for one in entries]
        found = hashes(self.client, [self.key(one) for one in ids])
        with self.client.pipeline(transaction=False) as pipe:
            for one in ids:
                pipe.exists(self.key(f"{one}:processed"), self.key(f"{one}:dependencies"))
            is_parent = pipe.execute()
        is_delayed = place.key == self.key("delayed")
        return [
            None
            if job_id.startswith("0:")
            else self._job(job_id, job, is_it, entry.score if is_delayed else None)
            for entry, job_id, job, is_it in zip(entries, ids, found, is_parent, strict=True)
        ]

    def _job(
        self, job_id: str, job: Mapping[bytes, bytes], is_parent: int, score: float | None
    ) -> Job | Left:
        data = job.get(b"data")
        if data is None:
            return Left(job_id, "its hash is gone")
        if b"rjk" in job:
            return Left(job_id, "it is the next run of a schedule: see below")
        if b"parentKey" in job:
            return Left(job_id, "a job of a flow waits for it")
        if is_parent:
            return Left(job_id, "it has the results of its children in a flow")
        try:
            payload, options = self._payload(job), options_of(job)
        except (ValueError, TypeError, AttributeError):
            return Left(job_id, "its hash can't be read")
        if score is not None:
            options["at"] = int(score) // PER_MS
        options["headers"] = origin("bullmq", f"{self.name}:{job_id}")
        token = job.get(b"deid", b"").decode(errors="replace")
        return Job(
            job_id, payload, options, self.key(job_id), hashlib.sha1(data).hexdigest(),
            (self.key(f"{job_id}:logs"),), self.key(f"de:{token}") if token else "",
        )  # fmt: skip

    def _payload(self, job: Mapping[bytes, bytes]) -> str:
        """The payload. The data's text is kept as it is, so that no number changes. Raises ValueError."""
        data = job[b"data"].decode()
        json.loads(data)
        if self.format == "data":
            return data
        name = renamed(dict(self.names), job.get(b"name", b"").decode())
        return f'{{"task":{json.dumps(name, ensure_ascii=False)},"args":[{data}]}}'

    def notes(self, target: str) -> list[str]:
        """What BullMQ has besides, and the schedules as commands."""
        notes = []
        for part, what in (("waiting-children", "jobs that wait for children"), ("failed", "failed jobs")):
            if number := self.client.zcard(self.key(part)):
                notes.append(f"not moved, {what}: {number}")
        if number := self.client.llen(self.key("active")):
            notes.append(f"not moved, running jobs: {number}")
        if self.client.hexists(self.key("meta"), "paused"):
            notes.append(f"the queue is paused in BullMQ; {target} is not, unless you pause it")
        schedules = [one.decode(errors="replace") for one in self.client.zrange(self.key("repeat"), 0, -1)]
        found = hashes(self.client, [self.key(f"repeat:{one}") for one in schedules])
        for name, fields in zip(schedules, found, strict=True):
            command, *more = self._schedule(name, fields, self.schedules_key or target)
            notes += [f"a schedule, not moved: {command}", *more]
        return notes

    def _schedule(self, name: str, fields: Mapping[bytes, bytes], target: str) -> list[str]:
        """The command that sets a schedule, or what it lacks; and what has to be said besides."""
        text = {key.decode(): value.decode(errors="replace") for key, value in fields.items()}
        words = [*self.redis_cli, "TASK.CRON", target, "SET", name]
        pattern = text.get("pattern", "").split()
        if len(pattern) == 6 and pattern[0] == "0":
            pattern = pattern[1:]
        if text.get("every"):
            words += ["EVERY", text["every"]]
        elif len(pattern) == 5:
            words += ["CRON", " ".join(pattern), *(["TZ", text["tz"]] if text.get("tz") else [])]
        else:
            pattern_text = text.get("pattern") or "of an old version"
            return [f"{name} ({pattern_text}): CRON has five fields, without seconds"]
        if ends := [one for one in ("limit", "endDate", "startDate") if text.get(one)]:
            return [f"{name} has {', '.join(ends)}, which schedules here have not"]
        job = {key.encode(): value.encode() for key, value in text.items()} | {
            b"data": text.get("data", "{}").encode()
        }
        attempts = json.loads(text.get("opts") or "{}").get("attempts") or 1
        command = shlex.join([*words, "ATTEMPTS", str(attempts), "PAYLOAD", self._payload(job)])
        has_zone = bool(text.get("every") or text.get("tz"))
        return [command] if has_zone else [command, f"  {name} {NO_ZONE}"]


def options_of(job: Mapping[bytes, bytes]) -> dict[str, Any]:
    """The options of the push: attempts that are left, and the priority. Raises ValueError.

    In BullMQ jobs without a priority go first, then 1, 2, 3. Here higher goes first, and most tasks have 0.
    """
    options = json.loads(job.get(b"opts") or b"{}")
    made = int(job.get(b"atm") or job.get(b"attemptsMade") or 0)
    priority = int(job.get(b"priority") or options.get("priority") or 0)
    found: dict[str, Any] = {"attempts": max(1, int(options.get("attempts") or 1) - made)}
    if priority > 0:
        found["priority"] = -min(priority, 128)
    return found
