"""What a soak says of memory and open files, from what was noted after each of its periods."""

from __future__ import annotations

import pytest

from chaos.soak import FILES, GROWTH, LEAST, WARM, Empty, judgement

MB = 1_000_000


def test_a_soak_of_too_few_periods_tells_nothing_and_fails():
    """After the warm-up there must be enough to compare."""
    text, is_bad = judgement([Empty(2 * MB, 20)] * (WARM + LEAST - 1))
    assert is_bad and text == "Too short: 6 periods, and 7 are needed to compare anything"
    assert judgement([])[1]


def test_what_a_server_takes_while_it_warms_up_is_not_counted():
    """The first periods may take any memory."""
    noted = [Empty(9 * MB, 900)] * WARM + [Empty(2 * MB, 20)] * LEAST
    assert judgement(noted) == (
        "The empty server after 7 periods: grown by 0.00 MB and 0 files since warm",
        False,
    )


@pytest.mark.parametrize(
    ("grown", "is_bad"),
    [(Empty(GROWTH, FILES), False), (Empty(GROWTH + 1, 0), True), (Empty(0, FILES + 1), True)],
    ids=["within the bounds", "memory", "files"],
)
def test_memory_or_files_that_stay_fail_a_soak(grown: Empty, is_bad: bool):
    """The last quarter of the periods is compared with the first one."""
    begun = Empty(2 * MB, 20)
    ended = Empty(begun.memory + grown.memory, begun.files + grown.files)
    assert judgement([begun] * 10 + [ended] * 10)[1] == is_bad


def test_one_period_does_not_decide():
    """A client that is not gone yet when the server is looked at is no leak."""
    assert not judgement([Empty(2 * MB, 20)] * 15 + [Empty(9 * MB, 90)])[1]
