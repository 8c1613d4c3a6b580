"""Which call can try a node that is away: the decisions of the circuit breaker, without a server or a clock."""

from taskslot.circuit_breaker import LONGEST_PROBE_S, LONGEST_REST_S, CircuitBreaker


def test_nobody_waits_for_a_node_that_answers():
    """All calls can use a node that has not failed, or that replies again."""
    breaker = CircuitBreaker()
    assert breaker.wait_s("a", 1.0) == 0
    breaker.failed("a", 1.0)
    breaker.succeeded("a")
    assert breaker.wait_s("a", 1.0) == 0


def test_one_of_many_tries_a_node_that_is_away():
    """After a rest, the first call that asks can try, and the others wait for the outcome."""
    breaker = CircuitBreaker()
    breaker.failed("a", 0.0)
    assert breaker.wait_s("a", 0.001) > 0
    assert breaker.wait_s("a", 0.02) == 0
    assert breaker.wait_s("a", 0.02) > 0
    breaker.failed("a", 0.03)
    assert breaker.wait_s("a", 0.05) > 0


def test_a_node_that_works_is_not_waited_for_because_another_is_away():
    """Each node has its own circuit."""
    breaker = CircuitBreaker()
    breaker.failed("a", 0.0)
    assert breaker.wait_s("b", 0.0) == 0


def test_rests_grow_to_half_a_second():
    """A node that stays away is tried less and less often, in the end twice a second."""
    breaker, now = CircuitBreaker(), 0.0
    for _ in range(20):
        breaker.failed("a", now)
        now = breaker.open["a"].next_probe
    assert breaker.open["a"].rest_s == LONGEST_REST_S


def test_a_try_that_never_ends_holds_the_others_up_for_two_seconds_only():
    """The call that tries can be cancelled. Then another one tries."""
    breaker = CircuitBreaker()
    breaker.failed("a", 0.0)
    assert breaker.wait_s("a", 1.0) == 0
    assert breaker.wait_s("a", 1.0 + LONGEST_PROBE_S - 0.01) > 0
    assert breaker.wait_s("a", 1.0 + LONGEST_PROBE_S) == 0
