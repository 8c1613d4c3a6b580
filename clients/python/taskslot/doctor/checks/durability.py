"""What survives a crash: the append-only file, snapshots, and whether they can be written."""

from __future__ import annotations

from collections.abc import Iterator

from ...overview.attention import Severity
from ..facts import Facts, Node
from ..finding import Finding, set_to


def check(facts: Facts) -> Iterator[Finding]:
    """Each server's files, and a deployment without a second copy."""
    for node in facts.nodes:
        yield from of_settings(node, has_copy(facts, node))
        yield from of_last_writes(node)
    alone = [node for node in facts.primaries if node.info_number("connected_slaves") == 0]
    if alone and not list(facts.replicas) and facts.cluster is None:
        yield Finding(
            Severity.KNOW,
            "no-replica",
            alone[0].address,
            "there is no replica",
            "what happens to this machine's disk happens to all tasks",
            "start a replica with the module, and a failover "
            "(docs/cluster.md); or take backups (docs/backup.md)",
        )


def has_copy(facts: Facts, node: Node) -> bool:
    """Whether a primary has a replica that can hold the queues: not one that is known to lack the module."""
    bare = {one.info.address for one in facts.replicas if not one.info.trouble and not one.info.module}
    return any(one.address not in bare for one in node.info.replicas)


def of_settings(node: Node, has_copy: bool) -> Iterator[Finding]:
    """What is written, and when it is synced."""
    if node.info_number("aof_enabled") == 0:
        # Without a copy, it is a warning of the module.
        if not node.info.is_primary or node.info.replicas:
            yield Finding(
                Severity.ACT if node.info.is_primary and not has_copy else Severity.LOOK,
                "no-append-only-file",
                node.address,
                "there is no append-only file",
                "a crash loses every task since the last snapshot",
                set_to("appendonly", "yes"),
            )
        return
    if node.setting("appendfsync") == "no":
        yield Finding(
            Severity.LOOK,
            "appendfsync",
            node.address,
            "appendfsync is no",
            "a power cut loses what the system had not written yet, often half a minute",
            set_to("appendfsync", "everysec"),
        )
    if node.setting("no-appendfsync-on-rewrite") == "yes":
        yield Finding(
            Severity.LOOK,
            "appendfsync-on-rewrite",
            node.address,
            "no-appendfsync-on-rewrite is yes",
            "a power cut loses all since the start of a rewrite",
            set_to("no-appendfsync-on-rewrite", "no"),
        )
    if node.setting("aof-load-truncated") == "no":
        yield Finding(
            Severity.KNOW,
            "aof-load-truncated",
            node.address,
            "aof-load-truncated is no",
            "after a power cut the server may not start, until somebody repairs the file",
            set_to("aof-load-truncated", "yes"),
        )


def of_last_writes(node: Node) -> Iterator[Finding]:
    """Files that could not be written."""
    bad = [
        (
            "aof_last_write_status",
            Severity.ACT,
            "the append-only file can't be written",
            "writes get MISCONF",
        ),
        (
            "aof_last_bgrewrite_status",
            Severity.LOOK,
            "the last rewrite of the append-only file failed",
            "the file grows until the disk is full",
        ),
        (
            "rdb_last_bgsave_status",
            Severity.LOOK,
            "the last snapshot failed",
            "backups that copy it are old, and a replica may not get its copy",
        ),
    ]
    for name, severity, what, why in bad:
        if node.field(name) not in (None, "ok"):
            yield Finding(
                severity,
                name.replace("_", "-"),
                node.address,
                what,
                why,
                "look at the server's log; make room on the disk, or memory for the fork (vm.overcommit_memory=1)",
            )
