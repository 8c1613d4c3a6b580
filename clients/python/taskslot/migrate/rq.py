"""RQ: the list `rq:queue:NAME`, the sorted set `rq:scheduled:NAME`, and a hash `rq:job:ID` for each job.

The hash holds `data`, a compressed pickle (or JSON) of the function's name, an instance, the arguments and the keyword
arguments. It is read without running code, see plain.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .job import Entry, Job, Left, Place, origin, renamed
from .plain import NotPlain, as_json, decompressed, from_json, unpickled
from .source import hashes

# Fields of a job that ask for more than one run of the function, and what they are.
MORE = {
    b"success_callback_name": "callbacks",
    b"failure_callback_name": "callbacks",
    b"stopped_callback_name": "callbacks",
    b"webhooks": "webhooks",
    b"repeats_left": "repeats (Repeat): set a schedule instead",
    b"rate_limit_key": "a rate limit: use a group instead",
    b"group_id": "a group of RQ that waits for it",
}
# The states of jobs that wait. Old versions of RQ had none.
WAITING = (b"queued", b"scheduled", b"created", b"")


@dataclass
class RqSource:
    """A queue of RQ by its name."""

    client: Any
    name: str
    names: Mapping[str, str] = field(default_factory=dict)
    system: str = "RQ"

    @property
    def staging(self) -> str:
        """The key that holds jobs between taking and pushing."""
        return f"taskslot:migrate:rq:{self.name}"

    def places(self) -> list[Place]:
        """The queue, and the jobs for later. Raises ValueError if RQ knows no queue of this name."""
        places = [Place(f"rq:queue:{self.name}", "head"), Place(f"rq:scheduled:{self.name}", "scores")]
        known = {one.decode(errors="replace") for one in self.client.smembers("rq:queues")}
        if places[0].key not in known and not self.client.exists(*(one.key for one in places), self.staging):
            names = ", ".join(sorted(one.removeprefix("rq:queue:") for one in known)[:10])
            raise ValueError(f"RQ has no queue {self.name} on this server; it has: {names or 'none'}")
        return places

    def jobs(self, place: Place, entries: Sequence[Entry]) -> list[Job | Left | None]:
        """Read the jobs with these ids."""
        ids = [one.member.decode(errors="replace") for one in entries]
        found = hashes(self.client, [f"rq:job:{one}" for one in ids])
        with self.client.pipeline(transaction=False) as pipe:
            for one in ids:
                pipe.exists(f"rq:job:{one}:dependents")
                pipe.pttl(f"rq:job:{one}")
            more = pipe.execute()
        return [
            self._job(
                job_id, job, entry.score if place.kind == "scores" else None, more[2 * n], more[2 * n + 1]
            )
            for n, (entry, job_id, job) in enumerate(zip(entries, ids, found, strict=True))
        ]

    def _job(
        self, job_id: str, job: Mapping[bytes, bytes], due_s: float | None, has_dependents: int, pttl: int
    ) -> Job | Left:
        data = job.get(b"data")
        if data is None:
            return Left(job_id, "its hash rq:job:ID is gone: RQ drops such ids")
        if reason := reason_to_stay(job, has_dependents):
            return Left(job_id, reason)
        try:
            payload = self._payload(data)
            options = options_of(job, due_s, pttl)
        except NotPlain as error:
            return Left(job_id, str(error))
        except (ValueError, ArithmeticError):
            return Left(job_id, "its hash can't be read")
        options["headers"] |= origin("rq", job_id)
        witness, beside = hashlib.sha1(data).hexdigest(), (f"rq:job::{job_id}:dependencies",)
        return Job(job_id, payload, options, f"rq:job:{job_id}", witness, beside)

    def _payload(self, data: bytes) -> str:
        text = decompressed(data)
        call = from_json(text) if text.startswith(b"[") else unpickled(text)
        if not isinstance(call, list | tuple) or len(call) != 4:
            raise NotPlain("its data has another form than RQ's")
        name, instance, args, kwargs = call
        if instance is not None or not isinstance(name, str):
            raise NotPlain("it calls a method of an object")
        if not isinstance(args, list | tuple) or not isinstance(kwargs, dict):
            raise NotPlain("its data has another form than RQ's")
        return as_json({"task": renamed(dict(self.names), name), "args": args, "kwargs": kwargs})

    def notes(self, target: str) -> list[str]:
        """What RQ has besides."""
        kinds = {
            "deferred": "jobs that wait for others (depends_on)",
            "wip": "running jobs",
            "failed": "failed jobs",
        }
        found = {what: self.client.zcard(f"rq:{part}:{self.name}") for part, what in kinds.items()}
        return [f"not moved, {what}: {number}" for what, number in found.items() if number]


def reason_to_stay(job: Mapping[bytes, bytes], has_dependents: int) -> str:
    """Why a job can't be moved without losing something; "" if it can."""
    status = job.get(b"status", b"")
    if status not in WAITING:
        return f"its state is {status.decode(errors='replace')[:30]}, not queued"
    if has_dependents:
        return "other jobs wait for it (depends_on)"
    return next((f"it has {what}" for name, what in MORE.items() if job.get(name)), "")


def options_of(job: Mapping[bytes, bytes], due_s: float | None, pttl: int) -> dict[str, Any]:
    """The options of the push. Raises ValueError for numbers that are none."""
    options: dict[str, Any] = {"attempts": int(job.get(b"retries_left") or 0) + 1, "headers": {}}
    if due_s is not None:
        options["at"] = round(due_s * 1000)
    if pttl > 0 or job.get(b"ttl"):
        options["ttl_ms"] = pttl if pttl > 0 else int(job[b"ttl"]) * 1000
    if int(job.get(b"result_ttl") or -1) >= 0:
        options["retain_ms"] = int(job[b"result_ttl"]) * 1000
    if timeout := job.get(b"timeout"):
        options["headers"]["timeout-s"] = timeout.decode()
    return options
