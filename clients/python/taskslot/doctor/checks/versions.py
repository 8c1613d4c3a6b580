"""The module is of one version, on a server that it supports."""

from __future__ import annotations

from collections.abc import Iterator

from ...overview.attention import Severity
from ..facts import Facts, Node, numbers
from ..finding import Finding, typed

OLDEST_SERVER = (6, 2)


def check(facts: Facts) -> Iterator[Finding]:
    """Too old servers, and versions that do not fit together."""
    for node in facts.nodes:
        yield from of_node(node)
    with_module = [node for node in facts.nodes if node.info.module]
    for node in facts.replicas:
        yield from of_replica(node, [one for one in with_module if one.info.is_primary])
    versions = sorted({node.info.module for node in with_module if node.info.is_primary}, key=numbers)
    if len(versions) > 1:
        yield Finding(
            Severity.LOOK,
            "module-versions",
            "",
            f"the primaries have several versions of the module: {', '.join(versions)}",
            "a queue that moves from a newer to an older one may not be readable there",
            f"load {typed(versions[-1])} on all servers (docs/upgrade.md)",
        )
    yield from of_library(facts, versions)


def of_node(node: Node) -> Iterator[Finding]:
    """One server."""
    if node.info.trouble:
        return  # nothing is known about it
    if node.version and node.version < OLDEST_SERVER:
        yield Finding(
            Severity.ACT,
            "old-server",
            node.address,
            f"{node.info.server} {node.info.server_version} is too old",
            "the module needs Redis 6.2, or any Valkey",
            "install a newer server (docs/install.md)",
        )


def of_replica(node: Node, primaries: list[Node]) -> Iterator[Finding]:
    """A replica whose module is older than its primary's."""
    own = node.info.module
    newest = max((one.info.module for one in primaries), key=numbers, default="")
    if own and newest and numbers(own) < numbers(newest):
        yield Finding(
            Severity.ACT,
            "replica-module",
            node.address,
            f"its module is {own}, and a primary's is {newest}",
            "a queue becomes BROKEN on a replica that does not know a change",
            f"upgrade replicas before primaries: load {typed(newest)} there (docs/upgrade.md)",
        )


def of_library(facts: Facts, versions: list[str]) -> Iterator[Finding]:
    """A library that is newer than the module uses commands that it lacks."""
    oldest = versions[0] if versions else ""
    if oldest and numbers(oldest)[:2] != numbers(facts.library)[:2]:
        yield Finding(
            Severity.LOOK,
            "library-version",
            "",
            f"this library is {facts.library}, the module is {oldest}",
            "each expects what the other may not have",
            f"pip install 'taskslot=={typed(oldest)}', or upgrade the module",
        )
