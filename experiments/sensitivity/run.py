"""`keybed sensitivity`: which encoder, state and pooling shows which mistake. To be run before 450K rows are extracted.

    keybed sensitivity STORE --segments 100 --out RUN

Needs a planned store, not a filled one. Every axis is degraded alone, at three levels, on train segments, beside its
untouched twin; the store's encoders encode both; two numbers result for each axis, encoder, state (layer) and pooling:

- movement: root mean square change of the features over all degraded twins of a level, in units of the distance between
  two segments (features scaled by their spread between untouched segments, so two random segments are √2 apart; no
  feature counts for more than 3);
- a linear probe (ridge, penalty by inner folds, folds by piece): r of its prediction with the realised level over untouched and
  degraded rows, and the area under the ROC curve for degraded against untouched at each level.

A pooling on bins (cells of the time grid) is summarised by each channel's mean and standard deviation over the valid bins.
The probe then does not know when in the window a mistake falls; neither do the heads, which pool by attention. About 4 minutes for 100 segments and both baselines on 2 cores.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from keybed.experiments.data.rated_rows import refuse_ratings
from keybed.experiments.data.run_folder import write_json
from keybed.experiments.sensitivity.config import SensitivityConfig
from keybed.experiments.sensitivity.counterfactuals import (
    LEVEL_SCORES,
    RenderedTwin,
    choose_segments,
    family,
    render_families,
)
from keybed.experiments.sensitivity.probes import ProbeResult, probe
from keybed.experiments.sensitivity.report import write_report
from keybed.experiments.sensitivity.results import SensitivityResults
from keybed.extract.run.check_recipe import check_same_code, render_config
from keybed.store.command import command
from keybed.store.counted import counted
from keybed.store.errors import KeybedError
from keybed.store.format.recipe import EncoderSpec
from keybed.store.format.vocabulary import AXES
from keybed.store.read.opening import open_store
from keybed.store.read.store import Store

MEAN_BINS, MEAN_SD_BINS, FINE_BINS, WINDOW = "20 bins, mean", "20 bins, mean + sd", "50 bins, mean", "window, mean + sd"
_FAMILIES_AT_ONCE = 2


def run_sensitivity(config: SensitivityConfig, console: Console) -> Path:
    """Measure, write RUN/results.json and RUN/report.html, and return the report's path."""
    started = time.monotonic()
    store = open_store(config.store)
    refuse_ratings(store, "sensitivity")
    if store.recipe.audio["source"] != "rendered":
        raise KeybedError(
            f"{config.store} was planned with --audio {store.recipe.audio['source']}, where only the tone axis is audible; "
            "sensitivity renders each mistake by itself, so plan a small store with --audio rendered for it"
        )
    check_same_code(store.recipe)
    table = _FeatureTable()
    segments = choose_segments(store, config.segments, config.seed)
    _check_pieces(config, len({piece for _, piece, _ in segments}))
    families = [family(store, segment) for segment in segments]
    rendered = render_families(
        families,
        rendering=render_config(store, store.machine_paths),
        workers=config.workers,
    )
    views = [view for spec in store.recipe.encoders for view in _views(store, spec, config.states)]
    block: list[list[RenderedTwin]] = []
    n_left_out = 0
    for members in track(rendered, "segments, 22 twins each", total=len(families), console=console):
        if members is None:
            n_left_out += 1
            continue
        block.append(members)
        if len(block) == _FAMILIES_AT_ONCE:
            table.add(block, views)
            block = []
    if block:
        table.add(block, views)
    _check_pieces(config, table.n_pieces)  # segments without notes or sound are left out
    results = SensitivityResults(
        config=config,
        store_fingerprint=store.fingerprint,
        encoders=store.recipe.encoders,
        n_segments=table.n_segments,
        n_pieces=table.n_pieces,
        n_left_out=n_left_out,
        level_scores=LEVEL_SCORES,
        cells=tuple(track(table.cells(config.folds), "probes", total=table.n_cells, console=console)),
        seconds=time.monotonic() - started,
    )
    config.out.mkdir(parents=True, exist_ok=True)
    write_json(config.out / "results.json", results)
    report = write_report(results, config.out / "report.html")
    console.print(
        f"{counted(table.n_segments, 'segment')} of {counted(table.n_pieces, 'piece')}, 22 twins each, {results.seconds:.0f} s"
        + (f"; {counted(n_left_out, 'segment')} left out (no notes or silence)" if n_left_out else "")
    )
    console.print(f"report: {report}\nnext: {next_command(store)}")
    return report


def _check_pieces(config: SensitivityConfig, n_pieces: int) -> None:
    if n_pieces < config.folds:
        raise KeybedError(
            f"{config.store}: {counted(n_pieces, 'piece')} for {counted(config.folds, 'fold')} by piece; take more segments or "
            "fewer folds"
        )


def next_command(store: Store) -> str:
    """What to run after the report: fill the store, or use it where it is full."""
    if len(store.committed) < store.n_shards:
        return command("extract", store.path)
    return command("phase2", store.path, "--out", store.path.with_name(f"{store.path.name}-phase2"))


@dataclass(frozen=True)
class _View:
    """One run of an encoder, and the feature vectors taken from it."""

    encoder: Any
    spec: EncoderSpec
    reads: tuple[tuple[str, str], ...]
    """(state, pooling) of each feature vector."""

    def features(self, twins: list[RenderedTwin]) -> Iterator[tuple[tuple[str, str], np.ndarray]]:
        pooled = self.encoder.encode([twin.clip for twin in twins])
        for state, pooling in self.reads:
            if pooling == WINDOW:
                vectors = pooled.layers[:, :, int(state)].reshape(len(twins), -1)
            else:
                n_stats = 2 if pooling == MEAN_SD_BINS else 1
                vectors = _over_bins(pooled.frames[:, :, :n_stats], pooled.mask)
            yield (state, pooling), vectors


def _over_bins(frames_BxTxSxC: np.ndarray, mask_BxT: np.ndarray) -> np.ndarray:
    weight = mask_BxT[:, :, None, None].astype(np.float64)
    share = np.maximum(weight.sum(1), 1.0)
    mean = (frames_BxTxSxC * weight).sum(1) / share
    spread = np.sqrt((((frames_BxTxSxC - mean[:, None]) ** 2) * weight).sum(1) / share)
    return np.concatenate([mean, spread], axis=1).reshape(len(frames_BxTxSxC), -1)


def _views(store: Store, spec: EncoderSpec, states: tuple[int, ...]) -> Iterator[_View]:
    from keybed.extract import encoders

    checkpoint = store.machine_paths.get(f"weights/{spec.name}")
    kept = [state for state in states if state < spec.n_states]
    of_states: list[tuple[tuple[int, ...], str]] = [((state,), str(state)) for state in kept]
    of_states = of_states or [(spec.frame_states, _named(spec.frame_states))]
    has_sd = len(spec.frame_stats) > 1
    for k, (frame_states, name) in enumerate(of_states):
        reads = [(name, MEAN_BINS), *([(name, MEAN_SD_BINS)] if has_sd else [])]
        if k == 0:
            reads += [(str(state), WINDOW) for state in range(spec.n_states)]
        coarse = replace(spec, n_bins=20, frame_states=frame_states)
        yield _View(encoders.build(coarse, checkpoint), spec, tuple(reads))
        fine = replace(spec, n_bins=50, frame_states=frame_states)
        yield _View(encoders.build(fine, checkpoint), spec, ((name, FINE_BINS),))


def _named(states: tuple[int, ...]) -> str:
    return str(states[0]) if len(states) == 1 else f"{states[0]}–{states[-1]}"


class _FeatureTable:
    """Feature vectors of all twins, and the probes over them; clips are not kept."""

    def __init__(self) -> None:
        self._vectors: dict[tuple[str, str, str], list[np.ndarray]] = {}
        self._pieces: list[int] = []
        self._level: list[np.ndarray] = []
        self._valid: list[np.ndarray] = []

    @property
    def n_segments(self) -> int:
        return len(self._pieces)

    @property
    def n_pieces(self) -> int:
        return len(set(self._pieces))

    @property
    def n_cells(self) -> int:
        return len(self._vectors) * len(AXES)

    def add(self, block: list[list[RenderedTwin]], views: list[_View]) -> None:
        flat = [twin for members in block for twin in members]
        for members in block:
            self._pieces.append(members[0].of.piece)
            self._level.append(np.stack([twin.level for twin in members]))
            self._valid.append(members[0].valid)
        for view in views:
            for (state, pooling), vectors in view.features(flat):
                key = (view.spec.name, state, pooling)
                self._vectors.setdefault(key, []).append(vectors.reshape(len(block), -1, vectors.shape[-1]))

    def cells(self, folds: int) -> Iterator[ProbeResult]:
        piece, level_NxMxA, valid_NxD = np.array(self._pieces), np.stack(self._level), np.stack(self._valid)
        for (encoder, state, pooling), parts in self._vectors.items():
            vectors_NxMxF = np.concatenate(parts).astype(np.float64)
            for axis in range(len(AXES)):
                kept = valid_NxD[:, axis]
                members = [0, *range(1 + axis * len(LEVEL_SCORES), 1 + (axis + 1) * len(LEVEL_SCORES))]
                yield probe(
                    (encoder, state, pooling, AXES[axis]),
                    vectors_NxMxF[kept][:, members],
                    level_NxMxA[kept][:, members, axis],
                    piece[kept],
                    folds,
                )
