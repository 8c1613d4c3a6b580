"""Failovers under Sentinel. The old primary comes back as one, or never went, until it is demoted."""

from __future__ import annotations

import redis
from harness.sentinel import NAME
from harness.server import Installed, Server, wait_until

from chaos.faults.takeover import number, takeover, until_replaced
from chaos.injector import injector
from chaos.stage import Stage
from chaos.topologies.sentinel import Watched


def watched(stage: Stage) -> Watched:
    """The topology, which has sentinels."""
    topology = stage.topology
    assert isinstance(topology, Watched)
    return topology


def coordinates(installed: Installed) -> bool:
    """Whether SENTINEL FAILOVER can be COORDINATED: since Valkey 9.1."""
    return installed.is_valkey and installed.version >= (9, 1)


@injector("primary killed, back as a zombie")
def killed_and_back(stage: Stage) -> None:
    """The primary is killed, and starts again as one once its replica was promoted. It is demoted some 10 s later."""
    primary, replica = watched(stage).shards()[0]
    until_replaced(stage, "primary killed, back as a zombie", primary, replica, True, 1.5)


@injector("primary stopped until replaced")
def stopped_until_replaced(stage: Stage) -> None:
    """The primary stands still until its replica was promoted, and wakes up as a primary."""
    primary, replica = watched(stage).shards()[0]
    until_replaced(stage, "primary stopped until replaced", primary, replica, False, 1.5)


@injector("primary cut off until replaced")
def cut_off_until_replaced(stage: Stage) -> None:
    """The primary hears neither of its replica nor of the sentinels until the replica was promoted. Clients reach all.

    Those whose connections last stay with the old primary, and the others go to the new one. It is demoted some 10 s
    after the links are whole again.
    """
    topology = watched(stage)
    primary, replica = topology.shards()[0]
    with takeover(stage, "primary cut off until replaced", primary) as fault:
        fault.permits.closes = ["*"]
        topology.network.cut([primary], [replica, *topology.sentinel.watchers])
        topology.watch.promoted(replica)
        fault.details["sent away"] = send_half_away(stage, primary)
        stage.wait(stage.random.uniform(0.0, 2.0))
        topology.network.heal()
        topology.make_well()


def send_half_away(stage: Stage, primary: Server) -> int:
    """Close about half of the connections of a node. Returns how many. Their clients ask the sentinels anew."""
    with primary.client() as client:
        these = [one["id"] for one in client.client_list(_type="normal") if stage.random.random() < 0.5]
        return sum(client.execute_command("CLIENT", "KILL", "ID", one) for one in these)


@injector("SENTINEL FAILOVER", is_command=True)
def failed_over(stage: Stage) -> None:
    """SENTINEL FAILOVER of a healthy primary. It goes on until it is demoted some 10 s later."""
    topology = watched(stage)
    primary, replica = topology.shards()[0]
    with takeover(stage, "SENTINEL FAILOVER", primary):
        ask_for_failover(topology)
        topology.watch.promoted(replica)
        topology.make_well()


@injector("SENTINEL FAILOVER COORDINATED", is_command=True, only_on=coordinates)
def failed_over_in_order(stage: Stage) -> None:
    """SENTINEL FAILOVER … COORDINATED: nothing may be lost."""
    topology = watched(stage)
    primary, replica = topology.shards()[0]
    with stage.fault("SENTINEL FAILOVER COORDINATED", number(stage, primary)) as fault:
        fault.permits.stale = True
        ask_for_failover(topology, "COORDINATED")
        topology.watch.promoted(replica)
        topology.make_well()


def ask_for_failover(topology: Watched, *how: str) -> None:
    """Ask a sentinel for a failover until it agrees. It refuses during another one, or without a good replica."""
    watcher = topology.sentinel.watchers[0]

    def is_agreed() -> bool:
        try:
            with watcher.client() as client:
                client.execute_command("SENTINEL", "FAILOVER", NAME, *how)
        except redis.ResponseError as error:
            assert str(error).startswith(("INPROG", "NOGOODSLAVE")), error
            return False
        return True

    wait_until(is_agreed, "a sentinel fails over", 60)
