"""Profiles without faults of servers: what happens to clients alone."""

from __future__ import annotations

from functools import partial

from chaos.profiles.profile import Profile
from chaos.topologies.single import Single

PROFILES = [
    Profile(
        "calm",
        "no fault of a server; worker processes killed (`kill -9`)",
        partial(Single, appendfsync="everysec"),
        {},
        load={"kill_each_s": 2.5},
    ),
]
