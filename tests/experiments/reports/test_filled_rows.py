"""No row of two cards is half empty."""

import pytest

from keybed.experiments.reports.page import Section, filled


@pytest.mark.parametrize(
    ("wide", "expected"),
    [
        ("nn", "nn"),
        ("n", "w"),
        ("nnn", "nnw"),
        ("nwn", "www"),
        ("nnw", "nnw"),
        ("wnnwnnn", "wnnwnnw"),
        ("", ""),
    ],
)
def test_a_card_alone_in_a_row_takes_all_of_it(wide, expected):
    cards = filled([Section(str(i), wide=kind == "w") for i, kind in enumerate(wide)])
    assert [card.title for card in cards] == [str(i) for i in range(len(wide))]
    assert "".join("w" if card.wide else "n" for card in cards) == expected
