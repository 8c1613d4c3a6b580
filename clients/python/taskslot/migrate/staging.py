"""The staging key: a hash on the old system's server that holds each job from when it is taken until it is pushed.

A job is in exactly one of three states: in its place, in the staging key, or moved. Each step from one to the next is
one script, so that nothing is between two states when the process or a connection dies. Each job gets a token of its
own when it is taken. It is pushed as a unique task with that token. So a job whose push counted, but which is still
staged, is not pushed twice.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .job import Entry, Job, Place

# Fields of the hash beside those of jobs: the run that may change it, and the queue that interrupted runs moved to.
OWNER, TARGET = "owner", "target"
OVERTAKEN = "TAKEN another run of this command has begun on this queue: this one stops"

BEGIN = """
local target = redis.call('HGET', KEYS[1], 'target')
if target and target ~= ARGV[2] and redis.call('HLEN', KEYS[1]) > 2 then return target end
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'target', ARGV[2])
return ''
"""
OWNED = (
    f"if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return redis.error_reply('{OVERTAKEN}') end\n"
)

# ARGV: owner, kind; for each job: member, score, key of its body, witness, token, record. A job that is no longer
# there, or has changed since it was read, stays as it is.
TAKE = (
    OWNED
    + """
local function removed(member, score)
  if ARGV[2] == 'head' then return redis.call('LREM', KEYS[2], 1, member) end
  if ARGV[2] == 'tail' then return redis.call('LREM', KEYS[2], -1, member) end
  if ARGV[2] == 'unacked' then
    redis.call('ZREM', KEYS[3], member)
    return redis.call('HDEL', KEYS[2], member)
  end
  local now = redis.call('ZSCORE', KEYS[2], member)
  if not now or tonumber(now) ~= tonumber(score) then return 0 end
  return redis.call('ZREM', KEYS[2], member)
end
local taken = {}
for n = 3, #ARGV, 6 do
  local body = ARGV[n + 2]
  local data = body ~= '' and redis.call('HGET', body, 'data')
  local same = body == '' or (data and redis.sha1hex(data) == ARGV[n + 3])
  local is_taken = 0
  if same and removed(ARGV[n], ARGV[n + 1]) > 0 then
    is_taken = 1
    redis.call('HSET', KEYS[1], 'job:' .. ARGV[n + 4], ARGV[n + 5])
    if body ~= '' then redis.call('RENAME', body, KEYS[1] .. ':' .. ARGV[n + 4]) end
  end
  taken[#taken + 1] = is_taken
end
return taken
"""
)

# ARGV: owner; for each job: token, key of its body, the id, a pointer to the job, the number of further keys, those.
DROP = (
    OWNED
    + """
local n = 2
while n <= #ARGV do
  local token, body, id, pointer, keys = ARGV[n], ARGV[n + 1], ARGV[n + 2], ARGV[n + 3], tonumber(ARGV[n + 4])
  if redis.call('HDEL', KEYS[1], 'job:' .. token) == 1 and body ~= '' then
    redis.call('DEL', KEYS[1] .. ':' .. token)
    if redis.call('EXISTS', body) == 0 then
      for k = 1, keys do redis.call('DEL', ARGV[n + 4 + k]) end
      if pointer ~= '' and redis.call('GET', pointer) == id then redis.call('DEL', pointer) end
    end
  end
  n = n + 5 + keys
end
return 1
"""
)

# ARGV: owner, kind, token, member, score, value, key of its body. 0 if a new job with this id has come meanwhile.
PUT_BACK = (
    OWNED
    + """
local kind, token, member, body = ARGV[2], ARGV[3], ARGV[4], ARGV[7]
local kept = KEYS[1] .. ':' .. token
if body ~= '' and redis.call('EXISTS', body) == 1 then return 0 end
if redis.call('HDEL', KEYS[1], 'job:' .. token) == 0 then return 0 end
if body ~= '' and redis.call('EXISTS', kept) == 1 then redis.call('RENAME', kept, body) end
if kind == 'head' then redis.call('LPUSH', KEYS[2], member)
elseif kind == 'tail' then redis.call('RPUSH', KEYS[2], member)
elseif kind == 'scores' then redis.call('ZADD', KEYS[2], ARGV[5], member)
else
  redis.call('HSET', KEYS[2], member, ARGV[6])
  redis.call('ZADD', KEYS[3], ARGV[5], member)
end
return 1
"""
)

END = """
if redis.call('HGET', KEYS[1], 'owner') == ARGV[1] and redis.call('HLEN', KEYS[1]) == 2 then
  return redis.call('DEL', KEYS[1])
end
return 0
"""


@dataclass(frozen=True)
class Staged:
    """A job in the staging key. `place` and `entry` are None for one that an earlier run has taken."""

    token: str
    order: int
    job: Job
    place: Place | None = None
    entry: Entry | None = None

    @property
    def is_fresh(self) -> bool:
        """Whether this run has taken it, so that no earlier run can have pushed it."""
        return self.place is not None

    def record(self) -> str:
        """What the staging key holds of it: all that a later run needs."""
        job = self.job
        return json.dumps(
            {"order": self.order, "id": job.id, "payload": job.payload, "options": job.options, "body": job.body_key,
             "beside": job.beside, "pointer": job.pointer}
        )  # fmt: skip


class Staging:
    """The staging key of one queue. `OVERTAKEN` is what the server says to a run after a newer one has begun."""

    def __init__(self, client: Any, key: str) -> None:
        self.client = client
        self.key = key
        self.owner = uuid.uuid4().hex

    def begin(self, target: str) -> None:
        """Become the run that may change the key. Raises ValueError if jobs are left in it for another target."""
        found = self.client.eval(BEGIN, 1, self.key, self.owner, target)
        if found:
            raise ValueError(
                f"an interrupted run has taken jobs out for {found.decode()}: first finish it with that queue "
                f"as the target (the jobs are in {self.key})"
            )

    def end(self) -> None:
        """Remove the key if no job is in it."""
        self.client.eval(END, 1, self.key, self.owner)

    def records(self) -> list[Staged]:
        """The jobs that interrupted runs have left, in their order."""
        found = self.client.hgetall(self.key)
        return sorted(
            (
                read_record(name[4:].decode(), value)
                for name, value in found.items()
                if name.startswith(b"job:")
            ),
            key=lambda one: one.order,
        )

    def take(self, place: Place, chosen: Sequence[tuple[Entry, Job]], system: str) -> list[Staged]:
        """Take jobs out of a place. Those that are no longer there, or have changed, are not in the result."""
        order = time.time_ns()
        staged = [
            Staged(token_of(system, job.id), order + number, job, place, entry)
            for number, (entry, job) in enumerate(chosen)
        ]
        words: list[Any] = [self.owner, place.kind]
        for one, (entry, job) in zip(staged, chosen, strict=True):
            words += [entry.member, repr(entry.score), job.body_key, job.witness, one.token, one.record()]
        flags = self.client.eval(TAKE, 3, self.key, place.key, place.index or place.key, *words)
        return [one for one, flag in zip(staged, flags, strict=True) if flag]

    def drop(self, staged: Sequence[Staged]) -> None:
        """Forget jobs that are pushed, and remove what the old system holds of them."""
        words: list[Any] = [self.owner]
        for one in staged:
            job = one.job
            words += [one.token, job.body_key, job.id, job.pointer, len(job.beside), *job.beside]
        if staged:
            self.client.eval(DROP, 1, self.key, *words)

    def put_back(self, staged: Sequence[Staged]) -> list[Staged]:
        """Put jobs of this run back as the next ones of their places. Returns those that had to stay."""
        return [one for one in reversed(staged) if not self._put_back(one)]

    def _put_back(self, one: Staged) -> bool:
        if one.place is None or one.entry is None:
            return False
        place, entry = one.place, one.entry
        words = (place.kind, one.token, entry.member, repr(entry.score), entry.value, one.job.body_key)
        keys = (self.key, place.key, place.index or place.key)
        return bool(self.client.eval(PUT_BACK, 3, *keys, self.owner, *words))


def read_record(token: str, text: bytes) -> Staged:
    """A job as the staging key holds it."""
    found = json.loads(text)
    job = Job(
        found["id"], found["payload"], found["options"], found["body"],
        beside=tuple(found["beside"]), pointer=found["pointer"],
    )  # fmt: skip
    return Staged(token, found["order"], job)


def token_of(system: str, job_id: str) -> str:
    """A new token: an id can be used again for another job, so it alone is not enough. At most 256 bytes."""
    name = job_id.encode(errors="replace")[:120].decode(errors="ignore")
    return f"{system.lower()}:{name}:{uuid.uuid4().hex}"
