"""When an outage begins and when it ends, without a server or a clock."""

from taskslot.outages import Outages


def test_an_outage_and_its_end_are_reported_once():
    """The number of failed calls doesn't matter. The outage lasts from the first failure to the first reply."""
    outages = Outages()
    assert [outages.failed("a", "q", now) for now in (1.0, 1.1, 4.0)] == [True, False, False]
    assert outages.succeeded("q", 4.5, 5.0) == 4.0
    assert outages.succeeded("q", 5.0, 6.0) is None and outages.failed("a", "q", 7.0)


def test_a_reply_to_an_earlier_command_does_not_end_an_outage():
    """The command was sent before the last failure."""
    outages = Outages()
    outages.failed("a", "q", 1.0)
    assert outages.succeeded("q", 0.9, 1.1) is None and outages.succeeded("q", 1.2, 1.3) is not None


def test_the_outage_of_a_key_ends_when_another_node_takes_over():
    """The dead node stays away, but no command is sent to it any more."""
    outages = Outages()
    assert outages.failed("a", "q:{1}", 1.0) and not outages.failed("a", "q:{2}", 1.0)
    assert not outages.failed("b", "q:{1}", 2.0), "its heir isn't there yet"
    assert outages.succeeded("q:{3}", 3.0, 3.0) is None
    assert outages.succeeded("q:{2}", 3.0, 3.5) == 2.5
    assert outages.succeeded("q:{1}", 3.0, 3.5) is None and outages.by_node == {}
