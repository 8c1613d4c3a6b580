"""A cluster on this machine for experiments: three primaries, each with a replica, in the foreground until Ctrl-C.

`make cluster` runs it, on ports 7001 to 7006 (PORT=… is the first). It prints commands to try.
"""

import argparse
import signal
import time
from pathlib import Path

from harness.cluster import Cluster, Node
from harness.server import CLI, SERVERS, Installed, ServerDied, identify

SHARDS = 4
BACK_AFTER_S = 10
# The highest possible first port: there are six nodes, and each has its cluster bus on its port + 10000.
LAST_PORT = 65535 - 10000 - 5


def ranges(node: Node) -> str:
    """The slots of a node, as text."""
    slots = sorted(node.itself().slots)
    return f"slots {slots[0]}-{slots[-1]}" if slots else "no slots"


def introduction(cluster: Cluster) -> str:
    """The nodes of the cluster, and commands that a newcomer can try."""
    first = cluster.nodes[0]
    cli = f"{Path(CLI).name if CLI else 'redis-cli'} -c -p"
    lines = ["", f"A cluster of {cluster.installed.name} with taskslot, on 127.0.0.1:", ""]
    for node in cluster.primaries():
        replica = cluster.replica_of(node)
        lines.append(
            f"  {node.port}  {ranges(node):18} pid {node.pid:<8} replica {replica.port}, pid {replica.pid}"
        )
    shards = first.say("TASK.SHARDS", "orders", SHARDS, "WITHSLOTS")
    places = ", ".join(f"{name} on {cluster.node_of(slot).port}" for name, slot in shards)
    victim, heir = cluster.node_of(shards[0][0]), cluster.replica_of(cluster.node_of(shards[0][0]))
    lines += [
        "",
        "In another terminal (-c follows a queue to its node):",
        "",
        f"  {cli} {first.port} TASK.PUSH mail hello",
        f"  {cli} {first.port} TASK.CLAIM mail WORKER w1 LEASE 15000",
        f"  {cli} {first.port} TASK.ACK mail <the handle that CLAIM showed>",
        "",
        f"A queue that is too large for one node can be divided into shards: {places}",
        "",
        f"  {cli} {first.port} TASK.SHARDS orders {SHARDS} WITHSLOTS",
        f"  {cli} {first.port} TASK.PUSH '{shards[0][0]}' 'order 1'",
        "",
        f"Kill the node of this shard. After 2 to 3 s its replica, {heir.port}, takes over its slots and tasks.",
        f"The node is started again after {BACK_AFTER_S} s, and becomes the replica.",
        "",
        f"  kill -9 {victim.pid}",
        f"  {cli} {heir.port} TASK.LEN '{shards[0][0]}'",
        f"  {cli} {heir.port} CLUSTER NODES",
        "",
        f"Logs are in {first.dir.parent}/taskslot-*/log. Ctrl-C stops the cluster and deletes its data.",
        "",
    ]
    return "\n".join(lines)


def chosen(name: str | None) -> Installed:
    """The server to run, by name (valkey-9.1) or path. The default is the first that is installed."""
    if name is None:
        return next(iter(SERVERS.values()))
    if name not in SERVERS and not Path(name).exists():
        raise SystemExit(f"{name} is not installed; installed are {', '.join(SERVERS)}")
    return SERVERS.get(name) or identify(name)


def watch(cluster: Cluster) -> None:
    """Restart nodes that were killed, after a while, until Ctrl-C."""
    gone: dict[Node, float] = {}
    while True:
        time.sleep(0.5)
        for node in cluster.nodes:
            if node.alive():
                gone.pop(node, None)
            elif node not in gone:
                gone[node] = time.monotonic()
                print(f"{node.port} has ended; it starts again in {BACK_AFTER_S} s", flush=True)
            elif time.monotonic() - gone[node] > BACK_AFTER_S:
                node.start()
                print(f"{node.port} is back, pid {node.pid}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=7001, help="the first of six ports (7001)")
    parser.add_argument("--server", help=f"a name or a path; installed: {', '.join(SERVERS)}")
    options = parser.parse_args()
    if not 1 <= options.port <= LAST_PORT:
        parser.error(f"--port must be between 1 and {LAST_PORT}: each node also uses its port + 10000")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    cluster = None
    try:
        print("Starting six nodes …", flush=True)
        cluster = Cluster(chosen(options.server), first_port=options.port)
        print(introduction(cluster), flush=True)
        watch(cluster)
    except ServerDied as death:
        raise SystemExit(
            f"A node could not start. Its port, or its port + 10000, may be in use.\n{death}"
        ) from None
    except KeyboardInterrupt:
        print("\nThe cluster has stopped.")
    finally:
        if cluster:
            cluster.discard()


if __name__ == "__main__":
    main()
