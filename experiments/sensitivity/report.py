"""The report of `keybed sensitivity`: heat maps of r and of movement, axes across, encoder · state · pooling down."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keybed.experiments.evaluation.decimals import number
from keybed.experiments.reports.heat_map import heat_map
from keybed.experiments.reports.page import Banner, Page, Section, Table, write_page
from keybed.experiments.sensitivity.probes import ProbeResult
from keybed.experiments.sensitivity.results import SensitivityResults
from keybed.store.counted import counted
from keybed.store.format.vocabulary import AXES

SHOWN_R = 0.3
"""From this r on the report says that a feature shows the mistake."""
FEW_SEGMENTS = 50
"""With fewer, the best r is high by chance: for wrong notes of real performances 12 segments gave 0.34, 100 gave 0.28."""
_PROBE_PLAIN = "Which kind of fault in the playing can be heard, and how exactly its size, by each way of listening."
_MOVEMENT_PLAIN = "How much each kind of fault changes what the computer hears."
_NUMBERS_PLAIN = "How exactly each fault in the playing is heard, in numbers."
_PROBE_WORDS = "r between the level that a ridge regression predicts on held-out pieces and the realised level."
_MOVEMENT_WORDS = (
    "Movement at the poor tier’s level, in units of the distance between two segments. A feature may move far and still "
    "not tell the mistake from other changes."
)


def write_report(results: SensitivityResults, path: Path) -> Path:
    """Write self-contained HTML: findings, the two heat maps, then every number."""
    cells = results.cells
    best = {
        axis: max((c for c in cells if c.axis == axis), key=lambda c: c.r if c.r is not None else -1.0) for axis in AXES
    }
    shown = [axis for axis in AXES if (best[axis].r or 0.0) >= SHOWN_R]
    not_shown = [axis for axis in AXES if axis not in shown]
    random = [encoder.name for encoder in results.encoders if encoder.random_weights]
    banners = []
    if random:
        banners.append(
            Banner(
                f"{', '.join(random)} ran with seeded random weights, not with a trained encoder.",
                "Random weights.",
                True,
            )
        )
    if results.n_segments < FEW_SEGMENTS:
        banners.append(
            Banner(
                f"With {counted(results.n_segments, 'segment')} the best of many cells can reach this r by chance; run again with "
                f"--segments {FEW_SEGMENTS} or more before you plan a large store.",
                "Few segments.",
                True,
            )
        )
    banners.append(
        Banner(
            "In rendered audio pedalling is on or off, and tone_quality means the cleanliness of the recording, not touch.",
            "Limits of rendered audio.",
        )
    )
    names = list(dict.fromkeys((c.encoder, c.state, c.pooling) for c in cells))
    labels = [f"{encoder} · state {state} · {pooling}" for encoder, state, pooling in names]

    def heat(heading: str, plain: str, words: str, key: str, title: str, high: float) -> Section:
        picture = heat_map(_matrix(cells, names, key), labels, list(AXES), title, low=0.0, high=high)
        return Section(heading, plain, text=[words], pictures=[picture], wide=True)

    page = Page(
        title="Keybed: which feature shows which mistake",
        verdict="GO" if not not_shown else "UNDEFINED",
        word=f"{len(shown)} of {len(AXES)} mistakes are shown",
        lead=[
            f"{counted(results.n_segments, 'train segment')} of {counted(results.n_pieces, 'piece')}, each untouched and with one axis (kind of "
            f"degradation) at three levels, every other axis at zero. A state is an encoder layer."
        ],
        below=[
            f"Shown (r ≥ {SHOWN_R} with a linear probe): "
            + (
                ", ".join(
                    f"{a} by {best[a].encoder}, state {best[a].state}, {best[a].pooling} (r {number(best[a].r, 2)})"
                    for a in shown
                )
                or "none"
            ),
            "Shown by no feature: " + (", ".join(f"{a} (best r {number(best[a].r, 2)})" for a in not_shown) or "–"),
        ],
        advice=None,
        banners=banners,
        sections=[
            heat("Linear probe", _PROBE_PLAIN, _PROBE_WORDS, "r", "r with the level", 1.0),
            heat("Movement of features", _MOVEMENT_PLAIN, _MOVEMENT_WORDS, "movement", "movement", 0.5),
            Section("Every number", _NUMBERS_PLAIN, tables=[_table(cells, results.level_scores)], wide=True),
        ],
        footer=[f"store {results.store_fingerprint[:12]}, {results.seconds:.0f} s"],
    )
    return write_page(page, path)


def _matrix(cells: Sequence[ProbeResult], names: Sequence[tuple[str, str, str]], key: str) -> np.ndarray:
    matrix = np.full((len(names), len(AXES)), np.nan)
    for cell in cells:
        value = getattr(cell, key)
        if value is not None:
            matrix[names.index((cell.encoder, cell.state, cell.pooling)), AXES.index(cell.axis)] = value
    return matrix


def _table(cells: Sequence[ProbeResult], scores: Sequence[float]) -> Table:
    head = ["encoder", "state", "pooling", "axis", "segments", "r"]
    head += [f"AUC at {score:g}" for score in scores] + [f"movement at {score:g}" for score in scores]
    rows = [
        [c.encoder, c.state, c.pooling, c.axis, str(c.n_segments), number(c.r, 2)]
        + [number(a, 2) for a in c.auc_by_level]
        + [number(m, 3) for m in c.movement_by_level]
        for c in cells
    ]
    return Table(head, rows, caption="every cell", numeric=tuple(range(4, len(head))), fold=True)
