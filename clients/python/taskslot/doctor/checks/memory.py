"""Memory: the policy of a full server, and its limit."""

from __future__ import annotations

from collections.abc import Iterator

from ...overview.attention import Severity
from ..facts import Facts, Node
from ..finding import Finding, set_to

# A limit above this share of the machine leaves too little for the copies of pages while a child writes a file.
MOST_OF_MACHINE = 0.8
# The size that values and payloads have by default.
BULK = 512 * 1024 * 1024


def check(facts: Facts) -> Iterator[Finding]:
    """Each server."""
    for node in facts.nodes:
        yield from of_policy(node)
        yield from of_limit(node)
        yield from of_payloads(node)


def of_policy(node: Node) -> Iterator[Finding]:
    """A full server that removes queues, unless the module warns of it. It looks every two seconds."""
    policy = str(node.field("maxmemory_policy") or node.setting("maxmemory-policy") or "noeviction")
    if policy != "noeviction" and "eviction" not in node.info.warnings:
        which = "any queue" if policy.startswith("allkeys") else "queues with an EXPIRE"
        yield Finding(
            Severity.LOOK,
            "eviction",
            node.address,
            f"maxmemory-policy is {policy}",
            f"a full server removes {which}, with all tasks and leases",
            set_to("maxmemory-policy", "noeviction"),
        )


def of_limit(node: Node) -> Iterator[Finding]:
    """No limit, or one that the machine does not have."""
    machine, limit = node.info_number("total_system_memory") or 0, node.info.maxmemory
    good = f"{machine * 6 // 10 // 1024**2}mb" if machine else "4gb"
    if limit == 0:
        yield Finding(
            Severity.LOOK,
            "no-maxmemory",
            node.address,
            "maxmemory is not set",
            "the kernel kills the server when the machine is full; with a limit, pushes are refused and workers go on",
            set_to("maxmemory", good),
        )
    elif machine and limit > machine * MOST_OF_MACHINE:
        yield Finding(
            Severity.LOOK,
            "maxmemory",
            node.address,
            f"maxmemory is {limit / machine:.0%} of the machine's memory",
            "snapshots and rewrites copy memory, and need room",
            set_to("maxmemory", good),
        )


def of_payloads(node: Node) -> Iterator[Finding]:
    """A server that takes smaller values than the module."""
    bulk = node.setting_number("proto-max-bulk-len")
    most = node.setting_number("taskslot.max-payload") or BULK
    if bulk is not None and bulk < most and bulk < BULK:
        yield Finding(
            Severity.LOOK,
            "proto-max-bulk-len",
            node.address,
            f"proto-max-bulk-len is {bulk} bytes",
            "who sends more loses the connection instead of getting an error, and a larger queue can't be moved",
            set_to("proto-max-bulk-len", "512mb"),
        )
