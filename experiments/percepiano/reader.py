"""PercePiano as published: performances of passages as MIDI, and 19 ratings of each, mean and sd over raters.

Names are `{composition}_{n}bars_{player}_{segment}`, sometimes with a stray space. Files without a counterpart are left out
and reported; they are no error. Park, Kim et al., Scientific Reports 14 (2024).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.percepiano.works import joined
from keybed.extract.corpus.percepiano import SCALES, composition_of, parts_of
from keybed.extract.music.midi import MidiError, read_midi
from keybed.extract.music.performance import Performance
from keybed.store.errors import KeybedError

RATERS_A_SEGMENT = 12
"""Approximate: the publication gives no count per segment."""


class NotPercePiano(KeybedError):
    """The folder holds no labels or no performances that belong together."""


@dataclass(frozen=True, eq=False)
class Ratings:
    """n rated performances. rating, sd: (n, 19) in 0..1; passage and player: who played what; human: false for a
    score rendering. composition: a theme and its variations are one (`works`). problems: what was left out or joined, in
    words.
    """

    names: tuple[str, ...]
    performances: tuple[Performance, ...]
    rating: NDArray[np.float64]
    sd: NDArray[np.float64]
    composition: NDArray[np.str_]
    passage: NDArray[np.str_]
    player: NDArray[np.str_]
    human: NDArray[np.bool_]
    problems: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.names)


def read(folder: Path) -> Ratings:
    """Read FOLDER/labels/…_mean_….json, …_std_….json and FOLDER/midi. Raises NotPercePiano where nothing is left."""
    problems: list[str] = []
    means = _labels(folder, "mean")
    spreads = _labels(folder, "std")
    files: dict[str, Path] = {}
    for path in sorted((folder / "midi").rglob("*.mid*")):
        name = path.stem.strip()
        if name in files:
            problems.append(f"{path}: a second file of the name {name!r}")
        elif name != path.stem:
            problems.append(f"{path.name!r}: read without the space around its name")
        files.setdefault(name, path)
    problems += [f"{name}: MIDI without a label" for name in sorted(set(files) - set(means))]
    problems += [f"{name}: label without MIDI" for name in sorted(set(means) - set(files))]

    rated: dict[str, tuple[Performance, Mapping[str, str]]] = {}
    for name in sorted(set(means) & set(files)):
        parts = parts_of(name)
        reason = _problem(means[name], spreads.get(name)) if parts else "name is not composition_player_segment"
        if parts is None or reason:
            problems.append(f"{name}: {reason}")
            continue
        try:
            rated[name] = (read_midi(files[name]), parts)
        except MidiError as error:
            problems.append(str(error))
    if not rated:
        raise NotPercePiano(f"{folder}: no performance with both MIDI and label; {'; '.join(problems[:3])}")
    name_parts = [parts for _, parts in rated.values()]
    for composition, of in joined(parts["composition"] for parts in name_parts).items():
        problems.append(f"one composition, {composition}: {', '.join(of)}")
    players = [p["player"] for p in name_parts]
    n = len(SCALES)
    return Ratings(
        names=tuple(rated),
        performances=tuple(performance for performance, _ in rated.values()),
        rating=np.array([means[name][:n] for name in rated], np.float64),
        sd=np.array([spreads[name][:n] if name in spreads else [np.nan] * n for name in rated], np.float64),
        composition=np.array([composition_of(p["composition"]) for p in name_parts]),
        passage=np.array([f"{p['composition']}|{p.get('length', '')}|{p['segment']}" for p in name_parts]),
        player=np.array(players),
        human=np.array([not p.lower().startswith("score") for p in players]),
        problems=tuple(problems),
    )


def _labels(folder: Path, kind: str) -> dict[str, list[Any]]:
    paths = [p for p in sorted((folder / "labels").glob("*.json")) if kind in p.stem.split("_")]
    if not paths:
        raise NotPercePiano(
            f"{folder / 'labels'}: no file named …_{kind}_….json; give the folder that holds labels/ and midi/"
        )
    data = json.loads(paths[0].read_text(encoding="utf-8"))
    return {name.strip(): values for name, values in data.items()}


def _problem(mean: Any, sd: Any) -> str:
    """Empty where both are lists of at least 19 numbers (a further one is a performer index) in range, or sd is absent."""
    for what, values in (("mean", mean), ("sd", sd)):
        if values is None:
            continue
        if not isinstance(values, list) or len(values) < len(SCALES):
            return f"{what} has fewer than {len(SCALES)} numbers"
        first = np.array(values[: len(SCALES)], np.float64)
        if not np.isfinite(first).all() or first.min() < 0 or first.max() > 1:
            return f"{what} outside 0..1"
    return ""
