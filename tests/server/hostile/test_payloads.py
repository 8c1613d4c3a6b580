"""RESTORE of payloads that contradict themselves or declare wrong lengths.

Each is a rich queue as a server stored it, with one change and a valid checksum.
"""

from pathlib import Path

import msgpack
import pytest
from harness.dumps import (
    EOF,
    Page,
    fields,
    length,
    opened,
    sealed,
    sealed_flips,
    string,
    value_of,
    varint,
    without_clocks,
)
from harness.queues import rich_queue
from harness.seeds import REFUSED, SEEDS, digests, restore_all, standing, work
from harness.server import Server, digest
from harness.talk import Error, Talk

HUGE = [2**20, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**47, 2**63 - 1, 2**63, 2**64 - 1]


class Stored:
    """A stored queue taken apart, so that parts of it can be changed."""

    def __init__(self, payload: bytes):
        value, self.version = opened(payload)
        self.type, (self.broken, head, *chunks, end) = fields(value)
        assert end == b""
        self.head = msgpack.unpackb(head)
        # Groups and their turns, schedules and clocks are not changed.
        self.order = [chunk[:1] for chunk in chunks]
        self.others = {
            chunk[:1]: chunk for chunk in chunks if chunk[:1] in (b"b", b"g", b"k", b"s", b"t", b"u")
        }
        self.pages = [Page.read(chunk) for chunk in chunks if chunk[:1] == b"p"]
        (self.errors,) = (msgpack.unpackb(chunk[1:]) for chunk in chunks if chunk[:1] == b"x")
        (self.attempts,) = (msgpack.unpackb(chunk[1:]) for chunk in chunks if chunk[:1] == b"a")
        (self.results,) = (msgpack.unpackb(chunk[1:]) for chunk in chunks if chunk[:1] == b"d")
        (self.progress,) = (msgpack.unpackb(chunk[1:]) for chunk in chunks if chunk[:1] == b"w")
        (self.requests,) = (msgpack.unpackb(chunk[1:]) for chunk in chunks if chunk[:1] == b"r")
        (self.batches,) = (msgpack.unpackb(chunk[1:]) for chunk in chunks if chunk[:1] == b"c")
        (self.dependents,) = (msgpack.unpackb(chunk[1:]) for chunk in chunks if chunk[:1] == b"h")

    def chunks(self) -> list[bytes]:
        """The fields of the value, without the empty last one."""
        pages = [page.chunk() for page in self.pages]
        kinds = {
            b"x": self.errors,
            b"a": self.attempts,
            b"d": self.results,
            b"w": self.progress,
            b"r": self.requests,
        }
        kinds |= {b"c": self.batches, b"h": self.dependents}
        texts = {kind: kind + msgpack.packb(values) for kind, values in kinds.items()} | self.others
        first = self.order.index(b"p")
        before = [texts[kind] for kind in self.order[:first]]
        behind = [texts[kind] for kind in self.order[first:] if kind != b"p"]
        return [self.broken, msgpack.packb(self.head), *before, *pages, *behind]

    def payload(self, chunks: list[bytes] | None = None) -> bytes:
        """The payload made of all fields, or of the given chunks."""
        return sealed(
            value_of(self.type, [*(self.chunks() if chunks is None else chunks), b""]), self.version
        )

    @property
    def leased(self) -> list:
        """The entries of leased tasks."""
        return [entry for page in self.pages for entry in page.entries if entry.is_leased]

    @property
    def waiting(self) -> list:
        """The entries of tasks that have an entry but no lease."""
        return [entry for page in self.pages for entry in page.entries if not entry.is_leased]


def request(**changes: object) -> dict:
    """A remembered request that is valid except for the changes."""
    answer = {"p": {"first": {"ms": 1, "seq": 1}, "count": 1}}
    return {"token": b"t", "kept_until": 2**41, "answer": answer, **changes}


def parent(seq: int) -> dict:
    """A task to wait for."""
    return {"id": {"ms": 1, "seq": seq}, "is_open": True}


HANDLE = {"id": {"ms": 1, "seq": 1}, "lease": 1, "nonce": 1}
LIES = {
    # the head
    **{f"version {n}": lambda q, n=n: q.head.update(version=n) for n in (0, 5, 65535)},
    "a field more": lambda q: q.head.update(more=1),
    "a setting more": lambda q: q.head["settings"].update(more=1),
    "a setting in capitals": lambda q: q.head["settings"].update(LEASE=1),
    "a lease of 0 ms": lambda q: q.head["settings"].update(lease=0),
    "an endless lease": lambda q: q.head["settings"].update(lease=2**62),
    "a task pushed that is nowhere": lambda q: q.head["totals"].update(pushed=q.head["totals"]["pushed"] + 1),
    "a task acked that was not pushed": lambda q: q.head["totals"].update(
        acked=q.head["totals"]["acked"] + 1
    ),
    "totals about to overflow": lambda q: q.head["totals"].update(claimed=2**64 - 1),
    "negative totals": lambda q: q.head["totals"].update(claimed=-1),
    "ids above the last": lambda q: q.head["last_id"].update(seq=q.head["last_id"]["seq"] - 1),
    "a last id beyond all time": lambda q: q.head["last_id"].update(ms=2**64 - 1),
    "numbers not given yet": lambda q: q.head.update(next_order=q.head["next_order"] - 1),
    "numbers about to end": lambda q: q.head.update(next_order=2**48 - 1),
    "a lease not given yet": lambda q: q.head.update(last_lease=max(e.lease for e in q.leased) - 1),
    "leases above 2^53": lambda q: q.head.update(last_lease=2**53),
    "a worker twice": lambda q: q.head["workers"].append(q.head["workers"][0]),
    "a worker without a lease": lambda q: q.head["workers"].append(b"idle"),
    "a worker too few": lambda q: q.head["workers"].pop(),
    "a worker's name of 257 bytes": lambda q: q.head["workers"].__setitem__(0, b"w" * 257),
    "workers that are numbers": lambda q: q.head.update(workers=[1, 2, 3]),
    "a pause that is a text": lambda q: q.head["pauses"].update(inward="x"),
    # pages
    "no pages": lambda q: q.pages.clear(),
    "a page twice": lambda q: q.pages.append(q.pages[-1]),
    "pages out of order": lambda q: q.pages.reverse(),
    "a page without tasks": lambda q: q.pages.insert(0, Page(0, (1, 0), [b""])),
    "a page of too many slots": lambda q: q.pages[-1].records.extend([b""] * 256),
    "a page from beyond": lambda q: setattr(q.pages[-1], "first", 2**64 - 1),
    "ids beyond all time": lambda q: setattr(q.pages[-1], "base", (2**64 - 1, 0)),
    "a task twice": lambda q: q.pages[-1].records.__setitem__(-1, q.pages[-1].records[-2]),
    "a record of unknown kind": lambda q: q.pages[-1].records.__setitem__(
        -1, b"\x80" + q.pages[-1].records[-1][1:]
    ),
    "a record that is too long": lambda q: q.pages[-1].records.__setitem__(
        -1, q.pages[-1].records[-1] + b"x"
    ),
    "a record that is too short": lambda q: q.pages[-1].records.__setitem__(-1, q.pages[-1].records[-1][:-1]),
    # entries
    "entries out of order": lambda q: q.pages[0].entries.reverse(),
    "an entry twice": lambda q: q.pages[0].entries.append(q.pages[0].entries[-1]),
    "an entry of no task": lambda q: setattr(q.pages[0].entries[-1], "slot", 255),
    "an unknown flag": lambda q: setattr(q.waiting[0], "bits", q.waiting[0].bits | 0x40),
    "a flag of leases elsewhere": lambda q: setattr(q.waiting[0], "bits", q.waiting[0].bits | 0x08),
    "a span of leases elsewhere": lambda q: setattr(q.waiting[0], "held_ms", 1),
    "one lease held by two": lambda q: setattr(q.leased[0], "lease", q.leased[1].lease),
    "a lease without a number": lambda q: setattr(q.leased[0], "lease", 0),
    "a lease with a number to come": lambda q: setattr(q.leased[0], "lease", 2**56 - 1),
    "a lease longer than a day": lambda q: setattr(q.leased[0], "lease_ms", 2**32 - 1),
    "an unknown worker": lambda q: setattr(q.leased[0], "worker", 2**32 - 1),
    "two tasks in one turn": lambda q: setattr(q.waiting[0], "rank", q.waiting[1].rank),
    "a turn to come": lambda q: setattr(q.waiting[0], "rank", 2**48 - 1),
    # errors
    "an error of no task": lambda q: q.errors.append([2**40, b"\1\1\0\1x"]),
    "two errors of one task": lambda q: q.errors.append(q.errors[0]),
    "no errors": lambda q: q.errors[0].__setitem__(1, b""),
    "an error without a text": lambda q: q.errors[0].__setitem__(1, b"\1\1\0\0"),
    "an error with a tail": lambda q: q.errors[0].__setitem__(1, b"\1\1\0\1xy"),
    "an error that is too long": lambda q: q.errors[0].__setitem__(1, b"\1\1\0\x81\x20" + b"x" * 4097),
    "too many errors": lambda q: q.errors[0].__setitem__(1, b"\1\1\0\1x" * 11),
    # last attempts
    "an attempt on no task": lambda q: q.attempts.append([2**40, b"\1\1"]),
    "an attempt on a leased task": lambda q: q.attempts.append([q.progress[0][0], b"\1\1"]),
    "two attempts on one task": lambda q: q.attempts.append(q.attempts[0]),
    "an attempt without a span": lambda q: q.attempts[0].__setitem__(1, b"\1"),
    "an attempt by a name of 257 bytes": lambda q: q.attempts[0].__setitem__(1, b"\1\1" + b"w" * 257),
    # results and progress
    "a result of no task": lambda q: q.results.append([2**40, b"x"]),
    "a result of a leased task": lambda q: q.results.append([q.progress[0][0], b"x"]),
    "two results of one task": lambda q: q.results.append(q.results[0]),
    "a result that is too long": lambda q: q.results[0].__setitem__(1, b"x" * (2**20 + 1)),
    "a progress of a done task": lambda q: q.progress.append([q.results[0][0], b"x"]),
    "a progress without a text": lambda q: q.progress[0].__setitem__(1, b""),
    "a progress that is too long": lambda q: q.progress[0].__setitem__(1, b"x" * 4097),
    # requests
    "a token twice": lambda q: q.requests.append(q.requests[0]),
    "a token too long": lambda q: q.requests.append(request(token=b"t" * 257)),
    "a token kept until the past": lambda q: q.requests.append(request(kept_until=0)),
    "a token that is kept without end": lambda q: q.requests.append(request(kept_until=2**64 - 1)),
    "an answer of another kind": lambda q: q.requests.append(request(answer={"x": 1})),
    "an answer of too many pushes": lambda q: q.requests.append(
        request(answer={"p": {"first": {"ms": 1, "seq": 1}, "count": 1001}})
    ),
    "an answer whose ids overflow": lambda q: q.requests.append(
        request(answer={"p": {"first": {"ms": 1, "seq": 2**64 - 1}, "count": 2}})
    ),
    "an answer of too many leases": lambda q: q.requests.append(
        request(answer={"c": {"handles": [HANDLE] * 1001}})
    ),
    # batches
    "a batch twice": lambda q: q.batches.append(q.batches[0]),
    "batches out of order": lambda q: q.batches.reverse(),
    "two batches of one name": lambda q: q.batches[0].update(name=q.batches[1]["name"]),
    "a batch without a name": lambda q: q.batches[0].update(name=b""),
    "a batch's name of 257 bytes": lambda q: q.batches[0].update(name=b"b" * 257),
    "a batch with a number to come": lambda q: q.batches[-1].update(number=2**32 - 1),
    "a batch with number 0": lambda q: q.batches[0].update(number=0),
    "a batch without its callback": lambda q: q.batches[0].update(callback=2**40),
    "two batches with one callback": lambda q: q.batches[0].update(callback=q.batches[1]["callback"]),
    "a batch whose callback waits for nothing": lambda q: q.batches[0].update(is_over=True),
    "a batch that was opened beyond all time": lambda q: q.batches[0].update(opened_at=2**64 - 1),
    "counts of a batch about to overflow": lambda q: q.batches[0]["counts"].update(
        done=2**64 - 1, dead=2**64 - 1
    ),
    "a batch with fewer dead than there are": lambda q: q.batches[1]["counts"].update(dead=0),
    "a batch that is missing": lambda q: q.batches.pop(),
    # tasks that wait
    "a dependent twice": lambda q: q.dependents.append(q.dependents[0]),
    "a dependent that is nowhere": lambda q: q.dependents[0].update(order=2**40),
    "a dependent that waits for nothing": lambda q: q.dependents[1].update(parents=[]),
    "a dependent of too many": lambda q: q.dependents[1].update(parents=[parent(n) for n in range(1001)]),
    "a dependent of one task twice": lambda q: q.dependents[1]["parents"].append(
        q.dependents[1]["parents"][0]
    ),
    "a dependent of tasks out of order": lambda q: q.dependents[0]["parents"].reverse(),
    "a dependent of a task that is gone": lambda q: q.dependents[1].update(parents=[parent(1)]),
    "a held task that all is done for": lambda q: q.dependents[1]["parents"][0].update(is_open=False),
    "a held task without what it waits for": lambda q: q.dependents.pop(),
    "a dependent of another kind": lambda q: q.dependents[0].update(on_dead="?"),
    "too many tokens": lambda q: q.requests.extend(request(token=b"%d" % n) for n in range(10_000)),
}


@pytest.fixture
def stored(start) -> tuple[Server, Talk, Stored]:
    """A server with a rich queue `queue`, and its stored form."""
    server = standing(start, rdbcompression="no")
    # The server must run timers while the queue is made.
    server.client().execute_command("REPLICAOF", "NO", "ONE")
    rich_queue(server.client())
    server.client().execute_command("REPLICAOF", "127.0.0.1", 1)
    return server, Talk(server), Stored(server.client().dump("queue"))


def peak_memory(server: Server) -> int:
    """The largest resident size that the process ever had, in bytes."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def check_refused(server: Server, c: Talk, payloads: dict[str, bytes]) -> None:
    """All payloads are refused with a log line, nothing else changes, and no memory is allocated for them."""
    before, peak, log = c.digest("queue"), peak_memory(server), len(server.log())
    assert restore_all(c, payloads) == []
    assert c.digest("queue") == before and c("DBSIZE") == 1
    assert peak_memory(server) - peak < 64 << 20
    assert "panic" not in server.log()[log:]


def test_a_payload_without_a_lie_is_that_of_the_server(stored):
    """Therefore the lies are all that is wrong with the other payloads."""
    server, c, queue = stored
    assert without_clocks(queue.payload()) == without_clocks(server.client().dump("queue"))
    assert restore_all(c, {"twin": queue.payload()}) == ["twin"]
    assert c.digest("twin") == c.digest("queue")
    assert (
        len(queue.leased) >= 5 and len(queue.waiting) > 5 and len(queue.pages) > 2 and len(queue.errors) > 2
    )


def test_a_queue_that_contradicts_itself_is_refused(stored):
    """One broken invariant is enough."""
    server, c, _ = stored
    payloads = {}
    for name, lie in LIES.items():
        queue = Stored(server.client().dump("queue"))
        lie(queue)
        payloads[name] = queue.payload()
    check_refused(server, c, payloads)


def test_a_missing_field_of_the_head_is_refused(stored):
    """The exceptions are the fields that versions 1 and 2 did not have."""
    server, c, queue = stored
    payloads = {}
    for inside in (None, "totals", "last_id"):
        for name in queue.head if inside is None else queue.head[inside]:
            less = Stored(server.client().dump("queue"))
            (less.head if inside is None else less.head[inside]).pop(name)
            if name not in ("spent", "expired", "effects", "clock_offset_ms"):
                payloads[f"{inside} {name}"] = less.payload()
    assert len(payloads) > 20
    check_refused(server, c, payloads)


def test_chunks_of_a_wrong_order_or_kind_are_refused(stored):
    """An unknown chunk, a second head, a missing head or a chunk too early is an error."""
    server, c, queue = stored
    broken, head, first, *rest = queue.chunks()
    [errors] = [chunk for chunk in rest if chunk[:1] == b"x"]
    lists = {
        "an unknown chunk": [broken, head, first, *rest, b"?x"],
        "two heads": [broken, head, head, first, *rest],
        "no head": [broken, first, *rest],
        "texts first": [broken, head, errors, first, *(chunk for chunk in rest if chunk != errors)],
        "an empty head": [broken, b"", head, first, *rest],
        "only a head": [broken, head],
        "only a word": [broken],
        "nothing": [],
        "a head with a tail": [broken, head + b"\0", first, *rest],
        "texts with a tail": [broken, head, first, *rest[:-1], rest[-1] + b"\0"],
    }
    payloads = {name: queue.payload(chunks) for name, chunks in lists.items()}
    whole, _ = opened(queue.payload())
    payloads["no end"] = sealed(whole[:-1], queue.version)
    payloads["no last chunk"] = sealed(value_of(queue.type, queue.chunks()), queue.version)
    payloads["a number for a string"] = sealed(queue.type + b"\x02\x05\x00", queue.version)
    check_refused(server, c, payloads)


def test_a_wrong_length_takes_no_memory(stored):
    """Each length and count is declared as up to 2^64 - 1."""
    server, c, queue = stored
    chunks = queue.chunks()
    payloads = {}
    for n in HUGE:
        for at, chunk in enumerate(chunks):
            before = b"".join(map(string, chunks[:at]))
            payloads[f"string {at} {n}"] = sealed(
                queue.type + before + string(chunk, n) + length(EOF), queue.version
            )
        packed_here = length(5) + b"\xc3" + length(4) + length(n) + b"\x03abc"
        payloads[f"packed {n}"] = sealed(queue.type + packed_here + length(EOF), queue.version)
        page = queue.pages[0]
        head = [queue.broken, chunks[1]]
        start = b"p" + b"".join(map(varint, (page.first, *page.base, 1, 0)))
        for name, bad in {
            "slots": page.chunk(slots=n),
            "entries": page.chunk(entries=n),
            "record": start + varint(n) + b"x",
            "payload": start + varint(12) + b"\0\0" + varint(n).ljust(10, b"x"),
            "options": start + varint(12) + b"\1\0" + varint(n).ljust(10, b"x"),
        }.items():
            payloads[f"{name} {n}"] = queue.payload([*head, bad])
    big = (2**32 - 1).to_bytes(4, "big")
    bombs = {
        "array": b"\xdd" + big,
        "map": b"\xdf" + big,
        "bytes": b"\xc6" + big,
        "text": b"\xdb" + big,
        "extension": b"\xc9" + big,
        "nested": b"\x91" * 100_000,
        "nested maps": b"\x81\xa1x" * 100_000,
    }
    for name, bomb in bombs.items():
        payloads[f"head of {name}"] = queue.payload([b"", bomb])
        for field in ("settings", "totals", "workers", "pauses", "last_id"):
            bad = dict(queue.head)
            bad[field] = "HERE"
            payloads[f"{field} of {name}"] = queue.payload(
                [b"", msgpack.packb(bad).replace(b"\xa4HERE", bomb)]
            )
        for kind in (b"e", b"r", b"p"):
            payloads[f"{kind} of {name}"] = queue.payload([b"", chunks[1], kind + bomb])
        for field in ("token", "answer", "more"):
            bad = msgpack.packb([request(**{field: "HERE"})]).replace(b"\xa4HERE", bomb)
            payloads[f"a request's {field} of {name}"] = queue.payload([*chunks[:-1], b"r" + bad])
    check_refused(server, c, payloads)


def test_an_unknown_version_is_refused(stored):
    """This holds for later versions and for version 0, which does not exist."""
    server, c, queue = stored
    value = value_of(queue.type, [b"", queue.chunks()[1], b""])
    number = int.from_bytes(value[2:10], "big")
    assert value[:2] == b"\x07\x81" and number & 0x3FF == 4
    payloads = {}
    for version in [0, *range(5, 1024)]:
        id_ = (number & ~0x3FF | version).to_bytes(8, "big")
        payloads[f"version {version}"] = sealed(value[:2] + id_ + value[10:], queue.version)
    log = len(server.log())
    check_refused(server, c, payloads)
    assert server.log()[log:].count("newer version") == len(payloads)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_broken_queue_with_any_bit_flipped_can_still_be_read(start, share, seed):
    """The contents of a broken queue are not checked when it is loaded."""
    server = standing(start, rdbcompression="no")
    r, c = server.client(), Talk(server)
    handles = seed(r)
    value, version = opened(r.dump("seed"))
    head, (_, *strings) = fields(value)
    broken = value_of(head, [b"given up", *strings])
    # Flips start at the head; the bytes before it are not part of the queue.
    flips = share(list(sealed_flips(broken, version, len(head) + 12)))
    accepted = restore_all(c, dict(flips))
    assert len(accepted) > len(flips) / 20
    found = digests(c, accepted)

    def dumps() -> list[bytes]:
        return [without_clocks(payload) for payload in c.many([("DUMP", name) for name in accepted])]

    stored = dumps()
    c("DEBUG", "RELOAD")
    assert digests(c, accepted) == found and dumps() == stored
    assert c("REPLICAOF", "NO", "ONE") == "OK"
    # Every fourth one, to save time: two bits of each byte.
    for name in accepted[::4]:
        commands = [("MEMORY", "USAGE", name), *work(name, handles), ("COPY", name, "copy")]
        for command, reply in zip(commands, c.many(commands), strict=True):
            if command[0].split(".")[-1] in ("GET", "LIST", "INFO", "LEN", "MEMORY USAGE"):
                assert not isinstance(reply, Error), (name, command, reply)
            elif command[0].startswith("TASK."):
                assert isinstance(reply, Error) and reply.startswith("BROKEN "), (name, command, reply)
    assert c("EXISTS", "copy") == 0
    assert digests(c, accepted) == found
    assert c.many([("DEL", name) for name in accepted]) == [1] * len(accepted)
    assert "panic" not in server.log()


def test_a_refused_payload_is_logged(r, server):
    """The error shows no bytes of the payload."""
    rich_queue(r)
    value, version = opened(r.dump("queue"))
    assert Talk(server)("RESTORE", "twin", 0, sealed(value[:-40] + value[-39:], version)) == REFUSED
    assert "taskslot" in server.log() and not r.exists("twin")
    assert digest(r, "queue")
