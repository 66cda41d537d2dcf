"""The card on an unseen piano: what heads keep on a soundfont that no training row has."""

from __future__ import annotations

from keybed.experiments.evaluation.unseen_piano import UnseenPiano
from keybed.experiments.reports.figure import label
from keybed.experiments.reports.page import Cell, Section, Table, with_interval
from keybed.store.counted import counted


def unseen_piano(unseen: UnseenPiano | None) -> Section | None:
    """None where the store holds no soundfont out."""
    if unseen is None:
        return None
    rows: list[list[Cell]] = [
        [label(name), with_interval(on.seen), with_interval(on.unseen), with_interval(on.fall)]
        for name, on in unseen.models.items()
    ]
    text = [
        f"No training row is rendered with {unseen.held_out}. Mean specific r on the test rows of "
        f"{counted(unseen.pieces, 'piece')} that have both: {counted(unseen.unseen_rows, 'row')} with it, "
        f"{counted(unseen.seen_rows, 'row')} with {', '.join(unseen.trained_on)}. The fall is paired over pieces. Validation rows "
        "have it too, so the best epoch and the specialists have met it.",
    ]
    plain = "Whether playing is judged as well on a piano that the model never heard before."
    head = ["model", "seen pianos", "unseen piano", "fall"]
    return Section("An unseen piano", plain, text, tables=[Table(head, rows, numeric=(1, 2, 3))], wide=True)
