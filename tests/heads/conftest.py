"""Strict JAX, and a small world whose answer is known: scores are linear in audio and in MIDI, half and half."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import jax
import numpy as np
import pytest

from keybed.heads.data import ArrayData
from keybed.heads.fitted import FitResult
from keybed.heads.inputs import HeadInput, from_arrays
from keybed.heads.models import HeadConfig
from keybed.heads.train import fit
from tests.heads.small_heads import CONFIG, SMALL

N_BINS, AUDIO, MIDI, STATES, K = 5, 12, 9, 3, 8


@pytest.fixture(autouse=True, scope="module")
def strict_jax() -> Iterator[None]:
    # a GPU's own default rounds the factors of float32 products
    precise = jax.default_matmul_precision("highest")
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"), precise:
        yield


def world(n_segments: int, seed: int, *, shuffled: bool = False) -> HeadInput:
    """4 variants a segment; score = 75 + 8·(a + m)/√2 with a read from audio alone, m from MIDI alone, unit variance."""
    n = 4 * n_segments
    rng = np.random.default_rng(seed)
    directions = np.random.default_rng(99)
    to_audio, to_midi = directions.normal(size=(AUDIO, K)), directions.normal(size=(MIDI, K))
    a, m = rng.normal(size=(n, AUDIO)), rng.normal(size=(n, MIDI))
    signal = a @ to_audio / np.linalg.norm(to_audio, axis=0) + m @ to_midi / np.linalg.norm(to_midi, axis=0)
    mask = rng.random((n, N_BINS)) > 0.2
    mask[:, 0] = True
    if shuffled:
        m = m[rng.permutation(n)]
    audio = a[:, None] + 0.1 * rng.normal(size=(n, N_BINS, AUDIO))
    midi = np.where(mask[:, :, None], m[:, None] + 0.1 * rng.normal(size=(n, N_BINS, MIDI)), 0)
    valid = rng.random((n, K)) > 0.1
    score = np.where(valid, 75 + 8 * signal / np.sqrt(2), np.nan)
    return from_arrays(
        audio_frames=(3 + 2 * audio).astype(np.float16),
        midi_frames=midi.astype(np.float16),
        midi_mask=mask,
        audio_layers=rng.normal(size=(n, 2, STATES, 7)).astype(np.float16),
        midi_layers=rng.normal(size=(n, 2, STATES, 6)).astype(np.float16),
        score=score,
        valid=valid,
        segment=np.arange(n) // 4,
        row=np.arange(n),
        weight=rng.uniform(0.5, 1.5, n),
        recording=np.arange(n) // 16,
        start_s=6.2 * (np.arange(n) // 4 % 4),
    )


@pytest.fixture(scope="session")
def make_world() -> Callable[..., HeadInput]:
    return world


@pytest.fixture(scope="session")
def small_data() -> ArrayData:
    return ArrayData(world(60, 1), world(25, 2), batch_rows=32)


@pytest.fixture(scope="session")
def _fits() -> dict[str, FitResult]:
    return {}


@pytest.fixture(scope="module")
def result(strict_jax: None, small_data: ArrayData, _fits: dict[str, FitResult]) -> FitResult:
    """The three heads, trained once per process. Of each module, because strict JAX is: a fit outside it is another program."""
    if "small" not in _fits:
        _fits["small"] = fit(SMALL, small_data, CONFIG, store="a1")
    return _fits["small"]


@pytest.fixture(scope="session")
def shuffled_data() -> ArrayData:
    """MIDI of other rows."""
    return ArrayData(world(60, 1, shuffled=True), world(25, 2, shuffled=True), batch_rows=32)


@pytest.fixture(scope="module")
def shuffled(strict_jax: None, shuffled_data: ArrayData, _fits: dict[str, FitResult]) -> FitResult:
    """All five kinds of heads, trained once per process on MIDI of other rows; `cross` gets layers, too."""
    two = {"cross": HeadConfig("cross", 16, 2, dropout=0.02, inputs="both"), "gated": HeadConfig("gated", 16, 2)}
    if "shuffled" not in _fits:
        three, others = fit(SMALL, shuffled_data, CONFIG), fit(two, shuffled_data, CONFIG)
        _fits["shuffled"] = replace(
            three, heads={**three.heads, **others.heads}, params={**three.params, **others.params}
        )
    return _fits["shuffled"]
