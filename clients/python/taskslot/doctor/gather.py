"""Asks the servers for the facts, with the rights of the user who asks. Nothing is changed on them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from .. import __version__
from ..addresses import address_of
from ..clients import AS_BYTES, Client
from ..errors import TaskslotError
from ..overview.node_info import NodeInfo, read_node
from ..overview.nodes import Nodes
from ..overview.seen import Seen
from ..overview.servers import Server, Servers
from ..programs import SERVERS
from .facts import Cluster, Facts, Host, Node, Sentinel

T = TypeVar("T")
# How long a server can take to reply before it counts as away.
PATIENCE_S = 3.0
# The most queues whose state is read.
MOST_QUEUES = 2000
# Settings that are not kept: a report must not show them.
SECRETS = frozenset(
    {"requirepass", "masterauth", "primaryauth", "tls-key-file-pass", "tls-client-key-file-pass"}
)
KERNEL = Path("/proc/sys/vm/overcommit_memory")
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def gather(client: Any) -> Facts:
    """All facts. Raises the client's error if no server replies, and for a wrong password."""
    return Gatherer(client).facts()


class Gatherer:
    """The questions of one run, and what was refused."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.kind = Client(client)
        self.refused: dict[str, str] = {}
        self.away: list[str] = []

    def facts(self) -> Facts:
        """Ask everything."""
        servers = Servers(self.client, PATIENCE_S)
        try:
            nodes = [self._node(servers, one) for one in servers.primaries()]
            found = [one for one in nodes if one is not None]
            replicas = [self._node(servers, one) for one in servers.replicas([one.info for one in found])]
            found += [one for one in replicas if one is not None]
            if not found:
                # Nobody replies: the error of one says why.
                self.client.execute_command("PING", **AS_BYTES)
            cluster = self._cluster(servers.primaries(), found)
        finally:
            servers.close()
        return Facts(
            found,
            __version__,
            self.away,
            self._queues(),
            cluster,
            self._sentinel(),
            host_of(found),
            self.refused,
        )

    def _ask(self, what: str, where: str, question: Callable[[], T]) -> T | None:
        """The answer, or None if the server refuses the command; that is noted."""
        try:
            return question()
        except self.kind.errors.ResponseError as error:
            if self.kind.is_away(error):
                raise
            self.refused[f"{what} on {where}"] = " ".join(str(error).split())
            return None

    def _node(self, servers: Servers, server: Server) -> Node | None:
        """What a server says; None if it is away."""
        try:
            info = self._info(servers, server)
            where, client = info.address, server.client
            settings = self._ask("CONFIG GET", where, lambda: client.config_get("*"))
            user = self._ask("ACL GETUSER", where, lambda: client.acl_getuser("default"))
        except Exception as error:
            if not self.kind.is_away(error):
                raise
            self.away.append(servers.address(server))
            return None
        flags = None if user is None else frozenset(map(text_of, user["flags"]))
        if flags is None and settings is not None and "requirepass" in settings:
            flags = frozenset({"on"} if settings["requirepass"] else {"on", "nopass"})
        kept = settings and {name: value for name, value in settings.items() if name not in SECRETS}
        return Node(info, kept, flags)

    def _info(self, servers: Servers, server: Server) -> NodeInfo:
        client = server.client
        fields = self._ask("INFO", "", lambda: client.info("everything"))
        where = servers.address(server)
        if "INFO on " in self.refused:
            self.refused[f"INFO on {where}"] = self.refused.pop("INFO on ")
        asked_at, clock = time.monotonic(), time.time()
        reply = self._ask("TIME", where, lambda: client.execute_command("TIME"))
        took_s = time.monotonic() - asked_at
        ahead_ms = None
        if reply is not None:
            ahead_ms = round((reply[0] + reply[1] / 1e6 - clock - took_s / 2) * 1000)
        if fields is None:
            role = "primary" if server.is_primary else "replica"
            return NodeInfo(where, role, slots=server.slots, trouble=self.refused[f"INFO on {where}"])
        return read_node(where, fields, server.slots, ahead_ms, round(took_s * 1000))

    def _queues(self) -> Seen | None:
        """The queues, as far as they are found in bounded time; None if no server has the module."""
        try:
            with Nodes(self.client, MOST_QUEUES, PATIENCE_S) as nodes:
                seen = nodes.look()
        except TaskslotError:
            return None
        self.refused.update({what: why for what, why in seen.refused.items() if not what.startswith("INFO ")})
        if seen.was_cut or not (seen.is_whole or seen.refused):
            self.refused["some queues"] = "there are many keys, and not all were searched"
        for why in sorted(set(seen.unreadable.values()))[:1]:
            self.refused[f"TASK.INFO of {len(seen.unreadable)} queues"] = why
        return seen

    def _cluster(self, servers: list[Server], nodes: list[Node]) -> Cluster | None:
        """The cluster as the first node that replies sees it."""
        if not any(node.field("cluster_enabled") == 1 for node in nodes) and not self.kind.is_cluster:
            return None
        for server in servers:
            try:
                info = self._say("CLUSTER", "INFO", server)
                members = self._say("CLUSTER", "NODES", server)
            except Exception as error:
                if not self.kind.is_away(error):
                    raise
                continue
            fields = dict(line.split(":", 1) for line in info.split() if ":" in line)
            return Cluster(fields, failed_in(members))
        return None

    def _say(self, name: str, word: str, server: Server) -> str:
        """The text that a server replies to a command of two words; empty if it refuses."""
        where = server.name or str(server.client.connection_pool.connection_kwargs.get("port", ""))
        answer = self._ask(
            f"{name} {word}", where, lambda: server.client.execute_command(name, word, **AS_BYTES)
        )
        return "" if answer is None else text_of(answer)

    def _sentinel(self) -> Sentinel | None:
        """The service as the first Sentinel that replies sees it."""
        manager = (
            getattr(self.client.connection_pool, "sentinel_manager", None)
            if not self.kind.is_cluster
            else None
        )
        if manager is None:
            return None
        service, answer, error, away = self.client.connection_pool.service_name, None, "", []
        for one in manager.sentinels:
            try:
                if answer is None:
                    answer = fields_of(one.execute_command("SENTINEL", "MASTER", service))
                    error = self._quorum_error(one, service)
                else:
                    one.ping()
            except Exception as failure:
                if not self.kind.is_away(failure):
                    raise
                known = one.connection_pool.connection_kwargs
                away.append(address_of(known.get("host"), known.get("port")))
        if answer is None:
            return None
        numbers = [int(answer[name]) for name in ("num-other-sentinels", "quorum", "down-after-milliseconds")]
        flags = frozenset(str(answer["flags"]).split(","))
        return Sentinel(service, numbers[0] + 1, numbers[1], flags, numbers[2], away, error)

    def _quorum_error(self, sentinel: Any, service: str) -> str:
        try:
            sentinel.execute_command("SENTINEL", "CKQUORUM", service)
        except self.kind.errors.ResponseError as error:
            return " ".join(str(error).split())
        return ""


def text_of(value: bytes | str) -> str:
    """Bytes or text as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def fields_of(reply: Any) -> Mapping[str, str]:
    """The fields of a Sentinel's reply, which is a list in RESP2. Clients read some of them already."""
    if isinstance(reply, Mapping):
        items = list(reply.items())
    else:
        items = list(zip(reply[::2], reply[1::2], strict=True))
    found = {text_of(name): value for name, value in items}
    return {name: value if isinstance(value, str) else joined(value) for name, value in found.items()}


def joined(value: Any) -> str:
    """A value as the server wrote it: clients make sets of flags."""
    return (
        ",".join(map(text_of, value))
        if isinstance(value, set | frozenset | list)
        else text_of(str_or_bytes(value))
    )


def str_or_bytes(value: Any) -> bytes | str:
    """A value that text can be made of."""
    return value if isinstance(value, bytes) else str(value)


def failed_in(members: str) -> list[str]:
    """The addresses of the nodes that CLUSTER NODES calls failed."""
    found = []
    for line in members.splitlines():
        words = line.split()
        if len(words) > 2 and "fail" in words[2].split(","):
            found.append(words[1].partition("@")[0])
    return found


def host_of(nodes: list[Node]) -> Host | None:
    """This machine's settings, if the first server's process is on it."""
    if not nodes or not nodes[0].is_on_loopback:
        return None
    comm = content(Path("/proc") / str(nodes[0].field("process_id")) / "comm")
    if comm not in SERVERS:
        return None  # behind a forwarded port
    overcommit = content(KERNEL)
    chosen = [word for word in content(HUGE_PAGES).split() if word.startswith("[")]
    return Host(int(overcommit) if overcommit.isdigit() else None, chosen[0].strip("[]") if chosen else None)


def content(file: Path) -> str:
    """The text of a file of the kernel; empty if it can't be read."""
    try:
        return file.read_text().strip()
    except OSError:
        return ""
