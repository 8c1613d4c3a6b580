"""When a server is told to be away, and when to be back: without a server or a clock."""

from taskslot.absences import Absences


def test_an_absence_is_news_once_and_so_is_its_end():
    """However many calls fail meanwhile; the span is from the first failure to the first answer."""
    absences = Absences()
    assert [absences.lost("a", "q", now) for now in (1.0, 1.1, 4.0)] == [True, False, False]
    assert absences.found("q", 4.5, 5.0) == 4.0
    assert absences.found("q", 5.0, 6.0) is None and absences.lost("a", "q", 7.0)


def test_an_answer_that_was_on_its_way_is_no_return():
    """It was asked for before the last failure."""
    absences = Absences()
    absences.lost("a", "q", 1.0)
    assert absences.found("q", 0.9, 1.1) is None and absences.found("q", 1.2, 1.3) is not None


def test_a_key_that_another_node_took_over_is_back():
    """The node that died stays away under its name, which nobody asks any more."""
    absences = Absences()
    assert absences.lost("a", "q:{1}", 1.0) and not absences.lost("a", "q:{2}", 1.0)
    assert not absences.lost("b", "q:{1}", 2.0), "its heir isn't there yet"
    assert absences.found("q:{3}", 3.0, 3.0) is None
    assert absences.found("q:{2}", 3.0, 3.5) == 2.5
    assert absences.found("q:{1}", 3.0, 3.5) is None and absences.away == {}
