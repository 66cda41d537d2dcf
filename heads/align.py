"""Projections of audio and MIDI into one space: the configuration, the fit, and what fitted projections give.

A projection works bin by bin, so aligned frames can replace the encoders' frames in every head. The embedding of a row is
the mean over its valid bins, at length 1, unless a term of the objective says otherwise (`keybed.heads.alignment`). A batch
holds whole segments with all their variants (128 rows = 32 × 4).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from numpy.typing import NDArray

from keybed.heads import checkpoint
from keybed.heads.alignment.objective import NAME, Contrastive, Projection, Side, both_sides, mismatch_logits
from keybed.heads.alignment.terms import Terms
from keybed.heads.data import Data
from keybed.heads.errors import BadInput
from keybed.heads.fit_config import FitConfig
from keybed.heads.inputs import MODALITIES, HeadInput, pad_rows
from keybed.heads.normalisation import Normalisation
from keybed.heads.progress import Listener
from keybed.heads.train_loop import train

__all__ = [
    "NAME",
    "AlignConfig",
    "AlignResult",
    "Projection",
    "Side",
    "Terms",
    "aligned",
    "check",
    "fit_projection",
    "mismatch",
    "project",
    "sides",
]

Tree = Any


@dataclass(frozen=True)
class AlignConfig:
    """How to align. `fit` configures the training loop; its `losses` are not used."""

    loss: Literal["infonce", "siglip"] = "infonce"
    hidden: int = 256
    width: int = 128
    temperature: float = 0.07
    """Initial temperature of InfoNCE. SigLIP starts at 0.1 with bias −10, its authors' values."""
    window_s: float = 10.0
    """Windows of one recording that start closer than this many seconds overlap and are not negatives of each other."""
    fit: FitConfig = field(default_factory=lambda: FitConfig(epochs=12, batch_rows=128, seeds=(0,)))
    terms: Terms = field(default_factory=Terms)
    """The optional terms, all off by default."""

    def __post_init__(self) -> None:
        if self.loss not in ("infonce", "siglip"):
            raise BadInput(f"loss={self.loss!r}; choose infonce or siglip")
        if self.hidden < 1 or self.width < 1:
            raise BadInput(f"hidden={self.hidden}, width={self.width}: at least 1")
        if not 0 < self.temperature < float("inf"):
            raise BadInput(f"temperature={self.temperature:g}: a number above 0")
        if self.terms.hard_negatives and self.loss != "infonce":
            raise BadInput("hard_negatives weigh InfoNCE's negatives; loss='siglip' has no such sum")

    @property
    def objective(self) -> Contrastive:
        """What is trained: everything here but `fit`."""
        return Contrastive(self.loss, self.hidden, self.width, self.temperature, self.window_s, self.terms)

    def to_json(self) -> dict[str, Any]:
        """Every setting that changes the numbers, as plain JSON."""
        return {**self.objective.to_json(), "fit": self.fit.to_json()}


@dataclass(frozen=True)
class AlignResult:
    """Fitted projections. params: tree of float32 arrays, leading axis S. best_epoch: [S]."""

    config: AlignConfig
    params: Tree
    normalisation: Normalisation
    history: list[dict[str, Any]]
    best_epoch: list[int]
    store: str

    def __repr__(self) -> str:
        seeds = ", ".join(map(str, self.config.fit.seeds))
        return (
            f"<AlignResult: {self.config.loss}, width {self.config.width}; seeds {seeds}; epochs {len(self.history)}>"
        )

    def temperature(self, seed_index: int = 0) -> float:
        """The learned temperature."""
        return float(np.exp(self.params["log_temperature"][seed_index]))


def fit_projection(
    data: Data,
    config: AlignConfig,
    *,
    store: str = "",
    normalisation: Normalisation | None = None,
    progress: Listener | None = None,
) -> AlignResult:
    """Train the projections. Batches must hold a segment's variants together and carry recording_B and start_s_B.

    Raises BadInput, NotFinite and CheckpointMismatch.
    """
    sample = next(iter(data.train(0)))
    needed = ["audio_BxTxC", "midi_BxTxC", "recording_B", "start_s_B"]
    if config.terms.blockwise:
        needed += ["audio_layers_BxSxC", "midi_layers_BxSxC"]
    missing = [n for n in needed if getattr(sample, n) is None]
    if missing:
        raise BadInput(f"alignment needs {', '.join(missing)}, which the data does not give")
    if config.terms.mismatch:
        segment = np.asarray(sample.segment_B)[np.asarray(sample.row_B) >= 0]
        if len(np.unique(segment)) == len(segment):
            raise BadInput(
                "mismatch detection exchanges notes between variants of a segment, and no batch has two of one: "
                "train without it, or on a store with several variants per segment"
            )
    trained = train(config.objective, data, config.fit, store=store, normalisation=normalisation, progress=progress)
    return AlignResult(
        config, trained.params[NAME], trained.normalisation, trained.history, trained.best_epoch[NAME], store
    )


def check(path: Path, result: AlignResult) -> None:
    """Raise CheckpointMismatch where the projections read from `path` have other parameters than this version's."""
    model = result.config.objective
    checkpoint.check_parameters(
        path, lambda rows: model.init(jax.random.key(0), rows)[NAME], result.params, result.normalisation
    )


def sides(
    result: AlignResult, batches: Iterable[HeadInput], *, seed_index: int = 0
) -> Iterator[tuple[HeadInput, dict[str, Side]]]:
    """Each batch, and its modalities in the shared space as NumPy arrays."""
    params = _one_seed(result, seed_index)
    for batch in batches:
        padded = pad_rows(batch, max(batch.n_rows, result.config.fit.batch_rows))
        out = both_sides(result.config.objective, params, padded, result.normalisation)
        yield batch, jax.tree.map(lambda a, n=batch.n_rows: np.asarray(a)[:n], out)


def project(
    result: AlignResult, batches: Iterable[HeadInput], *, seed_index: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Embeddings (row, D) of audio and of MIDI at length 1, float32, rows in the order of the batches."""
    parts = [[out[m].clip_BxD for m in MODALITIES] for _, out in sides(result, batches, seed_index=seed_index)]
    audio, midi = (np.concatenate([part[i] for part in parts]) for i in range(2))
    return audio, midi


def aligned(result: AlignResult, batches: Iterable[HeadInput], *, seed_index: int = 0) -> Iterator[HeadInput]:
    """The same batches with aligned frames in place of the encoders' frames, float32: (B, T, D), or tokens (B, N, 2·D)."""
    terms = replace(result.config.terms, blockwise=0.0)  # embeds the states, of which aligned frames hold nothing
    without_states = replace(result, config=replace(result.config, terms=terms))
    for batch, out in sides(without_states, batches, seed_index=seed_index):
        frames = {f"{m}_BxTxC": out[m].read_BxNxF for m in MODALITIES}
        masks = {f"{m}_mask_BxT": out[m].read_mask_BxN for m in MODALITIES}
        yield batch._replace(**frames, **masks)


def mismatch(result: AlignResult, batches: Iterable[HeadInput], *, seed_index: int = 0) -> NDArray[np.float32]:
    """Logit of each row that its notes do not belong to its audio, (row,); needs `terms.mismatch`."""
    params, parts = _one_seed(result, seed_index), []
    for batch in batches:
        padded = pad_rows(batch, max(batch.n_rows, result.config.fit.batch_rows))
        logit = mismatch_logits(result.config.objective, params, padded, result.normalisation)
        parts.append(np.asarray(logit)[: batch.n_rows])
    return np.concatenate(parts)


def _one_seed(result: AlignResult, seed_index: int) -> Tree:
    return jax.tree.map(lambda a: a[seed_index], result.params)
