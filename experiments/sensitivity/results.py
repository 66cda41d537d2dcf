"""RUN/results.json of `keybed sensitivity` as a dataclass; every key and value on disk is a field here."""

from __future__ import annotations

from dataclasses import dataclass

from keybed.experiments.sensitivity.config import SensitivityConfig
from keybed.experiments.sensitivity.probes import ProbeResult
from keybed.store.format.recipe import EncoderSpec


@dataclass(frozen=True)
class SensitivityResults:
    """level_scores: score of each of the three levels. n_left_out: segments without notes or silent.

    cells: a probe of every axis, encoder, state and pooling.
    """

    config: SensitivityConfig
    store_fingerprint: str
    encoders: tuple[EncoderSpec, ...]
    n_segments: int
    n_pieces: int
    n_left_out: int
    level_scores: tuple[float, ...]
    cells: tuple[ProbeResult, ...]
    seconds: float
