"""The cards on pianos: r on each soundfont of a store, and what heads keep on one that no training row has."""

from __future__ import annotations

from collections.abc import Sequence

from keybed.experiments.evaluation.each_piano import FEWEST_PIECES, OnPiano
from keybed.experiments.evaluation.unseen_piano import UnseenPiano
from keybed.experiments.reports.figure import label
from keybed.experiments.reports.page import Cell, Section, Table, with_interval
from keybed.store.counted import counted


def each_piano(pianos: Sequence[OnPiano], measure: str) -> Section | None:
    """None where the store has one soundfont, or recorded audio. measure: what the r are, such as "specific r"."""
    if not pianos:
        return None
    names = next((list(p.models) for p in pianos if p.models), [])
    rows: list[list[Cell]] = [
        [
            f"{p.soundfont}{' (unseen)' if p.held_out else ''}",
            f"{p.rows:,}",
            f"{p.pieces:,}",
            *[with_interval(p.models[name], 2) if name in p.models else "–" for name in names],
        ]
        for p in pianos
    ]
    text = [f"Mean {measure} on the test rows that each soundfont plays, with its 95 % interval over pieces and seeds."]
    if any(p.held_out for p in pianos):
        text.append("No training row has the unseen one.")
    few = [p.soundfont for p in pianos if not p.models]
    if few:
        text.append(
            f"{' and '.join(few)}: r is not given, since its test rows are of fewer than {FEWEST_PIECES} pieces."
        )
    plain = "Whether playing is judged as well on one piano as on another."
    head = ["soundfont", "rows", "pieces", *[label(name) for name in names]]
    table = Table(head, rows, numeric=tuple(range(1, len(head))))
    return Section("Each piano", plain, text, tables=[table], wide=True)


def unseen_piano(unseen: UnseenPiano | None, measure: str = "specific r") -> Section | None:
    """None where the store holds no soundfont out. measure: what the r are."""
    if unseen is None:
        return None
    rows: list[list[Cell]] = [
        [label(name), with_interval(on.seen), with_interval(on.unseen), with_interval(on.fall)]
        for name, on in unseen.models.items()
    ]
    text = [
        f"No training row is rendered with {unseen.held_out}. Mean {measure} on the test rows of "
        f"{counted(unseen.pieces, 'piece')} that have both: {counted(unseen.unseen_rows, 'row')} with it, "
        f"{counted(unseen.seen_rows, 'row')} with {', '.join(unseen.trained_on)}. The fall is paired over pieces. Validation rows "
        "have it too, so the best epoch and the specialists have met it.",
    ]
    plain = "Whether playing is judged as well on a piano that the model never heard before."
    head = ["model", "seen pianos", "unseen piano", "fall"]
    return Section("An unseen piano", plain, text, tables=[Table(head, rows, numeric=(1, 2, 3))], wide=True)
