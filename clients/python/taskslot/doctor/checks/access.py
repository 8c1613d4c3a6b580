"""Who can reach a server, and what they may do there."""

from __future__ import annotations

from collections.abc import Iterator

from ...overview.attention import Severity
from ..facts import Facts, Node
from ..finding import Finding, in_file, set_to

PASSWORD = (
    "CONFIG SET requirepass …, or a user for each program and `user default off` "
    "(docs/install.md#users-and-permissions)"
)


def check(facts: Facts) -> Iterator[Finding]:
    """Each server."""
    for node in facts.nodes:
        yield from of_door(node)
        yield from of_commands(node)


def of_door(node: Node) -> Iterator[Finding]:
    """A server that anybody in the network can use."""
    flags = node.default_user
    is_free = flags is not None and {"on", "nopass"} <= flags
    if not node.is_open:
        return
    if is_free:
        # Before Redis 7.0, a bind setting of any kind turns the protection off.
        is_protected = node.setting("protected-mode") == "yes" and (
            node.version >= (7, 0) or node.setting("bind") == ""
        )
        yield Finding(
            Severity.LOOK if is_protected else Severity.ACT,
            "no-password",
            node.address,
            f"it listens on {', '.join(node.bound or ())} and asks for no password",
            "protected-mode refuses other machines, and nothing else does"
            if is_protected
            else "whoever can push decides what your workers run",
            PASSWORD,
        )
    elif not node.setting_number("tls-port"):
        yield Finding(
            Severity.KNOW,
            "no-tls",
            node.address,
            "other machines connect without TLS",
            "who can listen to the network reads passwords and payloads",
            "a private network, or tls-port with certificates in redis.conf",
        )


def of_commands(node: Node) -> Iterator[Finding]:
    """Commands that give away the server, or the module's safety."""
    if node.setting("enable-module-command") == "yes":
        yield Finding(
            Severity.LOOK,
            "enable-module-command",
            node.address,
            "enable-module-command is yes",
            "a client that may send MODULE LOAD runs any code in the server",
            in_file("enable-module-command", "no"),
        )
    if node.setting("enable-debug-command") == "yes":
        yield Finding(
            Severity.LOOK,
            "enable-debug-command",
            node.address,
            "enable-debug-command is yes",
            "a client that may send DEBUG can stop the server",
            in_file("enable-debug-command", "no"),
        )
    if node.setting("taskslot.allow-effects") == "yes":
        yield Finding(
            Severity.LOOK,
            "allow-effects",
            node.address,
            "the module's allow-effects is on",
            "clients can change queues past all rules (TASK._APPLY)",
            set_to("taskslot.allow-effects", "no"),
        )
    if node.setting("lua-replicate-commands") == "no":
        yield Finding(
            Severity.LOOK,
            "lua-replicate-commands",
            node.address,
            "lua-replicate-commands is no",
            "scripts can't change queues",
            set_to("lua-replicate-commands", "yes"),
        )
