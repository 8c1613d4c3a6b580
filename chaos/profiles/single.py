"""Profiles with one server."""

from __future__ import annotations

from functools import partial

from chaos.faults import process
from chaos.profiles.profile import Profile
from chaos.topologies.single import Single

# What an operator does, or what happens, without harm to the data.
HARMLESS = {
    process.stop: 2.0,
    process.rewrite: 2.0,
    process.save: 1.0,
    process.reload: 1.0,
    process.pause: 1.0,
}

PROFILES = [
    Profile(
        "always",
        "`kill -9`, rewrites, snapshots, reloads, `SIGSTOP`, `CLIENT PAUSE`",
        partial(Single, appendfsync="always"),
        {process.kill: 3.0, **HARMLESS},
    ),
]
