from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from keybed.extract.encoders import describe, pooling
from keybed.extract.encoders.base import Clip
from keybed.extract.encoders.errors import EncoderError
from keybed.extract.encoders.muq.model import load_muq
from keybed.extract.encoders.muq.reference import _convolutions
from keybed.extract.encoders.muq.spec import frame_hop_s, n_frames, n_parameters
from keybed.extract.music.performance import Performance
from tests.extract.encoders.muq.tiny_muq import STYLE, build_muq, states_of, waveforms_of


def _assert_close(ours: list[np.ndarray], theirs: np.ndarray) -> None:
    assert len(ours) == len(theirs)
    for mine, golden in zip(ours, theirs, strict=True):
        assert mine.shape == golden.shape
        assert np.abs(mine - golden).max() < 1e-4 * np.abs(golden).max()


def test_every_state_is_the_authors(goldens: Path) -> None:
    expected = np.load(goldens / STYLE / "expected.npz")
    _assert_close(states_of(build_muq(goldens / STYLE), waveforms_of(expected)), expected["hidden_states"])


def test_a_clip_of_an_odd_length_is_the_authors(goldens: Path) -> None:
    expected = np.load(goldens / STYLE / "expected.npz")
    encoder, n_samples = build_muq(goldens / STYLE), int(expected["odd_samples"])
    states = states_of(encoder, waveforms_of(expected)[:1, :n_samples])
    _assert_close([state[0] for state in states], expected["odd_hidden_states"])
    assert states[0].shape[1] == n_frames(encoder.spec.preprocessing["architecture"], n_samples)


def test_log_mel_is_the_authors(goldens: Path) -> None:
    expected = np.load(goldens / STYLE / "expected.npz")
    encoder = build_muq(goldens / STYLE)
    with torch.inference_mode():
        log_mel = encoder._model.log_mel(torch.from_numpy(waveforms_of(expected)).to(encoder._device)).cpu().numpy()
    # 1e-4 of the scaled values are 0.002 dB; the authors' float32 FFT rounds by as much in quiet bands.
    assert np.abs(log_mel[:, :, expected["log_mel_frames"]] - expected["log_mel"]).max() < 1e-4


def test_frames_are_centred_where_the_authors_are(goldens: Path) -> None:
    expected = np.load(goldens / STYLE / "expected.npz")
    architecture = build_muq(goldens / STYLE).spec.preprocessing["architecture"]
    n = n_frames(architecture, expected["waveform_int16"].shape[1])
    centres_s = pooling.frame_centres_s(n, frame_hop_s(architecture), 0.0)
    np.testing.assert_allclose(centres_s, expected["frame_centre_s"], atol=1e-9)


def test_pooled_rows_are_the_pooled_goldenstates_of(goldens: Path) -> None:
    expected = np.load(goldens / STYLE / "expected.npz")
    window_s = expected["waveform_int16"].shape[1] / 24_000
    encoder = build_muq(goldens / STYLE, window_s=window_s, n_bins=20)
    clips = [Clip(waveform, Performance.empty(), window_s) for waveform in waveforms_of(expected)]
    pooled = encoder.encode(clips)
    bins = pooling.bins_of(expected["frame_centre_s"], 20, window_s)
    for row in range(len(clips)):
        states = expected["hidden_states"][:, row]
        close = {"rtol": 1e-3, "atol": 1e-4 * np.abs(states).max()}
        for state in range(encoder.spec.n_states):
            np.testing.assert_allclose(pooled.layers[row, :, state], pooling.time_stats(states[state]), **close)
        mean, sd, _ = pooling.bin_stats(states[list(encoder.spec.frame_states)].mean(0), bins, 20)
        np.testing.assert_allclose(pooled.frames[row, :, 0], mean, **close)
        np.testing.assert_allclose(pooled.frames[row, :, 1], sd, **close)


def test_states_equal_transformers_conformer(goldens: Path) -> None:
    """Another implementation of the layers, and of the trap that rotary positions come before the projections."""
    from safetensors.torch import load_file
    from transformers import Wav2Vec2ConformerConfig
    from transformers.models.wav2vec2_conformer.modeling_wav2vec2_conformer import (
        Wav2Vec2ConformerEncoderLayer,
        Wav2Vec2ConformerRotaryPositionalEmbedding,
    )

    config = json.loads((goldens / STYLE / "config.json").read_text())
    theirs = Wav2Vec2ConformerConfig(
        **{**config["w2v2_config"], "hidden_size": config["encoder_dim"], "num_hidden_layers": config["encoder_depth"]}
    )
    theirs._attn_implementation = "eager"
    saved = load_file(goldens / STYLE / "model.safetensors")
    prefix = "model.conformer.layers.0."
    layer = Wav2Vec2ConformerEncoderLayer(theirs).eval()
    layer.load_state_dict({key.removeprefix(prefix): value for key, value in saved.items() if key.startswith(prefix)})
    state = torch.randn(2, 37, config["encoder_dim"], generator=torch.Generator().manual_seed(0))
    encoder = build_muq(goldens / STYLE)
    with torch.inference_mode():
        positions = Wav2Vec2ConformerRotaryPositionalEmbedding(theirs)(state)
        after = layer(state, relative_position_embeddings=positions)
        expected = after[0] if isinstance(after, tuple) else after
        ours = list(encoder._model.conformer(state.to(encoder._device)))[1].cpu()
    assert (ours - expected).abs().max() < 1e-5 * expected.abs().max()


def test_the_reference_takes_the_convolutions_in_pieces_that_fit() -> None:
    model = load_muq(describe("muq", weights="random:tiny", n_bins=4, window_s=2.0)[0], None)
    for n in (3, 128, 129, 141, 300):
        log_mel = torch.randn(1, 128, n, generator=torch.Generator().manual_seed(n))
        torch.testing.assert_close(_convolutions(model, log_mel), model.conv(log_mel), rtol=1e-4, atol=1e-5)


def test_geometry_of_muq() -> None:
    architecture = describe("muq", weights="random", n_bins=20, window_s=10.0)[0].preprocessing["architecture"]
    assert [n_frames(architecture, n) for n in (240_000, 239_999, 48_312)] == [250, 250, 51]
    assert frame_hop_s(architecture) == 0.04


def test_the_last_third_of_the_layers_goes_into_frames() -> None:
    spec, _ = describe("muq", weights="random", n_bins=20, window_s=10.0)
    assert (spec.n_states, spec.width, spec.frame_states) == (13, 1024, (9, 10, 11, 12))


def test_level_matters(goldens: Path) -> None:
    waveform = waveforms_of(np.load(goldens / STYLE / "expected.npz"))[:1, :48_000]
    encoder = build_muq(goldens / STYLE)
    loud, soft = states_of(encoder, waveform)[-1], states_of(encoder, waveform / 2)[-1]
    assert np.linalg.norm(loud - soft) > 0.05 * np.linalg.norm(loud)


def test_silence_is_finite() -> None:
    pooled = build_muq("random:tiny").encode([Clip(np.zeros(48_000, np.float32), Performance.empty(), 2.0)])
    assert np.isfinite(pooled.layers).all()


@pytest.mark.parametrize("n_samples", [47_999, 48_001, 32_000])
def test_audio_of_another_length_is_refused(n_samples: int) -> None:
    with pytest.raises(EncoderError, match=rf"row 0 .* shape \({n_samples},\), the recipe's window is 48000 mono"):
        build_muq("random:tiny").encode([Clip(np.zeros(n_samples, np.float32), Performance.empty(), 2.0)])


def test_a_clip_shorter_than_half_a_window_of_the_spectrum_is_refused() -> None:
    with pytest.raises(EncoderError, match="1024 samples; it needs more than 1024"):
        states_of(build_muq("random:tiny"), np.zeros((1, 1024), np.float32))
    assert states_of(build_muq("random:tiny"), np.zeros((1, 1025), np.float32))[0].shape[1] == 1


def test_more_bins_than_frames_are_refused() -> None:
    with pytest.raises(EncoderError, match="100 bins"):
        build_muq("random:tiny", n_bins=100)


def test_in_bfloat16_the_spectrogram_and_the_convolutions_stay_float32(goldens: Path) -> None:
    expected = np.load(goldens / STYLE / "expected.npz")
    waveform = waveforms_of(expected)[:1, :48_000]
    exact, rough = (states_of(build_muq(goldens / STYLE, compute_dtype=d), waveform) for d in ("float32", "bfloat16"))
    # State 0 is the convolutions' output, rounded once.
    assert np.abs(rough[0] - exact[0]).max() <= 2**-8 * np.abs(exact[0]).max()
    for mine, other in zip(rough[1:], exact[1:], strict=True):
        assert 0 < np.linalg.norm(mine - other) < 0.05 * np.linalg.norm(other)


def test_parameters_are_counted_as_the_authors_are() -> None:
    architecture = describe("muq", weights="random", n_bins=20, window_s=10.0)[0].preprocessing["architecture"]
    # 316,343,296 with norms and biases.
    assert n_parameters(architecture) == pytest.approx(316_343_296, rel=0.003)
    encoder = build_muq("random:tiny")
    kept = sum(tensor.numel() for tensor in encoder._model.parameters())
    assert n_parameters(encoder.spec.preprocessing["architecture"]) == pytest.approx(kept, rel=0.05)


@pytest.mark.slow
def test_full_size_values_fit_float16(make_clip) -> None:  # type: ignore[no-untyped-def]
    encoder = build_muq("random")
    assert sum(math.prod(tensor.shape) for tensor in encoder._model.parameters()) == pytest.approx(
        316_343_296, rel=1e-3
    )
    pooled = encoder.encode([make_clip(window_s=2.0)])
    assert pooled.layers.shape == (1, 2, 13, 1024)
    assert np.abs(pooled.layers).max() < 65504
