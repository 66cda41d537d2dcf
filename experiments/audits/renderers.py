"""What the note bank changes: the same rows summed from it and played by FluidSynth, through a store's encoders and a ridge.

    python -m keybed.experiments.audits.renderers STORE --rows 1600     a planned store with a note bank; it may be empty; 4 min

For each audio encoder of the store: the difference of its features between the renderers, relative to their spread over rows;
and specific r (partial correlation given the other six scores, rows that are not pristine) of a ridge on the row's pooled
features, fitted and tested out of fold by piece with either renderer. The interval of the difference is a bootstrap over pieces.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from keybed import store as stores
from keybed.extract.encoders.base import Clip, Encoder
from keybed.extract.run.check_recipe import check_same_code, planned_encoders, render_config
from keybed.extract.run.row_maker import Instrument, RowMaker, segment_jobs
from keybed.heads.metrics import mean_defined, specific_r
from keybed.store.counted import counted
from keybed.store.errors import KeybedError
from keybed.store.format.vocabulary import AXES, TIERS, Status

RENDERERS = ("bank", "fluidsynth")
BOOTSTRAPS = 400


@dataclass(frozen=True)
class Config:
    """store: planned with a note bank. rows: about this many, whole segments spread over the store."""

    store: Path
    rows: int = 1600
    folds: int = 5
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Rows:
    """features[renderer][encoder]: float32 (n, D). score, valid: (n, 8). piece, tier: (n,). audio_error: (n,), relative rms."""

    features: dict[str, dict[str, NDArray[np.float32]]]
    score: NDArray[np.float64]
    valid: NDArray[np.bool_]
    piece: NDArray[np.int64]
    tier: NDArray[np.int64]
    audio_error: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Of one encoder. feature_error: rms difference over the spread. r: renderer of fitting and of testing → specific r by axis."""

    feature_error: float
    r: dict[tuple[str, str], list[float | None]]
    difference: tuple[float, float, float]
    """Mean specific r of the bank minus FluidSynth's, and its 95 % interval."""


def made_rows(config: Config) -> Rows:
    """Render the rows both ways and encode them."""
    store = stores.open(config.store)
    check_same_code(store.recipe)
    rendering = render_config(store, store.machine_paths)
    if rendering.bank is None:
        raise KeybedError(f"{config.store} was not planned with a note bank, so there is one renderer only")
    columns = store.columns(0, store.n_rows)
    piece_of = dict(zip(columns["recording"].tolist(), columns["piece"].tolist(), strict=True))
    jobs = segment_jobs(columns)
    n = min(max(config.rows // len(TIERS), 1), len(jobs))
    played = replace(rendering, instruments=tuple(Instrument(i.soundfont) for i in rendering.instruments))
    makers = {"bank": RowMaker(rendering), "fluidsynth": RowMaker(played)}
    encoders = [e for e in planned_encoders(store.recipe, store.machine_paths) if e.spec.modality == "audio"]
    features: dict[str, dict[str, list[NDArray]]] = {r: {e.spec.name: [] for e in encoders} for r in RENDERERS}
    score, valid, piece, tier, error = [], [], [], [], []
    for i in range(n):
        job = jobs[i * len(jobs) // n]
        made = {name: maker.make(job) for name, maker in makers.items()}
        if any(row.status != Status.OK for rows in made.values() for row in rows):
            continue
        for name, rows in made.items():
            clips = [Clip(row.audio, row.variant.performance, rendering.window_s) for row in rows]
            for encoder in encoders:
                features[name][encoder.spec.name].append(_pooled(encoder, clips))
        for summed, played in zip(*made.values(), strict=True):
            score.append(summed.variant.score)
            valid.append(summed.variant.valid)
            piece.append(piece_of[job.recording])
            tier.append(summed.variant.tier)
            error.append(np.linalg.norm(summed.audio - played.audio) / np.linalg.norm(played.audio))
    if not score:
        raise KeybedError(f"{config.store}: no row of the chosen segments can be made")
    return Rows(
        {r: {e: np.concatenate(parts) for e, parts in by.items()} for r, by in features.items()},
        *(np.array(score, np.float64), np.array(valid), np.array(piece), np.array(tier), np.array(error)),
    )


def _pooled(encoder: Encoder, clips: Sequence[Clip]) -> NDArray[np.float32]:
    """Mean and sd of every state over time, and the mean over bins of the frames' statistics: (rows, D)."""
    made = encoder.encode(clips)
    n = len(clips)
    return np.concatenate([made.layers.reshape(n, -1), made.frames.mean(1).reshape(n, -1)], axis=1)


def compared(rows: Rows, encoder: str, config: Config) -> Comparison:
    """The two renderers through one encoder."""
    x = {name: by[encoder] for name, by in rows.features.items()}
    spread = x["fluidsynth"].std(0)
    changed = ((x["bank"] - x["fluidsynth"])[:, spread > 0] / spread[spread > 0]) ** 2
    predicted = {
        (fit, test): _out_of_fold(x[fit], x[test], rows, config.folds) for fit in RENDERERS for test in RENDERERS
    }
    worse = rows.tier > 0

    def mean_r(way: tuple[str, str], chosen: NDArray[np.intp]) -> float:
        value = mean_defined(specific_r(predicted[way][chosen], rows.score[chosen], rows.valid[chosen])[: len(AXES)])
        return np.nan if value is None else value

    kept = np.flatnonzero(worse)
    rng = np.random.default_rng(config.seed)
    by_piece = [kept[rows.piece[kept] == piece] for piece in np.unique(rows.piece[kept])]
    differences = []
    for _ in range(BOOTSTRAPS):
        drawn = np.concatenate([by_piece[i] for i in rng.integers(len(by_piece), size=len(by_piece))])
        differences.append(mean_r(("bank", "bank"), drawn) - mean_r(("fluidsynth", "fluidsynth"), drawn))
    low, high = np.nanquantile(differences, [0.025, 0.975])
    observed = mean_r(("bank", "bank"), kept) - mean_r(("fluidsynth", "fluidsynth"), kept)
    r = {way: specific_r(predicted[way][kept], rows.score[kept], rows.valid[kept])[: len(AXES)] for way in predicted}
    return Comparison(float(np.sqrt(changed.mean())), r, (observed, float(low), float(high)))


def _out_of_fold(fit: NDArray, test: NDArray, rows: Rows, folds: int) -> NDArray[np.float64]:
    """Predictions (n, 8) for the rows of one renderer by ridges fitted on other pieces with the other or the same renderer."""
    predicted = np.zeros(rows.score.shape)
    for train, held in GroupKFold(folds).split(fit, groups=rows.piece):
        for k in range(len(AXES)):
            chosen = train[rows.valid[train, k]]
            model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(0, 5, 11))).fit(
                fit[chosen], rows.score[chosen, k]
            )
            predicted[held, k] = model.predict(test[held])
    return predicted


def main() -> None:
    """Print the comparison of each encoder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--rows", type=int, default=1600)
    given = parser.parse_args()
    config = Config(given.store, given.rows)
    rows = made_rows(config)
    off = 20 * np.log10(rows.audio_error)
    pieces = np.unique(rows.piece).size
    print(
        f"{counted(len(off), 'row')} of {counted(pieces, 'piece')}; waveform off by {off.mean():.1f} dB (mean), "
        f"{off.max():.1f} dB (worst)"
    )
    for encoder in rows.features["bank"]:
        if pieces < config.folds:
            print(f"{encoder}: fewer than {counted(config.folds, 'piece')}, no ridge")
            continue
        comparison = compared(rows, encoder, config)
        print(f"{encoder}: features differ by {comparison.feature_error:.2%} of their spread over rows")
        print(f"  {'fitted on, tested on':24s}" + "".join(f"{axis:>14s}" for axis in AXES))
        for (fit, test), r in comparison.r.items():
            cells = "".join("     undefined" if value is None else f"{value:14.3f}" for value in r)
            print(f"  {f'{fit}, {test}':24s}{cells}")
        print("  mean specific r, bank minus FluidSynth: {:+.4f} ({:+.4f} to {:+.4f})".format(*comparison.difference))


if __name__ == "__main__":
    main()
