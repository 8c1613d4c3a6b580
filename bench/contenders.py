"""The contenders: taskslot, Redis Streams, a plain list and a queue in Lua, each as users would write it.

A contender turns tasks into calls (bytes of RESP). A call carries `size` tasks, in the commands that its interface has
for that: MPUSH, or ten XADDs in a pipeline, since XADD adds one entry. Replies are read and checked, so that no
contender is fast because it skips work.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Container, Iterator, Sequence
from typing import Any

from pipe import Pipe, Reply, decode, encode

# Leases that don't end while a million tasks are claimed and inspected.
LEASE_MS = 3_600_000


def chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """The items, `size` at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))


class Contender:
    """The interface of all contenders. For each task, `claimed` returns what `acks` needs to finish it."""

    name = ""
    how = ""
    needs_module = False
    # Whether a claim also finishes a task that was claimed before. Then there are no acks.
    claims_finish = False

    def prepare(self, pipe: Pipe, key: bytes, leased: int = 0) -> list[tuple]:
        """Create what is needed before the first task. Returns `leased` tasks, if each claim is to finish one."""
        return []

    def pushes(self, key: bytes, payloads: Sequence[bytes], size: int) -> list[bytes]:
        """The calls that push these payloads."""
        raise NotImplementedError

    def claims(self, key: bytes, count: int, size: int, leased: Sequence[tuple] = ()) -> list[bytes]:
        """The calls that claim `count` tasks, and finish the tasks that are leased if `claims_finish`."""
        raise NotImplementedError

    def claimed(self, replies: list[Reply]) -> list[tuple]:
        """The tasks in the replies to claims: for each its payload, then what identifies the task and its lease."""
        raise NotImplementedError

    def acks(self, key: bytes, tasks: Sequence[tuple], size: int) -> list[bytes]:
        """The calls that finish these tasks."""
        raise NotImplementedError

    def acked(self, replies: list[Reply]) -> int:
        """The number of tasks that were finished, by the replies to acks (or to claims, if they finish tasks)."""
        return sum(sum(reply) if isinstance(reply, list) else reply for reply in replies)


class Taskslot(Contender):
    """This module."""

    name = "taskslot"
    how = "PUSH, CLAIM, ACK; by tens MPUSH TASKS 10, CLAIM COUNT 10, ACK HANDLES 10; with WORKER"
    needs_module = True

    def prepare(self, pipe, key, leased=0):
        pipe.ask(b"TASK.CONFIG", key, b"SET", b"lease", LEASE_MS)
        return []

    def pushes(self, key, payloads, size):
        if size == 1:
            return [encode(b"TASK.PUSH", key, payload) for payload in payloads]
        return [encode(b"TASK.MPUSH", key, b"TASKS", len(some), *some) for some in chunks(payloads, size)]

    def claims(self, key, count, size, leased=()):
        words = [b"TASK.CLAIM", key, b"WORKER", b"w1"]
        words += [b"COUNT", size] if size > 1 else []
        return [encode(*words)] * (count // size)

    def claimed(self, replies):
        return [(payload, handle) for reply in replies for handle, payload, _ in reply]

    def acks(self, key, tasks, size):
        if size == 1:
            return [encode(b"TASK.ACK", key, handle) for _, handle in tasks]
        handles = [handle for _, handle in tasks]
        return [encode(b"TASK.ACK", key, b"HANDLES", len(some), *some) for some in chunks(handles, size)]


class TaskslotNext(Taskslot):
    """The same for workers that finish a task and claim the next one in one command.

    A slice's claims finish the tasks of the slice before, so as many tasks are leased as a slice has.
    """

    name = "taskslot, NEXT"
    how = "PUSH, NEXT; by tens MPUSH TASKS 10, NEXT HANDLES 10 … COUNT 10; with WORKER"
    claims_finish = True

    def prepare(self, pipe, key, leased=0):
        super().prepare(pipe, key)
        pipe.send(pipe.prepared(self.pushes(key, [b"first"] * leased, 1)))
        answer = pipe.send(pipe.prepared(super().claims(key, leased, 1)))
        return super().claimed(decode(answer))

    def claims(self, key, count, size, leased=()):
        handles = [handle for _, handle in leased]
        worker = (b"WORKER", b"w1")
        if size == 1:
            return [encode(b"TASK.NEXT", key, handle, *worker) for handle in handles]
        return [
            encode(b"TASK.NEXT", key, b"HANDLES", len(some), *some, *worker, b"COUNT", size)
            for some in chunks(handles, size)
        ]

    def claimed(self, replies):
        return super().claimed([tasks for _, tasks in replies])

    def acks(self, key, tasks, size):
        return []

    def acked(self, replies):
        return super().acked([answers for answers, _ in replies])


class Streams(Contender):
    """Redis Streams with a consumer group. Finishing takes two commands, because XACK alone lets the stream grow."""

    name = "Streams"
    how = "XADD, XREADGROUP, XACK + XDEL; by tens 10 × XADD in a pipeline, COUNT 10, both with 10 ids"

    def prepare(self, pipe, key, leased=0):
        pipe.ask(b"XGROUP", b"CREATE", key, b"g", b"0", b"MKSTREAM")
        return []

    def pushes(self, key, payloads, size):
        add = [encode(b"XADD", key, b"*", b"p", payload) for payload in payloads]
        return [b"".join(some) for some in chunks(add, size)]

    def claims(self, key, count, size, leased=()):
        words = [b"XREADGROUP", b"GROUP", b"g", b"w1", b"COUNT", size, b"STREAMS", key, b">"]
        return [encode(*words)] * (count // size)

    def claimed(self, replies):
        return [(fields[1], id) for reply in replies for _, found in reply for id, fields in found]

    def acks(self, key, tasks, size):
        ids = [id for _, id in tasks]
        both = (
            (encode(b"XACK", key, b"g", *some), encode(b"XDEL", key, *some)) for some in chunks(ids, size)
        )
        return [ack + delete for ack, delete in both]

    def acked(self, replies):
        finished, deleted = sum(replies[0::2]), sum(replies[1::2])
        return min(finished, deleted)


class StreamsAckDel(Streams):
    """The same with Redis 8.2's one command for both."""

    name = "Streams, XACKDEL"
    how = "XADD, XREADGROUP, XACKDEL … ACKED (Redis 8.2)"

    def acks(self, key, tasks, size):
        ids = [id for _, id in tasks]
        words = (b"XACKDEL", key, b"g", b"ACKED", b"IDS")
        return [encode(*words, len(some), *some) for some in chunks(ids, size)]

    def acked(self, replies):
        return sum(result == 1 for reply in replies for result in reply)


class PlainList(Contender):
    """Two lists: no leases, no time-outs, no tokens. Tasks are acked in order, so that LREM finds each at once."""

    name = "list"
    how = "LPUSH, LMOVE, LREM; by tens one LPUSH, 10 × LMOVE, 10 × LREM"

    def pushes(self, key, payloads, size):
        return [encode(b"LPUSH", key, *some) for some in chunks(payloads, size)]

    def claims(self, key, count, size, leased=()):
        move = encode(b"LMOVE", key, key + b":taken", b"RIGHT", b"LEFT")
        return [move * size] * (count // size)

    def claimed(self, replies):
        return [(payload,) for payload in replies]

    def acks(self, key, tasks, size):
        remove = [encode(b"LREM", key + b":taken", -1, payload) for (payload,) in tasks]
        return [b"".join(some) for some in chunks(remove, size)]


PUSH = """
for i = 1, #ARGV do
  local id = redis.call('INCR', KEYS[1])
  redis.call('HSET', KEYS[2], id, ARGV[i])
  redis.call('RPUSH', KEYS[3], id)
end
return #ARGV
"""
CLAIM = """
local tasks = {}
for i = 1, tonumber(ARGV[1]) do
  local id = redis.call('LPOP', KEYS[3])
  if not id then break end
  redis.call('ZADD', KEYS[4], ARGV[2], id)
  redis.call('HSET', KEYS[5], id, ARGV[3])
  tasks[i] = {id, redis.call('HGET', KEYS[2], id)}
end
return tasks
"""
ACK = """
local finished = 0
for i = 2, #ARGV do
  local id = ARGV[i]
  if redis.call('HGET', KEYS[5], id) == ARGV[1] then
    redis.call('HDEL', KEYS[5], id)
    redis.call('ZREM', KEYS[4], id)
    redis.call('HDEL', KEYS[2], id)
    finished = finished + 1
  end
end
return finished
"""


class LuaQueue(Contender):
    """The minimum for leases in Lua: a ready list, hashes of payloads and tokens, and a set of deadlines.

    The client passes time and token, and nothing looks for leases that have ended. A complete queue costs more.
    """

    name = "Lua"
    how = "EVALSHA of one script each: INCR, HSET, RPUSH · LPOP, ZADD, HSET, HGET · HGET, HDEL, ZREM, HDEL"
    token = b"0123456789abcdef"

    def prepare(self, pipe, key, leased=0):
        for script in (PUSH, CLAIM, ACK):
            pipe.ask(b"SCRIPT", b"LOAD", script.encode())
        return []

    def call(self, script: str, key: bytes, *args: bytes | int) -> bytes:
        """One EVALSHA with all five keys."""
        keys = [key + part for part in (b":id", b":tasks", b":ready", b":leases", b":tokens")]
        return encode(b"EVALSHA", SHA[script], len(keys), *keys, *args)

    def pushes(self, key, payloads, size):
        return [self.call(PUSH, key, *some) for some in chunks(payloads, size)]

    def claims(self, key, count, size, leased=()):
        deadline = int(time.time() * 1000) + LEASE_MS
        return [self.call(CLAIM, key, size, deadline, self.token)] * (count // size)

    def claimed(self, replies):
        return [(payload, id) for reply in replies for id, payload in reply]

    def acks(self, key, tasks, size):
        ids = [id for _, id in tasks]
        return [self.call(ACK, key, self.token, *some) for some in chunks(ids, size)]


SHA = {script: hashlib.sha1(script.encode()).hexdigest().encode() for script in (PUSH, CLAIM, ACK)}


def contenders(server: str, commands: Container[str]) -> tuple[list[Contender], dict[str, str]]:
    """The contenders that run on a server of this name (`redis-8.2`), and for each that is skipped the reason.

    `commands` are the names, in capitals, of the commands that the server and the module have.
    """
    here, skipped = [], {}
    needs = {TaskslotNext: "TASK.NEXT", StreamsAckDel: "XACKDEL"}
    for kind in (Taskslot, TaskslotNext, Streams, StreamsAckDel, PlainList, LuaQueue):
        if (command := needs.get(kind)) and command not in commands:
            skipped[kind.name] = f"{'this module' if kind.needs_module else server} has no {command}"
        else:
            here.append(kind())
    return here, skipped
