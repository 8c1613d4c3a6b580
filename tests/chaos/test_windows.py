"""Which calls a takeover may have undone, from samples of the nodes that took part."""

import math

from chaos.topologies.windows import Sample, Takeover, quiet, takeovers, undone, without

OLD, NEW = "history of the old one", "history of the new one"


def primary(at: float, offset: int, history: str = OLD, before: str = "", taken: int = -1) -> Sample:
    """A sample of a primary: asked at `at`, answered a tenth of a second later."""
    return Sample(at, at + 0.1, True, history, offset, before, taken)


def replica(at: float, offset: int, history: str = OLD) -> Sample:
    """A sample of a replica."""
    return Sample(at, at + 0.1, False, history, offset)


def one(seen: dict[int, list[Sample]], since: float = 0.0) -> Takeover:
    """The only takeover."""
    (takeover,) = takeovers(seen, since)
    return takeover


# The link is cut after second 2. The replica has 200 bytes, and is promoted before second 5. The old one acknowledges
# writes until it is demoted, before second 8.
CUT = {
    0: [*(primary(at, 100 * at) for at in range(1, 8)), replica(8, 350, NEW)],
    1: [
        replica(1, 100),
        replica(2, 200),
        replica(4, 200),
        primary(5, 250, NEW, OLD, 200),
        primary(8, 350, NEW),
    ],
}


def test_a_window_spans_from_the_last_write_that_the_successor_has_to_the_demotion():
    """It begins when the old primary was last seen with no more than the new one has."""
    takeover = one(CUT)
    assert (takeover.old, takeover.new, takeover.promoted, takeover.demoted) == (0, 1, 5.1, 8.1)
    assert undone(takeover, CUT[0]) == [(2, 8.1)]


def test_a_takeover_that_was_seen_before_is_not_seen_again():
    """Each fault asks for what was seen since it began."""
    assert takeovers(CUT, since=5.2) == []


def test_an_old_primary_that_is_not_demoted_yet_has_a_window_without_an_end():
    """So a run can't forget to wait for it."""
    seen = {0: CUT[0][:-1], 1: CUT[1]}
    assert one(seen).demoted == math.inf
    assert undone(one(seen), seen[0]) == [(2, math.inf)]


def test_a_primary_that_refused_writes_undoes_nothing_meanwhile():
    """Its count did not grow from 3.1 on. It was last asked at 7, and may have acknowledged something after that."""
    old = [primary(1, 100), primary(2, 200), *(primary(at, 300) for at in range(3, 8)), replica(8, 350, NEW)]
    seen = {0: old, 1: CUT[1]}
    assert undone(one(seen), old) == [(2, 3.1), (7, 8.1)]


def test_a_primary_that_was_killed_undoes_what_it_did_before_and_after():
    """It starts with another history, so its count tells nothing about what its successor has."""
    old = [
        primary(1, 100),
        primary(2, 200),
        primary(6, 0, "anew"),
        primary(7, 0, "anew"),
        replica(8, 350, NEW),
    ]
    seen = {0: old, 1: CUT[1]}
    assert undone(one(seen), old, down=[(2.5, 5.5)]) == [(2, 2.5), (5.5, 8.1)]


def test_a_successor_that_has_everything_undoes_nothing_before_the_old_one_was_last_seen():
    """FAILOVER: the old primary stops writes, and waits until the new one has all of them."""
    old = [primary(1, 100), primary(2, 200), primary(3, 200), primary(4, 200), replica(5, 250, NEW)]
    seen = {0: old, 1: [replica(1, 100), replica(4, 200), primary(5, 250, NEW, OLD, 200)]}
    assert undone(one(seen), old) == [(4, 5.1)]


def test_a_replica_that_follows_another_primary_is_no_takeover():
    """Only a node that becomes a primary takes over."""
    seen = {0: [primary(1, 100)], 1: [replica(1, 100), replica(2, 0, NEW)]}
    assert takeovers(seen, 0) == []


def test_a_short_silence_is_not_quiet():
    """A call that is sent again then gets the answer of the first one, which may be undone."""
    assert quiet([primary(1, 100), primary(2, 200), primary(3, 200)]) == []
    assert quiet([primary(1, 100), primary(2, 200), primary(3, 200), primary(4, 200)]) == [(2.1, 4)]


def test_parts_are_taken_out_of_a_span_wherever_they_are():
    """Parts may overlap each other and its ends, and be in any order."""
    assert without((2, 8), [(5, 6), (1, 3), (5.5, 7), (9, 10)]) == [(3, 5), (7, 8)]
    assert without((2, 8), [(0, 9)]) == []
    assert without((2, 8), []) == [(2, 8)]
