"""A real cluster on this machine: primaries with their replicas, and the faults that tests cause.

`Cluster(installed)` starts three primaries and three replicas, and returns when they are up, after 2 to 3 s. (A node
waits 2 s before it reports that its cluster is ok.) `Node` is one of its servers. The state of the cluster is read
from the nodes each time, so it is correct after failovers and moved slots too. Nothing here depends on pytest, because
the demo and the benchmarks use it.

Start and restart nodes on a thread that stays alive, because a server ends with the thread that started it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import redis
from redis.cluster import ClusterNode
from redis.crc import key_slot

from harness.server import Installed, NotInTime, Server, wait_until

SLOTS = 16384
# The number of keys in one MIGRATE, the same as in redis-cli.
KEYS_AT_ONCE = 10
MIGRATE_TIMEOUT_MS = 5000
# The flags of a node that others can't reach or don't know.
# The server's CLUSTER_WRITABLE_DELAY, and a little more.
START_DELAY_MS = 2100
TROUBLE = {"fail", "fail?", "handshake", "noaddr"}


@dataclass(frozen=True)
class Member:
    """A line of CLUSTER NODES."""

    id: str
    flags: frozenset[str]
    primary: str | None  # the id of its primary
    epoch: int  # if two nodes claim a slot, the one with the higher epoch has it
    linked: bool
    slots: frozenset[int]

    @staticmethod
    def read(line: str) -> Member:
        """Read `<id> <address> <flags> <primary> <ping> <pong> <epoch> <link> <slots>…`."""
        id_, _, flags, primary, _, _, epoch, link, *slots = line.split()
        return Member(
            id_,
            frozenset(flags.split(",")),
            None if primary == "-" else primary,
            int(epoch),
            link == "connected",
            frozenset(slot for part in slots if part[0] != "[" for slot in slots_of(part)),
        )

    @property
    def is_primary(self) -> bool:
        """Whether it is a primary, with or without slots."""
        return "master" in self.flags


def slots_of(part: str) -> range:
    """The slots of `5` or `0-5460`."""
    first, _, last = part.partition("-")
    return range(int(first), int(last or first) + 1)


class Node(Server):
    """A server of a cluster: a `Server` with an id, and with its view of the other nodes."""

    def __init__(self, installed: Installed, **options: object):
        self.frozen = False
        super().__init__(installed, **options)
        # Several threads can ask at the same time, and the server may have been restarted.
        self._asks = self.client(decode_responses=True, single_connection_client=False, socket_timeout=5)
        self.id: str = self.say("CLUSTER", "MYID")

    def __repr__(self) -> str:
        return f"<node {self.port}>"

    def say(self, *words: object) -> object:
        """Send a command and return its reply, with texts as `str`; an error is raised."""
        return self._asks.execute_command(*words)

    def facts(self, *command: object) -> dict[str, str]:
        """The fields of INFO, of CLUSTER INFO and the like."""
        reply = self.say(*command)
        if isinstance(reply, dict):
            return {name: str(value) for name, value in reply.items()}
        return dict(line.split(":", 1) for line in reply.splitlines() if ":" in line)

    def members(self) -> list[Member]:
        """The nodes of the cluster as this one sees them."""
        return [Member.read(line) for line in self.say("CLUSTER", "NODES").splitlines()]

    def itself(self) -> Member:
        """This node's own line of CLUSTER NODES."""
        return next(member for member in self.members() if "myself" in member.flags)

    @property
    def up(self) -> bool:
        """Whether it can reply: it runs and is not frozen."""
        return self.alive() and not self.frozen

    def freeze(self) -> None:
        """Stop the process (SIGSTOP) until `thaw`."""
        super().freeze()
        self.frozen = True

    def thaw(self) -> None:
        """Let a frozen process go on."""
        super().thaw()
        self.frozen = False


class Cluster:
    """Primaries with their replicas, from the start to `discard`. In `nodes`, those that began as primaries come first.

    `primaries` and `replicas` (for each primary) are numbers. With `first_port` the nodes use that port and the
    following ones, and each has its bus on its port + 10000; otherwise the ports are free ones. All other arguments
    are options and settings of each `Server`. With `clock="shared"` the cluster is up a second sooner: its clocks
    are set ahead meanwhile, unless it `hurries` not.
    """

    DEFAULTS = {"cluster_enabled": "yes", "cluster_node_timeout": 1000}

    def __init__(
        self,
        installed: Installed,
        primaries: int = 3,
        replicas: int = 1,
        first_port: int | None = None,
        hurries: bool = True,
        **options: object,
    ):
        self.installed = installed
        self._hurries = hurries
        self.nodes: list[Node] = []
        self._clients: list[redis.RedisCluster] = []
        try:
            for at in range(primaries * (1 + replicas)):
                port = True if first_port is None else first_port + at
                self.nodes.append(Node(installed, port=port, **{**options, **self.DEFAULTS}))
            self._join(primaries)
            # With a longer node time-out, nodes gossip less often, so the start would take longer.
            for node in self.nodes:
                node.configure(**{name: options[name] for name in self.DEFAULTS if name in options})
        except BaseException:
            self.discard()
            raise

    def _join(self, primaries: int) -> None:
        """Make a cluster of the nodes, with the slots spread evenly over the first ones."""
        for at, node in enumerate(self.nodes):
            # Each gets its own epoch. Two nodes with the same epoch would have to resolve that, which takes time.
            node.say("CLUSTER", "SET-CONFIG-EPOCH", at + 1)
        for at, node in enumerate(self.nodes[:primaries]):
            # Not ADDSLOTSRANGE, which 6.2 doesn't have.
            node.say("CLUSTER", "ADDSLOTS", *range(SLOTS * at // primaries, SLOTS * (at + 1) // primaries))
        if self._hurries:
            pass_start_delay(self.nodes)
        for at, node in enumerate(self.nodes):
            for other in self.nodes[:at]:
                node.say("CLUSTER", "MEET", "127.0.0.1", other.port)
        wait_until(self._acquainted, "all nodes know each other", 60)
        for at, node in enumerate(self.nodes[primaries:]):
            node.say("CLUSTER", "REPLICATE", self.nodes[at % primaries].id)
        self.wait_ok(20)

    def _acquainted(self) -> bool:
        ids = {node.id for node in self.nodes}
        views = [node.members() for node in self.nodes]
        return all({m.id for m in view if m.linked and "handshake" not in m.flags} == ids for view in views)

    # ---- what is where

    def alive(self) -> list[Node]:
        """The nodes that can reply."""
        return [node for node in self.nodes if node.up]

    def owners(self) -> dict[int, Node]:
        """The owner of each slot, as the nodes report it themselves. If two claim a slot, the higher epoch wins."""
        claims = [(node.itself(), node) for node in self.alive()]
        owners: dict[int, Node] = {}
        for member, node in sorted(claims, key=lambda claim: claim[0].epoch):
            if member.is_primary:
                owners.update(dict.fromkeys(member.slots, node))
        return owners

    def primaries(self) -> list[Node]:
        """The nodes that are primaries with slots now, in the order of `nodes`."""
        owners = set(self.owners().values())
        return [node for node in self.nodes if node in owners]

    def replicas_of(self, primary: Node) -> list[Node]:
        """The present replicas of this node, whether it runs or not."""
        return [node for node in self.alive() if node.itself().primary == primary.id]

    def replica_of(self, primary: Node) -> Node:
        """The first replica of a primary; fails if it has none."""
        replicas = self.replicas_of(primary)
        if not replicas:
            raise AssertionError(f"{primary} has no replica that runs")
        return replicas[0]

    @staticmethod
    def slot(key: str | bytes) -> int:
        """The slot of a key, by its hash tag if it has one."""
        return key_slot(key if isinstance(key, bytes) else key.encode())

    def node_of(self, key: str | bytes | int) -> Node:
        """The node that serves a key or a slot now; fails if no running node does."""
        slot = key if isinstance(key, int) else self.slot(key)
        owner = self.owners().get(slot)
        if owner is None:
            raise AssertionError(f"no running node has slot {slot}")
        return owner

    # ---- faults

    def kill(self, node: Node) -> None:
        """End a node at once (SIGKILL)."""
        node.kill9()

    def freeze(self, node: Node) -> None:
        """Stop a node (SIGSTOP). The others consider it dead after the node time-out."""
        node.freeze()

    def thaw(self, node: Node) -> None:
        """Let a frozen node continue. It then learns what has happened."""
        node.thaw()

    def restart(self, node: Node) -> None:
        """Start a node that has ended, in its directory. Returns when the cluster is healthy.

        The node becomes a replica of the node that took its place. If none did, it is what it was before.
        """
        node.restart()
        self.wait_ok()

    def failover(self, replica: Node) -> None:
        """Promote a replica without loss (CLUSTER FAILOVER)."""
        primary = next(node for node in self.nodes if node.id == replica.itself().primary)
        replica.say("CLUSTER", "FAILOVER")
        self.wait_promoted(replica)
        self.wait_ok()
        if self.installed.version < (7, 0):
            # Before 6.2.7, the primary's pause of writes lasts 10 s even if the failover is over sooner.
            primary.say("CLIENT", "UNPAUSE")

    # ---- waiting

    def wait_ok(self, timeout: float = 20.0) -> None:
        """Wait until all slots are served, all running nodes agree, and all running replicas have their copy."""
        try:
            wait_until(lambda: not self._amiss(), "the cluster is well", timeout)
        except NotInTime as late:
            raise NotInTime(f"{late}: {self._amiss()}") from None

    def wait_promoted(self, replica: Node, timeout: float = 20.0) -> None:
        """Wait until a replica is a primary with slots, and all running nodes know that and serve."""

        def promoted() -> bool:
            views = [{member.id: member for member in node.members()} for node in self.alive()]
            served = all(node.facts("CLUSTER", "INFO")["cluster_state"] == "ok" for node in self.alive())
            return served and all(
                replica.id in view and view[replica.id].is_primary and view[replica.id].slots
                for view in views
            )

        wait_until(promoted, f"{replica} is the primary", timeout)

    def _amiss(self) -> str:
        """What is wrong with the cluster, as text; empty if it is healthy."""
        return next(self._complaints(), "")

    def _complaints(self) -> Iterator[str]:
        nodes = self.alive()
        ids = {node.id for node in nodes}
        views = {node: [m for m in node.members() if m.id in ids] for node in nodes}
        for node in nodes:
            facts = node.facts("CLUSTER", "INFO")
            if facts["cluster_state"] != "ok" or facts["cluster_slots_ok"] != str(SLOTS):
                yield f"{node} says that the cluster is {facts['cluster_state']}"
            troubled = [m for m in views[node] if not m.linked or m.flags & TROUBLE]
            if troubled or len(views[node]) < len(ids):
                yield f"{node} has trouble with {[m.id for m in troubled]}"
        # A primary ignores CLUSTER FAILOVER from a node that it doesn't know as its replica yet.
        maps = [{m.id: (m.primary, m.slots) for m in view} for view in views.values()]
        if any(one != maps[0] for one in maps):
            yield "the nodes don't agree on who has which slots and who follows whom"
        for node in nodes:
            role = node.facts("INFO", "replication")
            if role["role"] == "slave" and role["master_link_status"] != "up":
                yield f"{node} has no link to its primary"
            followers = sum(one.primary == node.id for one in views[node])
            online = sum(name.startswith("slave") and "online" in value for name, value in role.items())
            if role["role"] == "master" and online != followers:
                yield f"{node} has {online} of {followers} replicas online"

    # ---- moving slots

    def move_slots(self, slots: Iterable[int], source: Node, target: Node) -> int:
        """Move slots in use with their keys, like `redis-cli --cluster reshard`. Returns how many keys."""
        others = [node for node in self.primaries() if node not in (source, target)]
        return sum(self._move_slot(slot, source, target, others) for slot in slots)

    def _move_slot(self, slot: int, source: Node, target: Node, others: list[Node]) -> int:
        target.say("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.say("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
        moved = self._move_keys(slot, source, target)
        # The target first, so that at any moment one of the two has the slot.
        for node in (target, source, *others):
            node.say("CLUSTER", "SETSLOT", slot, "NODE", target.id)
        return moved

    @staticmethod
    def _move_keys(slot: int, source: Node, target: Node) -> int:
        moved = 0
        while keys := source.say("CLUSTER", "GETKEYSINSLOT", slot, KEYS_AT_ONCE):
            source.say("MIGRATE", "127.0.0.1", target.port, "", 0, MIGRATE_TIMEOUT_MS, "KEYS", *keys)
            moved += len(keys)
        return moved

    @property
    def migrates_by_itself(self) -> bool:
        """Whether the servers have CLUSTER MIGRATESLOTS (Valkey 9.0 or later)."""
        return self.installed.is_valkey and self.installed.version >= (9, 0)

    def migrate_slots(self, slots: Iterable[int], source: Node, target: Node, timeout: float = 30.0) -> None:
        """Move slots with CLUSTER MIGRATESLOTS. Returns when all nodes know the new owner."""
        ranges = [slot for first_and_last in runs(slots) for slot in first_and_last]
        source.say("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", *ranges, "NODE", target.id)

        def is_over() -> bool:
            jobs = source.say("CLUSTER", "GETSLOTMIGRATIONS")
            # Older migrations can be listed too; the newest comes first.
            state = migration_state(jobs[0])
            if state in ("failed", "cancelled"):
                raise AssertionError(f"the migration has {state}: {jobs[0]}")
            return state == "success"

        wait_until(is_over, "the slots have moved", timeout)
        self.wait_ok()

    # ---- clients, the end

    def client(self, **options: object) -> redis.RedisCluster:
        """A client of the cluster: bytes in and out, RESP2. It follows MOVED and ASK. Closed with the cluster."""
        starts = [ClusterNode("127.0.0.1", node.port) for node in self.alive()]
        client = redis.RedisCluster(startup_nodes=starts, **{"protocol": 2, "socket_timeout": 15, **options})
        self._clients.append(client)
        return client

    def check(self) -> None:
        """Fail unless each node runs or was ended by the test, and no log contains a crash."""
        for node in self.nodes:
            node.check()

    def discard(self) -> None:
        """Stop all nodes and remove their directories."""
        while self._clients:
            self._clients.pop().close()
        for node in self.nodes:
            node.discard()


def pass_start_delay(nodes: Iterable[Server]) -> None:
    """Move the clocks of nodes forward by 2 s: for that time after its start, a primary refuses all commands.

    It is done when they have their slots and before they meet, so that no pings are missed.
    """
    shifted = [node for node in nodes if node.clock]
    for node in shifted:
        node.clock.passes(START_DELAY_MS)
    for node in shifted:
        # One round of its event loop reads the clock. Otherwise the node would treat a handshake as an old one.
        node.client().ping()


def runs(slots: Iterable[int]) -> list[tuple[int, int]]:
    """Slots as ranges of a first and a last one."""
    found: list[tuple[int, int]] = []
    for slot in sorted(slots):
        if found and found[-1][1] == slot - 1:
            found[-1] = (found[-1][0], slot)
        else:
            found.append((slot, slot))
    return found


def migration_state(job: dict | list) -> str:
    """The state of a migration, from CLUSTER GETSLOTMIGRATIONS."""
    fields = job if isinstance(job, dict) else dict(zip(job[::2], job[1::2], strict=True))
    return fields["state"]
