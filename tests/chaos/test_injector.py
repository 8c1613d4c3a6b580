"""Which faults a run has: its share of the profile's, so that a few runs together have all of them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from harness.server import SERVERS

from chaos.injector import ROUND, Injector, injector, share
from chaos.profiles import PROFILES
from chaos.profiles.profile import Profile
from chaos.run import Order, inject
from chaos.stage import Stage
from chaos.topologies.single import Single


class Nowhere(Single):
    """A topology without servers: its faults only say that they happened."""


def quick(*kinds: str, **how: bool) -> Injector:
    """Does nothing, and says that it did."""

    @injector(*kinds, **how)
    def act(stage: Stage) -> None:
        for kind in kinds:
            with stage.fault(kind):
                pass

    return act


def injected(
    folder: Path, faults: list[Injector], seed: int, seconds: float, must_lose: bool = False
) -> Stage:
    """What a run does with these faults."""
    server = next(iter(SERVERS.values()))
    weights = dict.fromkeys(faults, 1.0)
    profile = Profile("p", "what", Nowhere, weights, gap_s=(0.0, 0.01), must_lose=must_lose)
    folder.mkdir(exist_ok=True)
    stage = Stage(Nowhere(server), seed, folder)
    inject(Order(profile, server, seed, seconds), stage)
    stage.close()
    return stage


def test_four_seeds_in_a_row_have_all_faults_of_a_profile():
    """From any seed on, and on any server, though a run has but a quarter of them."""
    for name, profile in PROFILES.items():
        for server in SERVERS.values():
            needed = {one for one in profile.faults if one.runs_on(server) and not one.is_mark}
            for begin in range(30):
                shares = [share(profile.faults, server, seed, False) for seed in range(begin, begin + ROUND)]
                assert set().union(*shares) == needed, (name, server.name, begin)
                often = sum(one.only_on is not None for one in needed)
                assert all(len(one) <= often + math.ceil(len(needed) / ROUND) for one in shares)


def test_a_fault_that_few_servers_can_do_is_in_each_run_on_those():
    """Its turn would come too rarely there."""
    profile = PROFILES["sentinel-failover"]
    for server in SERVERS.values():
        kinds = {kind for one in share(profile.faults, server, 5, False) for kind in one.kinds}
        assert ("SENTINEL FAILOVER COORDINATED" in kinds) == (server.name == "valkey-9.1")


def test_a_run_does_its_share_though_its_time_is_over(tmp_path: Path):
    """With a time of nothing it has these faults and no other ones."""
    faults = [quick(f"fault {number}") for number in range(8)]
    stages = [injected(tmp_path / str(seed), faults, seed, 0.0) for seed in range(ROUND)]
    assert [len(stage.faults) for stage in stages] == [2] * ROUND
    assert {fault.kind for stage in stages for fault in stage.faults} == {f"fault {n}" for n in range(8)}


def test_a_control_has_all_faults_of_its_profile(tmp_path: Path):
    """A single run must show that the rules see a loss."""
    faults = [quick(f"fault {number}") for number in range(8)]
    assert len(injected(tmp_path, faults, 3, 0.0, must_lose=True).faults) == 8


def test_what_has_no_way_back_is_done_once(tmp_path: Path):
    """Then the run goes on without it."""
    stage = injected(tmp_path, [quick("for good", is_final=True)], 1, 0.2)
    assert [fault.kind for fault in stage.faults] == ["for good"]


def test_a_fault_that_does_not_happen_is_a_problem_of_the_run(tmp_path: Path):
    """Otherwise a run would be sound because nothing was done to it."""

    @injector("power cut", "back again")
    def half(stage: Stage) -> None:
        with stage.fault("power cut"):
            pass

    assert set(injected(tmp_path, [half], 1, 0.0).problems) == {"back again did not happen"}


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_has_no_kind_of_fault_twice(name: str):
    """So the table can say which of them did not happen."""
    kinds = [kind for fault in PROFILES[name].faults for kind in fault.kinds]
    assert len(set(kinds)) == len(kinds)
