"""What a takeover permits that no fault brought about."""

import time
from pathlib import Path

import pytest

from chaos.faults.takeover import permit_unasked
from chaos.stage import Stage
from chaos.topologies.replicas import Replicas


@pytest.mark.parametrize("is_asked", [False, True])
def test_a_takeover_that_no_fault_brought_about_is_permitted(installed, tmp_path: Path, is_asked: bool):
    """Its window begins with the fault, and ends when the old primary is a replica. A fault permits its own."""
    topology = Replicas(installed)
    topology.start()
    stage = Stage(topology, 1, tmp_path)
    try:
        old, new, _ = topology.chain
        number = topology.nodes().index
        watch = topology.watch
        watch.until(lambda: all(map(watch.last, topology.nodes())), "all were seen")
        since = time.monotonic()
        if is_asked:
            with stage.fault("takeover"):
                replace(topology)
        else:
            replace(topology)
        permit_unasked(stage, since)

        made = [fault for fault in stage.faults if fault.kind == "replaced"]
        assert bool(made) != is_asked
        for fault in made:
            assert (int(fault.node), fault.details["by"]) == (number(old), number(new))
            assert fault.permits.undoes is not None
            assert since <= fault.began
            assert since <= fault.details["promoted"] <= fault.permits.undoes[1]
    finally:
        stage.close()
        topology.stop()


def replace(topology: Replicas) -> None:
    """Promote the second node, and make the first its replica."""
    old, new, _ = topology.chain
    new.client().execute_command("REPLICAOF", "NO", "ONE")
    topology.watch.promoted(new)
    old.client().execute_command("REPLICAOF", "127.0.0.1", new.port)
    topology.watch.demoted(old)
