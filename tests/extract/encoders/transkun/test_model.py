from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soxr
import torch

from keybed.extract.encoders import build, check_checkpoint, describe, pooling
from keybed.extract.encoders.base import Clip
from keybed.extract.encoders.errors import EncoderError, WeightsRefused
from keybed.extract.encoders.transkun.model import Network, TokenPooling, Transkun
from keybed.extract.encoders.transkun.spec import (
    ARCHITECTURES,
    group_centres_s,
    n_frames,
    n_groups,
    n_parameters,
    n_spectrum_tokens,
)
from keybed.extract.encoders.transkun.spectrogram import mel_filters
from keybed.extract.music.performance import Performance

PUBLISHED = ARCHITECTURES["2.0"]
GRID = {"n_bins": 20, "window_s": 10.0}


def _tiny(window_s: float = 2.0, n_bins: int = 4) -> Transkun:
    encoder = build(*describe("transkun", weights="random:tiny", n_bins=n_bins, window_s=window_s))
    assert isinstance(encoder, Transkun)
    return encoder


def _clip(audio: np.ndarray, window_s: float = 2.0) -> Clip:
    return Clip(audio.astype(np.float32), Performance.empty(), window_s)


def _piano(seed: int = 0, window_s: float = 2.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(24_000 * window_s)) / 24_000
    return 0.1 * np.sin(2 * np.pi * 440 * time_s) * np.exp(-time_s) + 0.001 * rng.standard_normal(time_s.size)


def test_every_state_is_the_authors(states_of_clip: list[torch.Tensor], golden: Any, make_golden: ModuleType) -> None:
    assert len(states_of_clip) == 7
    for index, (state, maximum) in enumerate(zip(states_of_clip, golden["maximum"], strict=True)):
        flat = state.numpy().ravel()
        kept = flat[make_golden.positions(index, flat.size)]
        assert np.abs(kept - golden[f"values_{index}"]).max() < 3e-5 * maximum
        assert np.abs(flat).max() == pytest.approx(maximum, rel=1e-4)
        # Every value counts in this one.
        along = state[0].double().numpy() @ make_golden.directions(index, state.shape[-1])
        assert along.mean() == pytest.approx(float(golden[f"projection_{index}"]), abs=1.6e-4 * float(maximum))


def test_its_mel_filters_are_htks(network: Network) -> None:
    assert (network.spectrogram.filters - mel_filters(PUBLISHED)).abs().max() < 1e-5


def test_the_shapes_are_those_of_the_paper(network: Network) -> None:
    assert (n_frames(PUBLISHED), n_groups(PUBLISHED), n_spectrum_tokens(PUBLISHED)) == (691, 88, 58)
    kept = 14_087_028
    assert n_parameters(PUBLISHED) == pytest.approx(kept, rel=0.01)


def test_the_wheels_file_is_whole(trained: Path) -> None:
    spec, path = describe("transkun", **GRID)  # type: ignore[arg-type]
    assert path is not None
    assert "184 tensors of its architecture, and no NaN" in check_checkpoint(spec, path)


def test_groups_of_frames_are_centred_on_the_frames_that_the_authors_decode_from_them() -> None:
    """Group g gives frames 8 g to 8 g + 7, frame f is centred at sample 1024 f, and the clip begins at frame 128."""
    centres_s = group_centres_s(PUBLISHED)
    assert centres_s[16] == pytest.approx(3.5 * 1024 / 44_100)
    assert centres_s[0] == pytest.approx((3.5 - 128) * 1024 / 44_100)
    assert len(TokenPooling(PUBLISHED, 10.0).centres_s) == 54


def test_resampling_changes_no_band_that_the_model_sees(network: Network, make_golden: ModuleType) -> None:
    clip = make_golden.clip()
    low = soxr.resample(clip, 44_100, 24_000, "VHQ")
    back = soxr.resample(low, 24_000, 44_100, "HQ")
    context = torch.zeros(2, 16 * 44_100)
    context[0, 131_072 : 131_072 + clip.size], context[1, 131_072 : 131_072 + clip.size] = map(
        torch.from_numpy, (clip, back)
    )
    with torch.inference_mode():
        straight, resampled = network.spectrogram(context)
    assert straight.std() > 0.2
    # What is lost above 12 kHz changes the gain that is divided out; where power is near the floor 0.01 is 0.5 dB.
    assert (straight - resampled).abs().mean() < 1e-3
    assert (straight - resampled).abs().max() < 0.05


def test_tokens_are_pooled_in_the_order_of_the_specification() -> None:
    pool, width = TokenPooling(PUBLISHED, 10.0), 5
    state = np.random.default_rng(0).standard_normal((2, 89, 149, width)).astype(np.float32)
    pooled = pool(torch.from_numpy(state)).numpy()
    assert pooled.shape == (2, 54, 6 * width)
    moments = state[:, 17:71]
    keys, spectrum = moments[:, :, 61:], moments[:, :, 1:59]
    expected = [keys.mean(2), keys.std(2), spectrum.mean(2), spectrum.std(2), moments[:, :, 0], moments[:, :, 59]]
    np.testing.assert_allclose(pooled, np.concatenate(expected, axis=2), atol=1e-6)


def test_pooled_rows_are_the_pooled_states() -> None:
    encoder = _tiny()
    clips = [_clip(_piano(seed)) for seed in range(2)]
    pooled = encoder.encode(clips)
    spec, pool = encoder.spec, encoder._pool_tokens
    bins = pooling.bins_of(pool.centres_s, spec.n_bins, 2.0)
    for row, clip in enumerate(clips):
        waveform = torch.from_numpy(encoder._at_model_rate(clip.audio))[None].to(encoder._device)
        with torch.inference_mode():
            states = [pool(state)[0].cpu().numpy() for state in encoder._network.states(waveform)]
        alone = pooling.pool_row(spec, states, bins)
        np.testing.assert_allclose(pooled.layers[row], alone.layers[0], atol=1e-6)
        np.testing.assert_allclose(pooled.frames[row], alone.frames[0], atol=1e-6)


def test_level_does_not_matter_and_silence_is_finite() -> None:
    encoder, audio = _tiny(), _piano()
    loud, soft, silent = encoder.encode([_clip(audio), _clip(0.01 * audio), _clip(0 * audio)]).frames
    np.testing.assert_allclose(soft, loud, atol=1e-4 * np.abs(loud).max())
    assert np.isfinite(silent).all()


def test_audio_of_another_rate_or_length_is_refused() -> None:
    with pytest.raises(EncoderError, match=r"48000 mono float32 samples at 24000 Hz"):
        _tiny().encode([_clip(np.zeros(88_200))])


def test_a_window_that_the_context_cannot_hold_is_refused() -> None:
    describe("transkun", weights="random", n_bins=20, window_s=13.0)
    with pytest.raises(EncoderError, match=r"windows of 13\.5 s do not fit .* plan --window 13 or less"):
        describe("transkun", weights="random", n_bins=20, window_s=13.5)


def test_it_computes_in_float32_whatever_is_asked() -> None:
    spec, _ = describe("transkun", weights="random:tiny", n_bins=4, window_s=2.0, compute_dtype="bfloat16")
    assert spec.compute_dtype == "float32"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("nHead", 4, "has nHead 4; only 8 is supported"),
        ("hopSize", 512, "has hopSize 512; only 1024 is supported"),
        ("enabledAttn", ["F"], r"only \['F', 'T'\] is supported"),
        ("nLayers", "six", "not a positive whole number"),
        ("nLayers", None, "no configuration of Transkun"),
    ],
)
def test_a_configuration_that_lies_is_refused(
    trained: Path, tmp_path: Path, key: str, value: object, words: str
) -> None:
    config = json.loads(trained.with_suffix(".conf").read_text())
    if value is None:
        del config["Model"]["config"][key]
    else:
        config["Model"]["config"][key] = value
    (tmp_path / "2.0.pt").symlink_to(trained)
    (tmp_path / "2.0.conf").write_text(json.dumps(config))
    with pytest.raises(WeightsRefused, match=words):
        describe("transkun", weights=str(tmp_path), **GRID)  # type: ignore[arg-type]


def test_more_layers_than_the_file_has_are_named(trained: Path, tmp_path: Path) -> None:
    config = json.loads(trained.with_suffix(".conf").read_text())
    config["Model"]["config"]["nLayers"] = 7
    (tmp_path / "2.0.pt").symlink_to(trained)
    (tmp_path / "2.0.conf").write_text(json.dumps(config))
    spec, path = describe("transkun", weights=str(tmp_path), **GRID)  # type: ignore[arg-type]
    assert path is not None
    with pytest.raises(WeightsRefused, match=r"22 tensors missing \(backbone\.layers\.6"):
        check_checkpoint(spec, path)


def test_another_versions_weights_are_refused_by_name(tmp_path: Path) -> None:
    torch.save({"state_dict": {"pitchEmbed.weight": torch.zeros(90, 64)}}, tmp_path / "1.0.pt")
    spec, path = describe("transkun", weights=str(tmp_path / "1.0.pt"), **GRID)  # type: ignore[arg-type]
    assert path is not None
    with pytest.raises(WeightsRefused, match=r"another architecture: 184 tensors missing .* 1 unexpected \(pitchEmbed"):
        check_checkpoint(spec, path)
