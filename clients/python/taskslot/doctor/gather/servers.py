"""The settings of a server, and its user `default`."""

from __future__ import annotations

from typing import Any

from ...overview import NodeInfo
from ..facts import Node
from .questions import Questions, text_of

# Settings that are not kept: a report must not show them.
SECRETS = frozenset(
    {"requirepass", "masterauth", "primaryauth", "tls-key-file-pass", "tls-client-key-file-pass"}
)


def node_of(questions: Questions, info: NodeInfo, client: Any) -> Node:
    """A server with its settings; without them if this machine can't reach it (`client` is None)."""
    if client is None:
        return Node(info)
    settings = questions.ask("CONFIG GET", info.address, lambda: client.config_get("*"))
    user = questions.ask("ACL GETUSER", info.address, lambda: client.acl_getuser("default"))
    flags = None if user is None else frozenset(map(text_of, user["flags"]))
    if flags is None and settings is not None and "requirepass" in settings:
        flags = frozenset({"on"} if settings["requirepass"] else {"on", "nopass"})
    kept = settings and {name: value for name, value in settings.items() if name not in SECRETS}
    return Node(info, kept, flags)
