"""Profiles for wrong builds: those of every run, and one that loads all queues again and again."""

from __future__ import annotations

from functools import partial

from chaos.faults import process
from chaos.profiles import PROFILES as COMMON
from chaos.profiles.profile import Profile
from chaos.topologies.single import Single

RELOADS = Profile(
    "reloads",
    "`DEBUG RELOAD`, and nothing else",
    partial(Single, appendfsync="always"),
    {process.reload: 1.0},
    gap_s=(1.0, 3.0),
)
PROFILES = {**COMMON, RELOADS.name: RELOADS}
