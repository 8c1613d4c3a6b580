"""The nth call of a server to the system fails, for each n: no data change, and the error says what to do.

Saving, rewriting, appending and copying are tried with a first call that fails, then with a second, until none is left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from harness.failing import KINDS, Failing
from harness.queues import contents, info, rich_queue
from harness.server import Server, wait_synced
from harness.talk import Error, Talk

# More calls than any of these takes.
CALLS_MAX = 2_000
# The servers look 500 times per second whether a child has ended.
FAST = {"hz": 500}
AOF = {"appendonly": "yes", "auto_aof_rewrite_percentage": 0, "appendfsync": "everysec"}


class Stage:
    """A server whose calls can fail, with a queue of everything."""

    def __init__(self, start, **settings: object):
        self.failing = Failing()
        self.server: Server = start(env=self.failing.environment, **{**FAST, **settings})
        self.connect()
        rich_queue(self.r, paused=False, many=20)

    def connect(self) -> None:
        """Connect again, after a restart."""
        self.r, self.c = self.server.client(), Talk(self.server)

    def push(self) -> None:
        """Push one more task. If the server refuses that, for a sync that failed, do what operations.md says."""
        before = self.digest()
        if isinstance(refused := self.c("TASK.PUSH", "queue", "more"), Error):
            assert refused.startswith("MISCONF") and self.digest() == before
            self.mend()
            self.c.push("queue", "more")

    def mend(self) -> None:
        """Let the server forget that a sync failed. BGREWRITEAOF is enough, but not on Redis 7.0."""
        for is_on in ("no", "yes"):
            assert self.c("CONFIG", "SET", "appendonly", is_on) == "OK"
        assert self.ended()["aof_last_bgrewrite_status"] == "ok"

    def digest(self) -> str:
        """The digest of the queue."""
        return self.c.digest("queue")

    def comes_back(self) -> None:
        """Push one more task and check that a restart loads the same queue."""
        self.push()
        now = self.digest()
        self.server.restart()
        self.connect()
        assert self.digest() == now

    def persistence(self) -> dict:
        """INFO persistence."""
        return self.r.info("persistence")

    def ended(self) -> dict:
        """Wait until no child writes a file. Returns INFO persistence."""
        running = ("rdb_bgsave_in_progress", "aof_rewrite_in_progress", "aof_rewrite_scheduled")

        def is_idle() -> bool:
            found = self.persistence()
            return not any(found[name] for name in running)

        self.server.wait_until(is_idle, "no child writes a file")
        return self.persistence()

    def each_call(self, kind: str, act: Callable[[], object], torn: bool = False, step: int = 1) -> Iterator:
        """Let the first call of `act` fail, then its second (or a later one), and so on. Yields what `act` returned.

        Pushes a task before each, and checks that `act` leaves the queue in memory as it was.
        """
        for n in range(1, CALLS_MAX, step):
            self.push()
            before = self.digest(), contents(self.r, "queue") if n == 1 else None
            with self.failing.nth(n, (kind,), torn=torn):
                result = act()
            assert self.digest() == before[0], f"{kind} {n}"
            assert before[1] in (None, contents(self.r, "queue"))
            if not self.failing.failed:
                return
            yield result
        raise AssertionError("no end")


def save(stage: Stage) -> bool:
    """SAVE. Returns whether it says that it succeeded."""
    return stage.c("SAVE") == "OK"


def bgsave(stage: Stage) -> bool:
    """BGSAVE, until its child has ended. Returns whether it says that it succeeded."""
    reply = stage.c("BGSAVE")
    return stage.ended()["rdb_last_bgsave_status"] == "ok" and not isinstance(reply, Error)


def rewrite(stage: Stage) -> bool:
    """BGREWRITEAOF, until its child has ended. Returns whether it says that it succeeded."""
    reply = stage.c("BGREWRITEAOF")
    return stage.ended()["aof_last_bgrewrite_status"] == "ok" and not isinstance(reply, Error)


def all_or_some(*cases: tuple, skips: int) -> object:
    """Each case with every call that writes, which is slow, and with one of so many."""
    return [
        pytest.param(
            *case, step, marks=[pytest.mark.slow] * (step == 1), id="-".join(map(name, (*case, step)))
        )
        for case in cases
        for step in (skips, 1)
    ]


def name(part: object) -> str:
    """A part of a test's id."""
    return getattr(part, "__name__", None) or {skips: f"each-{skips}" for skips in (1, 7)}.get(
        part, str(part)
    )


@pytest.mark.parametrize("store, torn, step", all_or_some((save, "torn"), (bgsave, "whole"), skips=7))
def test_a_snapshot_whose_nth_call_fails_is_the_old_one_or_the_new_one(start, store, torn, step):
    """It never says that it succeeded without the new one being in place, and the file is never half of one."""
    stage, failed = Stage(start), Counter()
    assert store(stage)
    stored = stage.digest()
    for kind in KINDS:
        each = step if kind == "write" else 1
        for is_stored in stage.each_call(kind, lambda: store(stage), torn == "torn", each):
            failed[kind] += 1
            now = stage.digest()
            assert stage.c("DEBUG", "RELOAD", "NOSAVE") == "OK"
            loaded = stage.digest()
            assert loaded == now or (loaded == stored and not is_stored), kind
            stored = loaded
        assert store(stage), "it works again when nothing fails"
        stored = stage.digest()
    wanted = {"open", "write", "sync", "rename"} | ({"fork"} if store is bgsave else set())
    assert set(failed) - {"folder"} == wanted and failed["write"] > 50 // step


@pytest.mark.parametrize("kind", ["fork", "open", "write", "sync", "rename"])
def test_after_a_failed_snapshot_changes_are_refused_until_one_succeeds(start, kind):
    """The server's MISCONF names the setting. The queue can be read, and goes on afterwards."""
    stage = Stage(start, save="3600 1000000")
    c = stage.c
    handle = c.claim("queue")
    before = stage.digest(), contents(stage.r, "queue")
    with stage.failing.nth(1, (kind,), lasts=True):
        assert not bgsave(stage)
        for command in (("TASK.PUSH", "queue", "x"), ("TASK.CLAIM", "queue"), ("TASK.ACK", "queue", handle)):
            reply = c(*command)
            assert isinstance(reply, Error) and reply.startswith("MISCONF"), reply
            assert "stop-writes-on-bgsave-error" in reply
        assert (stage.digest(), contents(stage.r, "queue")) == before
    assert bgsave(stage)
    assert c("TASK.ACK", "queue", handle) == 1 and c.push("queue") and c("TASK.CLAIM", "queue")


# Without a preamble a rewrite writes each part of a queue by itself, so some of these calls are enough.
@pytest.mark.parametrize(
    "preamble, step", [pytest.param("no", 7, id="no-each-7"), *all_or_some(("yes",), skips=7)]
)
def test_a_rewrite_whose_nth_call_fails_leaves_an_aof_with_everything(start, preamble, step):
    """The file, old or new, holds all that was acknowledged, also what was pushed after the failure."""
    stage, failed = Stage(start, **AOF, aof_use_rdb_preamble=preamble), Counter()
    for kind in set(KINDS) - {"folder"}:
        each = step if kind == "write" else 1
        for _ in stage.each_call(kind, lambda: rewrite(stage), step=each):
            failed[kind] += 1
            stage.push()
            now = stage.digest()
            assert stage.c("DEBUG", "LOADAOF") == "OK", kind
            assert stage.digest() == now, kind
        assert rewrite(stage), "it works again when nothing fails"
    assert set(failed) >= {"fork", "open", "write", "sync", "rename"}
    stage.comes_back()


def test_a_rewrite_that_could_not_sync_its_folder_is_mended_by_another_rewrite(start, installed):
    """From 7.0 on the server then removes files that its manifest names, and could not load it at a start."""
    if installed.version < (7, 0):
        pytest.skip("its AOF is one file")
    stage, missing = Stage(start, **AOF), 0
    for _ in stage.each_call("folder", lambda: rewrite(stage)):
        missing += bool(missing_files(stage.server))
        assert rewrite(stage) and not missing_files(stage.server)
    assert missing > 0, "the defect of the server that operations.md tells of"
    stage.comes_back()


def missing_files(server: Server) -> list[str]:
    """The files that a manifest names and that don't exist."""
    folder = server.dir / "appendonlydir"
    lines = (folder / "appendonly.aof.manifest").read_text().splitlines()
    named = [line.split()[1] for line in lines]
    return [name for name in named if not (folder / name).exists()]


@pytest.mark.parametrize(
    "kinds, torn", [(("write",), False), (("write",), True), (("write", "cut"), True), (("sync",), False)]
)
def test_a_failed_write_under_always_ends_the_server_and_loses_nothing_acknowledged(start, kinds, torn):
    """The client gets no reply. After a restart its push is there as a whole or not at all."""
    stage = Stage(start, **{**AOF, "appendfsync": "always"})
    acknowledged, pushed = stage.digest(), info(stage.r, "queue")["pushed"]
    with stage.failing.nth(1, kinds, lasts=True, torn=torn):
        stage.c.send(["TASK.MPUSH", "queue", "TASKS", 2, "a", "b"])
        stage.server.ends_by_itself()
    assert "Exiting" in stage.server.log()
    stage.server.start()
    stage.connect()
    found = info(stage.r, "queue")["pushed"]
    assert (found, stage.digest()) == (pushed, acknowledged) or (kinds, found) == (("sync",), pushed + 2)
    # On Redis 6.2 every change is a transaction: see test_torn_transaction.py.
    assert rewrite(stage)
    stage.comes_back()


@pytest.mark.parametrize("kind, torn", [("write", False), ("write", True), ("sync", False)])
def test_under_everysec_changes_are_refused_until_the_aof_can_be_written_again(start, kind, torn):
    """MISCONF names the reason, and a refused command changes nothing. A failed sync must be mended by hand."""
    stage = Stage(start, **AOF)
    c = stage.c

    def reply() -> object:
        return c("TASK.PUSH", "queue", "x")

    with stage.failing.nth(1, (kind,), lasts=True, torn=torn):
        refused = stage.server.wait_until(
            lambda: isinstance(found := reply(), Error) and found, "it is refused"
        )
        before = stage.digest(), contents(stage.r, "queue")
        assert refused.startswith("MISCONF Errors writing to the AOF file: ")
        assert ("No space left" if kind == "write" else "Input/output") in refused
        for command in (("TASK.CLAIM", "queue"), ("TASK.MPUSH", "queue", "TASKS", 2, "a", "b")):
            assert c(*command) == refused
        assert (stage.digest(), contents(stage.r, "queue")) == before
    if kind == "write":
        stage.server.wait_until(lambda: not isinstance(reply(), Error), "the server has tried again")
    stage.comes_back()


@pytest.mark.parametrize("kind", ["fork", "open", "write", "sync", "rename"])
@pytest.mark.parametrize("side", ["primary", "replica"])
def test_a_full_copy_whose_first_call_fails_is_made_again(start, side, kind):
    """The replica then has everything, the primary the same as before, and neither ends."""
    if (side, kind) == ("replica", "fork"):
        pytest.skip("a replica without an AOF does not fork")
    disk = {"repl_diskless_sync": "no", "repl_diskless_load": "disabled", "port": True}
    primary = Stage(start, **disk)
    other = Failing()
    replica = start(env=other.environment, **FAST, **disk)
    failing = primary.failing if side == "primary" else other
    before = primary.digest()
    with failing.nth(1, (kind,)):
        assert replica.client().execute_command("REPLICAOF", "127.0.0.1", primary.server.port)
        replica.wait_until(lambda: failing.failed, "a call has failed")
    wait_synced(primary.server, replica)
    assert primary.digest() == before == Talk(replica).digest("queue")
    primary.push()
    wait_synced(primary.server, replica)
    assert primary.digest() == Talk(replica).digest("queue")


def test_a_migration_whose_nth_write_fails_leaves_the_queue_where_it_was(start):
    """MIGRATE tries twice, then says IOERR. A later one moves the queue, with everything."""
    stage, target = Stage(start), start(port=True)
    before = stage.digest()
    moves = ("MIGRATE", "127.0.0.1", target.port, "queue", 0, 5000)
    for n in range(1, CALLS_MAX):
        with stage.failing.nth(n, ("write",), lasts=True, network=True):
            reply = stage.c(*moves)
        if not stage.failing.failed:
            break
        assert isinstance(reply, Error) and reply.startswith("IOERR"), reply
        assert stage.digest() == before and Talk(target)("EXISTS", "queue") == 0
    assert n > 1 and reply == "OK"
    assert stage.c("EXISTS", "queue") == 0 and Talk(target).digest("queue") == before
