from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from keybed.extract.encoders import describe, pooling
from keybed.extract.encoders.errors import EncoderError, WeightsRefused
from keybed.extract.encoders.mert.model import Mert, MertStates, load_hubert, normalise, normalise_rows
from keybed.extract.encoders.mert.spec import ARCHITECTURES, frame_geometry, n_frames
from keybed.extract.encoders.torch.device import pool_bins
from tests.extract.encoders.encoders_built import build_as

STYLES = ("mert-tiny-95m-style", "mert-tiny-330m-style")


def _build(weights: Path | str, window_s: float = 2.0, n_bins: int = 4, **options: str) -> Mert:
    return build_as(Mert, "mert", weights, window_s, n_bins, **options)


def _states(encoder: Mert, waveforms: np.ndarray) -> list[np.ndarray]:
    with torch.inference_mode():
        on_device = torch.from_numpy(waveforms).to(encoder._device)
        return [state.cpu().numpy().copy() for state in encoder._model(on_device)]


@pytest.mark.parametrize("style", STYLES)
def test_every_state_is_the_authors(goldens: Path, style: str) -> None:
    expected = np.load(goldens / style / "expected.npz")
    states = _states(_build(goldens / style), np.stack([normalise(clip) for clip in expected["waveform"]]))
    assert len(states) == len(expected["hidden_states"])
    for ours, theirs in zip(states, expected["hidden_states"], strict=True):
        assert np.abs(ours - theirs).max() < 1e-4 * np.abs(theirs).max()
    assert np.abs(states[-1] - expected["last_hidden_state"]).max() < 1e-4 * np.abs(states[-1]).max()


@pytest.mark.parametrize("style", STYLES)
def test_pooled_rows_are_the_pooled_golden_states(goldens: Path, style: str, make_clip) -> None:  # type: ignore[no-untyped-def]
    expected = np.load(goldens / style / "expected.npz")
    encoder = _build(goldens / style)
    clips = [
        type(make_clip())(audio, make_clip(window_s=2.0).performance, 2.0) for audio in expected["waveform"].copy()
    ]
    pooled = encoder.encode(clips)
    bins = pooling.bins_of(pooling.frame_centres_s(149, 320 / 24000, 400 / 24000), 4, 2.0)
    for row in range(2):
        states = expected["hidden_states"][:, row]
        for state in range(5):
            close = {"rtol": 1e-3, "atol": 1e-4 * np.abs(states).max()}
            np.testing.assert_allclose(pooled.layers[row, :, state], pooling.time_stats(states[state]), **close)
        mean, sd, _ = pooling.bin_stats(states[list(encoder.spec.frame_states)].mean(0), bins, 4)
        np.testing.assert_allclose(pooled.frames[row, :, 0], mean, **close)
        np.testing.assert_allclose(pooled.frames[row, :, 1], sd, **close)


def test_safetensors_hold_the_same_model(goldens: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    source = goldens / STYLES[0]
    state = torch.load(source / "pytorch_model.bin", weights_only=True)
    save_file(state, tmp_path / "model.safetensors")
    for name in ("config.json", "preprocessor_config.json"):
        shutil.copyfile(source / name, tmp_path / name)
    waveform = np.load(source / "expected.npz")["waveform"]
    for ours, theirs in zip(_states(_build(tmp_path), waveform), _states(_build(source), waveform), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("pre_norm", [False, True])
def test_every_state_is_plain_transformers_hubert(pre_norm: bool) -> None:
    """The convolutions as products and the folded group norm, on MERT's own channel counts of the first stages."""
    from transformers import HubertConfig

    spec, _ = describe("mert", weights="random:tiny", n_bins=2, window_s=1.0)
    architecture = {**spec.preprocessing["architecture"], "do_stable_layer_norm": pre_norm}
    object.__setattr__(spec, "preprocessing", {**spec.preprocessing, "architecture": architecture})
    hubert = load_hubert(spec, None).eval()
    assert isinstance(hubert.config, HubertConfig)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for norm in (hubert.feature_extractor.conv_layers[0].layer_norm, hubert.encoder.layer_norm):
            norm.weight.uniform_(0.5, 1.5, generator=generator)
            norm.bias.uniform_(-0.5, 0.5, generator=generator)
        waveforms = 3 * torch.randn(3, 24000, generator=generator) + 0.2
        theirs = hubert(waveforms, output_hidden_states=True)
        ours = list(MertStates(hubert, architecture)(waveforms))
    expected = [*theirs.hidden_states[:-1], theirs.last_hidden_state]
    assert len(ours) == len(expected) == 5
    for mine, other in zip(ours, expected, strict=True):
        assert (mine - other).abs().max() < 1e-4 * other.abs().max()


def test_normalisation_is_the_feature_extractors() -> None:
    from transformers import Wav2Vec2FeatureExtractor

    audio = (0.01 * np.random.default_rng(0).standard_normal(24000) + 0.3).astype(np.float32)
    theirs = Wav2Vec2FeatureExtractor(sampling_rate=24000, do_normalize=True)(audio, sampling_rate=24000)
    np.testing.assert_allclose(normalise(audio), np.asarray(theirs["input_values"][0]), atol=1e-5)
    on_a_device = normalise_rows(torch.from_numpy(np.stack([np.zeros_like(audio), audio])))
    np.testing.assert_allclose(on_a_device[1].numpy(), normalise(audio), atol=1e-5)
    assert (on_a_device[0] == 0).all()


def test_geometry_of_mert() -> None:
    assert frame_geometry(ARCHITECTURES["95M"]) == (320, 400)
    assert n_frames(ARCHITECTURES["95M"], 240_000) == 749


def test_device_pooling_is_poolings() -> None:
    rng = np.random.default_rng(0)
    states = rng.normal(50, 0.1, (2, 149, 8)).astype(np.float32)
    bins = pooling.bins_of(pooling.frame_centres_s(149, 320 / 24000, 400 / 24000), 7, 2.0)
    pooled = pool_bins(torch.from_numpy(states), torch.from_numpy(pooling.averaging_matrix(bins, 7))).numpy()
    for row in range(2):
        mean, sd, _ = pooling.bin_stats(states[row], bins, 7)
        np.testing.assert_allclose(pooled[row, :, 0], mean, rtol=1e-6)
        np.testing.assert_allclose(pooled[row, :, 1], sd, rtol=1e-4)


def test_more_bins_than_frames_are_refused() -> None:
    with pytest.raises(EncoderError, match="200 bins"):
        _build("random:tiny", n_bins=200)


def _copy(source: Path, target: Path, **config: object) -> Path:
    for file in source.iterdir():
        shutil.copyfile(file, target / file.name)
    changed = json.loads((target / "config.json").read_text()) | config
    (target / "config.json").write_text(json.dumps(changed))
    return target


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"num_hidden_layers": 5}, r"16 tensors missing \(encoder.layers.4"),
        ({"num_hidden_layers": 3}, r"16 unexpected \(encoder.layers.3"),
        (
            {"intermediate_size": 97},
            r"12 of another shape \(encoder.layers.0.feed_forward.intermediate_dense.bias \(96,\)",
        ),
        ({"model_type": "bert"}, "describes a 'bert' model"),
        ({"deepnorm": True}, "deepnorm"),
        ({"feature_extractor_cqt": True}, "feature_extractor_cqt"),
        ({"feat_extract_norm": "layer"}, "unlike MERT's: {'feat_extract_norm': 'layer'}"),
        ({"conv_kernel": [10, 3, 3, 3, 3, 2, 5]}, "unlike MERT's: {'conv_kernel'"),
        ({"conv_stride": [5, 2]}, "other lengths"),
    ],
)
def test_a_checkpoint_of_another_architecture_is_refused(
    goldens: Path, tmp_path: Path, config: dict[str, object], message: str
) -> None:
    with pytest.raises(WeightsRefused, match=message):
        _build(_copy(goldens / STYLES[0], tmp_path, **config))


def test_another_sample_rate_is_refused(goldens: Path, tmp_path: Path) -> None:
    folder = _copy(goldens / STYLES[0], tmp_path)
    (folder / "preprocessor_config.json").write_text('{"do_normalize": true, "sampling_rate": 16000}')
    with pytest.raises(WeightsRefused, match="sampling_rate 24000, but has do_normalize True and sampling_rate 16000"):
        _build(folder)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(WeightsRefused, match=r"has no preprocessor_config.json"):
        _build(folder)


def test_do_normalize_is_the_checkpoints_own(goldens: Path, tmp_path: Path) -> None:
    folder = _copy(goldens / STYLES[0], tmp_path)
    (folder / "preprocessor_config.json").write_text('{"do_normalize": false, "sampling_rate": 24000}')
    spec, _ = describe("mert", weights=str(folder), n_bins=4, window_s=2.0)
    assert spec.preprocessing["do_normalize"] is False
    assert spec.fingerprint != _build(goldens / STYLES[0]).spec.fingerprint


@pytest.mark.slow
@pytest.mark.parametrize("size", ["95M", "330M"])
def test_full_size_values_fit_float16(make_clip, size: str) -> None:  # type: ignore[no-untyped-def]
    encoder = _build(f"random:{size}", compute_dtype="bfloat16")
    pooled = encoder.encode([make_clip(window_s=2.0)])
    assert pooled.layers.shape[2:] == (encoder.spec.n_states, encoder.spec.width)
    assert np.abs(pooled.layers).max() < 65504
