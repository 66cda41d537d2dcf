"""Compare an encoder's features of one clip with the same in float64, once per process. Imports no torch.

A kernel of a library can be wrong on one kind of processor (grouped bfloat16 convolutions were, with AMX). float64 takes
another path than float32 and bfloat16 in every library: oneDNN has none, BLAS another product, a GPU is not used at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.encoders.base import Clip, Encoder, Pooled, SelfCheck
from keybed.extract.encoders.errors import WrongArithmetic
from keybed.extract.music.performance import Performance
from keybed.store.format.recipe import EncoderSpec

LIMIT = 0.03
"""Largest accepted relative error. bfloat16 is about 1 % off with trained weights, float32 a millionth."""

Reference = Callable[[Clip], Pooled]
_done: dict[str, SelfCheck] = {}
"""By fingerprint of the spec: each is checked once per process."""


def build_checked(spec: EncoderSpec, build: Callable[[], Encoder], reference: Reference) -> Encoder:
    """Build an encoder and compare its features of `example_clip` with the reference's.

    reference: a clip's features in float64, without the encoder's own fast paths. Raises WrongArithmetic above LIMIT.
    """
    if spec.fingerprint in _done:
        encoder = build()
    else:
        began = time.perf_counter()
        clip = _example_clip(spec.preprocessing["window_s"])
        # Computed first, so that its float64 model is freed before the encoder takes memory.
        expected = reference(clip)
        reference_s = time.perf_counter() - began
        encoder = build()
        began = time.perf_counter()
        layers, frames = relative_errors(encoder.encode([clip]), expected)
        clip_s = time.perf_counter() - began
        result = SelfCheck(layers, frames, round(reference_s + clip_s, 3), round(clip_s, 3))
        _done[spec.fingerprint] = _accepted(spec, result)
    encoder.self_check = _done[spec.fingerprint]
    return encoder


def _accepted(spec: EncoderSpec, result: SelfCheck) -> SelfCheck:
    # NaN compares false, so it is refused too.
    if result.layers <= LIMIT and result.frames <= LIMIT:
        return result
    advice = (
        "plan with --dtype float32, or extract on another kind of machine"
        if spec.compute_dtype == "bfloat16"
        else "use another version of torch or numpy, or another kind of machine"
    )
    raise WrongArithmetic(
        f"{spec.name}: {spec.compute_dtype} is computed wrongly on this machine: on one test clip layers are "
        f"{percent(result.layers)} and frames {percent(result.frames)} off float64, at most {percent(LIMIT)} is accepted; "
        f"{advice}"
    )


def check_line(encoder: Encoder) -> str | None:
    """The result in words, for the terminal; None for an encoder without a check."""
    if (result := encoder.self_check) is None:
        return None
    return (
        f"self-check of {encoder.spec.name}: {encoder.spec.compute_dtype} is within {percent(result.layers)} (layers) and "
        f"{percent(result.frames)} (frames) of float64"
    )


def percent(share: float) -> str:
    """0.0123 as "1.2 %", 0.43 as "43 %"; below a hundredth of a percent with a power of ten."""
    value = 100 * share
    return f"{value:.0e} %" if value < 0.01 else f"{value:.2g} %" if value < 10 else f"{value:.0f} %"


def relative_errors(computed: Pooled, expected: Pooled) -> tuple[float, float]:
    """Norm of the difference over norm of the expected features, for layers and for frames."""
    return _relative_error(computed.layers, expected.layers), _relative_error(computed.frames, expected.frames)


def _relative_error(computed: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    exact = expected.astype(np.float64)
    # A norm by hand: a BLAS that is wrong must not check itself.
    return float(np.sqrt(np.square(computed - exact).sum() / max(np.square(exact).sum(), np.finfo(np.float64).tiny)))


def example_clip(window_s: float) -> Clip:
    """A clip of decaying tones and faint noise, and its notes: six per second, the first one within the window."""
    rng = np.random.default_rng(0)
    n_notes = max(round(6 * window_s), 1)
    onset_s = window_s * (np.arange(n_notes) + rng.uniform(0, 0.9, n_notes)) / n_notes
    pitch = rng.integers(36, 97, n_notes)
    time_s = np.arange(round(window_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    audio = 0.001 * rng.standard_normal(time_s.size)
    for start_s, key in zip(onset_s, pitch, strict=True):
        first = round(start_s * SAMPLE_RATE_HZ)
        since_s = time_s[: time_s.size - first]
        hz = 440 * 2 ** ((key - 69) / 12)
        for partial in (1, 2, 3):
            audio[first:] += 0.05 / partial * np.exp(-3 * since_s) * np.sin(2 * np.pi * hz * partial * since_s)
    performance = Performance(
        onset_s,
        onset_s + rng.uniform(0.1, 0.6, n_notes),
        pitch.astype(np.int16),
        rng.integers(30, 110, n_notes).astype(np.int16),
        np.linspace(0, window_s, 9),
        np.where(np.arange(9) % 2, 0, 127).astype(np.int16),
    )
    return Clip(audio.astype(np.float32), performance, window_s)


_example_clip = lru_cache(maxsize=2)(example_clip)
"""Its tones take longer than the check of a baseline, and all encoders of a store are checked with one clip."""
