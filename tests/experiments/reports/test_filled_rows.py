"""No row of two cards is half empty, and a picture stands beside narrow tables."""

import pytest

from keybed.experiments.reports.page import Section, Table, beside, filled, rows


def cards(kinds: str) -> list[Section]:
    return [Section(str(i), "", wide=kind == "w") for i, kind in enumerate(kinds)]


@pytest.mark.parametrize(
    ("wide", "expected", "grouped"),
    [
        ("nn", "nn", "nn"),
        ("n", "w", "w"),
        ("nnn", "nnw", "nn w"),
        ("nwn", "www", "w w w"),
        ("nnw", "nnw", "nn w"),
        ("nnnn", "nnnn", "nnnn"),
        ("wnnwnnn", "wnnwnnw", "w nn w nn w"),
        ("", "", ""),
    ],
)
def test_a_card_alone_in_a_row_takes_all_of_it(wide, expected, grouped):
    shown = filled(cards(wide))
    assert [card.title for card in shown] == [str(i) for i in range(len(wide))]
    assert "".join("w" if card.wide else "n" for card in shown) == expected
    assert " ".join("".join("w" if c.wide else "n" for c in group) for group in rows(cards(wide))) == grouped


@pytest.mark.parametrize(
    ("wide", "pictures", "columns", "expected"),
    [
        (True, 1, [3], True),
        (True, 1, [3, 5], False),
        (True, 2, [3], False),
        (True, 1, [], False),
        (False, 1, [3], False),
    ],
)
def test_one_picture_stands_beside_narrow_tables(wide, pictures, columns, expected):
    tables = [Table(["head"] * n, []) for n in columns]
    assert beside(Section("a", "b", pictures=["<svg/>"] * pictures, tables=tables, wide=wide)) is expected
