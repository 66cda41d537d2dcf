"""Every encoder compares itself with float64 once per process; here with kernels that are wrong."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from keybed.extract.encoders import PRETRAINED, build, describe, self_check
from keybed.extract.encoders.baselines import logmel
from keybed.extract.encoders.errors import WrongArithmetic
from keybed.extract.encoders.mert.convolutions import BlockedPosition
from keybed.extract.encoders.self_check import SelfCheck, check_line, example_clip

GRID = {"n_bins": 4, "window_s": 2.0}
CHECKED_AS = {"transcribed": "transkun"}
"""A transcription is no number, so the network's states are checked for it."""


@pytest.fixture(autouse=True)
def _unchecked() -> Iterator[None]:
    """As in a new process; afterwards no result of a wrong kernel is left."""
    self_check._done.clear()
    yield
    self_check._done.clear()


def _random(name: str, compute_dtype: str = "float32"):  # type: ignore[no-untyped-def]
    return describe(name, weights="random:tiny", compute_dtype=compute_dtype, **GRID)


def _wrong_linear(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, factor: float) -> None:
    right = F.linear

    def wrong(given: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        out = right(given, weight, bias)
        return out * factor if out.dtype == dtype else out

    monkeypatch.setattr(F, "linear", wrong)


@pytest.mark.parametrize("name", PRETRAINED)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_right_kernel_is_accepted_and_measured(name: str, dtype: str) -> None:
    encoder = build(*_random(name, dtype))
    assert encoder.self_check is not None
    # Transkun always computes in float32, and the spec says so.
    low, high = (0, 1e-5) if encoder.spec.compute_dtype == "float32" else (1e-4, 0.02)
    for error in (encoder.self_check.layers, encoder.self_check.frames):
        assert low <= error < high
    assert check_line(encoder) is not None


@pytest.mark.parametrize("name", PRETRAINED)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_wrong_kernel_is_refused_with_both_numbers(name: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    computed = _random(name, dtype)[0].compute_dtype
    checked = CHECKED_AS.get(name, name)
    _wrong_linear(monkeypatch, getattr(torch, computed), 1.5)
    with pytest.raises(
        WrongArithmetic, match=rf"{checked}: {computed} .*layers are [\d.]+ % and frames [\d.]+ % off float64"
    ):
        build(*_random(name, dtype))
    # Not remembered as good: the next attempt in this process is refused as well.
    with pytest.raises(WrongArithmetic):
        build(*_random(name, dtype))


def test_the_wrong_positional_convolution_of_amx_would_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise as large as the values, as oneDNN's kernel gave (relative error 1.06)."""
    right = BlockedPosition.forward

    def wrong(self: BlockedPosition, state: torch.Tensor) -> torch.Tensor:
        out = right(self, state)
        noise = torch.randn(out.shape, generator=torch.Generator().manual_seed(0)).to(out)
        return out + 1.06 * out.float().std().to(out) * noise

    monkeypatch.setattr(BlockedPosition, "forward", wrong)
    with pytest.raises(WrongArithmetic, match="--dtype float32"):
        build(*_random("mert", "bfloat16"))


def test_a_wrong_fourier_transform_of_logmel_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    right = logmel.scipy.fft.rfft

    def wrong(windowed: np.ndarray, **options: int) -> np.ndarray:
        return right(windowed, **options) * (3 if windowed.dtype == np.float32 else 1)

    monkeypatch.setattr(logmel.scipy.fft, "rfft", wrong)
    with pytest.raises(WrongArithmetic, match="logmel: float32"):
        build(*describe("logmel", **GRID))


def test_not_a_number_is_refused() -> None:
    spec, _ = _random("mert")
    with pytest.raises(WrongArithmetic, match="nan %"):
        self_check._accepted(spec, SelfCheck(float("nan"), 0.0, 0.0, 0.0))


def test_it_is_done_once_per_process_and_spec(monkeypatch: pytest.MonkeyPatch) -> None:
    first = build(*_random("midibert"))
    _wrong_linear(monkeypatch, torch.float32, 1.5)
    again = build(*_random("midibert"))
    assert again.self_check is first.self_check
    with pytest.raises(WrongArithmetic):
        build(*describe("midibert", weights="random:tiny", n_bins=5, window_s=2.0))


@pytest.mark.parametrize("window_s", [0.2, 1.0, 10.0])
def test_the_clip_has_the_windows_length_and_notes(window_s: float) -> None:
    clip = example_clip(window_s)
    assert clip.audio.shape == (round(window_s * 24000),)
    assert clip.audio.dtype == np.float32
    assert 0 <= clip.performance.onset_s[0] < window_s
    assert 0.001 < np.abs(clip.audio).max() < 1
    assert clip.audio.tobytes() == example_clip(window_s).audio.tobytes()
