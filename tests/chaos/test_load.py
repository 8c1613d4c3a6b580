"""The load: a run of every client without faults is a sound history, and each client follows its primary."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from harness.server import SERVERS, Server, wait_until

from chaos.history import Fault, History, Run, read
from chaos.load import Load
from chaos.load.addresses import Addresses, point, pointed, single
from chaos.load.plan import KINDS
from chaos.rules import check

IN_PYTHON = {"producer", "worker", "library", "asyncio"}
IN_NODE = {"node-producer", "node-raw", "node-worker"}
# A machine that runs other tests takes long to start ten processes.
PATIENCE_S = 60


def sound_run(
    addresses: Addresses, folder: Path, server: str, calls: int, meanwhile: Callable[[], list[Fault]] = list
) -> History:
    """Run all clients until each process has had so many answers. Fails if a client or a rule objects.

    `meanwhile` does something to the servers, and says what.
    """
    load = Load(addresses, 7, folder, {"rate": 400})
    wall_ms, began = time.time() * 1000 - time.monotonic() * 1000, time.monotonic()
    load.start()
    try:
        faults = meanwhile()
        at_least(folder, calls)
    finally:
        load.stop()
    ended = time.monotonic()
    finals = load.drain()
    assert load.problems() == []
    assert [final.queue for final in finals if not final.drained] == [], "all queues are empty in the end"
    history = read(folder)
    history.add(Run(load.seed, server, "calm", began, ended, wall_ms, load.settings, load.groups))
    for fault in faults:
        history.add(fault)
    findings = check(history)
    assert not findings, "\n".join(f"{finding.rule}: {finding.text}" for finding in findings[:10])
    roles = {call.client.rpartition("-")[0] for call in history.calls if call.ok}
    assert roles >= IN_PYTHON | (set() if load.lacks_node else IN_NODE), roles
    return history


def at_least(folder: Path, calls: int) -> None:
    """Wait until each process of the load has had so many answers more."""

    def answers(path: Path) -> int:
        return path.read_bytes().count(b'"r":')

    files = [path for path in folder.glob("*.wire") if not path.name.startswith("setup")]
    for path, before in [(path, answers(path)) for path in files]:
        more = before + calls
        wait_until(
            lambda path=path, more=more: answers(path) >= more, f"{path.stem} has {calls} more", PATIENCE_S
        )


@pytest.mark.slow
def test_a_run_of_every_client_without_faults_is_sound(tmp_path):
    """Each kind of client has worked on each kind of queue, and no rule has anything to say."""
    server = Server(SERVERS["valkey-9.1"], port=True)
    try:
        history = sound_run(single(server.port), tmp_path, server.name, calls=25)
        server.check()
    finally:
        server.discard()
    pushed = Counter(
        call.queue.rpartition(":")[2] for call in history.calls if call.call == "push" and call.ok
    )
    assert set(KINDS) - set(pushed) <= {"idle"}, pushed
    verbs = {call.call for call in history.calls if call.ok}
    assert verbs >= {"push", "claim", "ack", "next", "fail", "requeue", "extend", "batch", "result"}, verbs


@pytest.mark.slow
def test_a_longer_run_is_sound_on_each_server(installed, start, tmp_path):
    """The same for longer."""
    server = start(port=True)
    sound_run(single(server.port), tmp_path, server.name, calls=250)


@pytest.mark.slow
def test_clients_follow_a_primary_that_is_replaced(start, tmp_path):
    """After the promotion of the replica, each client goes on there, and nothing was lost or run twice."""
    first, second = start(port=True), start(port=True)
    second.replicate(first)
    file = tmp_path / "primary"
    point(file, first.port)

    def replaced() -> list[Fault]:
        began = time.monotonic()
        with first.client() as client:
            client.execute_command("FAILOVER")
        wait_until(
            lambda: second.client().info("replication")["role"] == "master", "the failover is over", 30
        )
        point(file, second.port)
        return [Fault("FAILOVER", first.name, began, time.monotonic())]

    sound_run(pointed(file), tmp_path / "run", first.name, 100, replaced)
