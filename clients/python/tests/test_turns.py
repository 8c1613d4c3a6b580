"""Who tries a node that is away: the decisions of `turns`, without a server or a clock."""

from taskslot.turns import LONGEST_REST_S, LONGEST_TRY_S, Turns


def test_nobody_waits_for_a_node_that_answers():
    """A node that hasn't failed, or answers again, is everybody's."""
    turns = Turns()
    assert turns.wait_s("a", 1.0) == 0
    turns.failed("a", 1.0)
    turns.worked("a")
    assert turns.wait_s("a", 1.0) == 0


def test_one_of_many_tries_a_node_that_is_away():
    """After a rest the first who asks may try; the others wait for how that ends."""
    turns = Turns()
    turns.failed("a", 0.0)
    assert turns.wait_s("a", 0.001) > 0
    assert turns.wait_s("a", 0.02) == 0
    assert turns.wait_s("a", 0.02) > 0
    turns.failed("a", 0.03)
    assert turns.wait_s("a", 0.05) > 0


def test_a_node_that_works_is_not_waited_for_because_another_is_away():
    """Each node has its own turns."""
    turns = Turns()
    turns.failed("a", 0.0)
    assert turns.wait_s("b", 0.0) == 0


def test_rests_grow_to_half_a_second():
    """A node that stays away is tried ever more rarely, at last twice a second."""
    turns, now = Turns(), 0.0
    for _ in range(20):
        turns.failed("a", now)
        now = turns.away["a"].next_try
    assert turns.away["a"].rest_s == LONGEST_REST_S


def test_a_try_that_never_ends_holds_the_others_up_for_two_seconds_only():
    """Whoever tries may be cancelled: then another one has a go."""
    turns = Turns()
    turns.failed("a", 0.0)
    assert turns.wait_s("a", 1.0) == 0
    assert turns.wait_s("a", 1.0 + LONGEST_TRY_S - 0.01) > 0
    assert turns.wait_s("a", 1.0 + LONGEST_TRY_S) == 0
