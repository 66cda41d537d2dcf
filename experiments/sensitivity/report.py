"""The picture of `keybed sensitivity`: axes across, encoder · state · pooling down, one heat map for r and one for movement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keybed.experiments.reports.heat_map import heat_map
from keybed.experiments.reports.page import Banner, Page, Section, Table, number, write_page
from keybed.experiments.sensitivity.probes import ProbeResult
from keybed.store.format.vocabulary import AXES

HEARD = 0.3
"""An r from which on this report calls a mistake seen."""
FEW_SEGMENTS = 50
"""Below, luck looks like seeing: for wrong notes of real performances 12 segments gave r 0.34 where 100 gave 0.28."""


def write_report(cells: Sequence[ProbeResult], results: Mapping[str, Any], path: Path) -> Path:
    """Self-contained HTML: findings first, then the two heat maps, then every number."""
    best = {
        axis: max((c for c in cells if c.axis == axis), key=lambda c: c.r if c.r is not None else -1.0) for axis in AXES
    }
    seen = [axis for axis in AXES if (best[axis].r or 0.0) >= HEARD]
    unseen = [axis for axis in AXES if axis not in seen]
    random = [e["name"] for e in results["encoders"] if e["source"] == "random"]
    banners = []
    if random:
        banners.append(
            Banner(
                f"{', '.join(random)} ran with seeded random weights: not music’s features.", "Random weights.", True
            )
        )
    if results["n_segments"] < FEW_SEGMENTS:
        banners.append(
            Banner(
                f"From {results['n_segments']} segments the best of many cells can pass for seen by luck; ask again with "
                f"--segments {FEW_SEGMENTS} or more before a store is decided on.",
                "Few segments.",
                True,
            )
        )
    banners.append(
        Banner(
            "In rendered audio pedalling is on or off, and tone_quality means the cleanliness of the recording, not touch.",
            "What the ear can know.",
        )
    )
    names = list(dict.fromkeys((c.encoder, c.state, c.pooling) for c in cells))
    labels = [f"{encoder} · state {state} · {pooling}" for encoder, state, pooling in names]
    page = Page(
        title="Keybed: which feature sees which mistake",
        verdict="GO" if not unseen else "UNDEFINED",
        word=f"{len(seen)} of {len(AXES)} mistakes are seen",
        lead=[
            f"{results['n_segments']} train segments of {results['n_pieces']} pieces, each untouched and with one axis degraded at "
            f"three levels; every other axis at zero."
        ],
        below=[
            f"Seen (r ≥ {HEARD} with a linear probe): "
            + (
                ", ".join(
                    f"{a} by {best[a].encoder}, state {best[a].state}, {best[a].pooling} (r {number(best[a].r, 2)})"
                    for a in seen
                )
                or "none"
            ),
            "Seen by none: " + (", ".join(f"{a} (best r {number(best[a].r, 2)})" for a in unseen) or "–"),
        ],
        advice=None,
        banners=banners,
        sections=[
            Section(
                "What a linear probe tells",
                text=[
                    "r between the level that a ridge probe predicts for unseen pieces and the level that was realised."
                ],
                pictures=[
                    heat_map(_matrix(cells, names, "r"), labels, list(AXES), "r with the level", low=0.0, high=1.0)
                ],
                wide=True,
            ),
            Section(
                "How far features move",
                text=[
                    "Movement at the poor tier’s level, in units of the distance between two segments. Moving far is not yet being told apart."
                ],
                pictures=[
                    heat_map(_matrix(cells, names, "movement"), labels, list(AXES), "movement", low=0.0, high=0.5)
                ],
                wide=True,
            ),
            Section("Every number", tables=[_table(cells, results["level_scores"])], wide=True),
        ],
        footer=[f"store {results['store_fingerprint'][:12]}, {results['seconds']:.0f} s"],
    )
    return write_page(page, path)


def _matrix(cells: Sequence[ProbeResult], names: Sequence[tuple[str, str, str]], what: str) -> np.ndarray:
    matrix = np.full((len(names), len(AXES)), np.nan)
    for cell in cells:
        value = getattr(cell, what)
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
