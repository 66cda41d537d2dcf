from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from keybed.extract.encoders import describe, pooling
from keybed.extract.encoders.base import Clip
from keybed.extract.encoders.errors import EncoderError, WeightsRefused
from keybed.extract.encoders.muq.model import Muq, load_muq
from keybed.extract.encoders.muq.reference import _convolutions
from keybed.extract.encoders.muq.spec import frame_hop_s, n_frames, n_parameters
from keybed.extract.music.performance import Performance
from tests.extract.encoders.encoders_built import build_as

STYLE = "muq-tiny"


def _build(weights: Path | str, window_s: float = 2.0, n_bins: int = 4, **options: str) -> Muq:
    return build_as(Muq, "muq", weights, window_s, n_bins, **options)


def _waveforms(expected: Any) -> np.ndarray:
    return expected["waveform_int16"].astype(np.float32) / 32768


def _states(encoder: Muq, waveforms: np.ndarray) -> list[np.ndarray]:
    with torch.inference_mode():
        on_device = torch.from_numpy(waveforms).to(encoder._device)
        return [state.float().cpu().numpy().copy() for state in encoder._model(on_device)]


def _assert_close(ours: list[np.ndarray], theirs: np.ndarray) -> None:
    assert len(ours) == len(theirs)
    for mine, golden in zip(ours, theirs, strict=True):
        assert mine.shape == golden.shape
        assert np.abs(mine - golden).max() < 1e-4 * np.abs(golden).max()


def test_every_state_is_the_authors(goldens: Path) -> None:
    expected = np.load(goldens / STYLE / "expected.npz")
    _assert_close(_states(_build(goldens / STYLE), _waveforms(expected)), expected["hidden_states"])


def test_a_clip_of_an_odd_length_is_the_authors(goldens: Path) -> None:
    expected = np.load(goldens / STYLE / "expected.npz")
    encoder, n_samples = _build(goldens / STYLE), int(expected["odd_samples"])
    states = _states(encoder, _waveforms(expected)[:1, :n_samples])
    _assert_close([state[0] for state in states], expected["odd_hidden_states"])
    assert states[0].shape[1] == n_frames(encoder.spec.preprocessing["architecture"], n_samples)


def test_log_mel_is_the_authors(goldens: Path) -> None:
    expected = np.load(goldens / STYLE / "expected.npz")
    encoder = _build(goldens / STYLE)
    with torch.inference_mode():
        log_mel = encoder._model.log_mel(torch.from_numpy(_waveforms(expected)).to(encoder._device)).cpu().numpy()
    # 1e-4 of the scaled values are 0.002 dB; the authors' float32 FFT rounds by as much in quiet bands.
    assert np.abs(log_mel[:, :, expected["log_mel_frames"]] - expected["log_mel"]).max() < 1e-4


def test_frames_are_centred_where_the_authors_are(goldens: Path) -> None:
    expected = np.load(goldens / STYLE / "expected.npz")
    architecture = _build(goldens / STYLE).spec.preprocessing["architecture"]
    n = n_frames(architecture, expected["waveform_int16"].shape[1])
    centres_s = pooling.frame_centres_s(n, frame_hop_s(architecture), 0.0)
    np.testing.assert_allclose(centres_s, expected["frame_centre_s"], atol=1e-9)


def test_pooled_rows_are_the_pooled_golden_states(goldens: Path) -> None:
    expected = np.load(goldens / STYLE / "expected.npz")
    window_s = expected["waveform_int16"].shape[1] / 24_000
    encoder = _build(goldens / STYLE, window_s=window_s, n_bins=20)
    clips = [Clip(waveform, Performance.empty(), window_s) for waveform in _waveforms(expected)]
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
    encoder = _build(goldens / STYLE)
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
    waveform = _waveforms(np.load(goldens / STYLE / "expected.npz"))[:1, :48_000]
    encoder = _build(goldens / STYLE)
    loud, soft = _states(encoder, waveform)[-1], _states(encoder, waveform / 2)[-1]
    assert np.linalg.norm(loud - soft) > 0.05 * np.linalg.norm(loud)


def test_silence_is_finite() -> None:
    pooled = _build("random:tiny").encode([Clip(np.zeros(48_000, np.float32), Performance.empty(), 2.0)])
    assert np.isfinite(pooled.layers).all()


@pytest.mark.parametrize("n_samples", [47_999, 48_001, 32_000])
def test_audio_of_another_length_is_refused(n_samples: int) -> None:
    with pytest.raises(EncoderError, match=rf"row 0 .* shape \({n_samples},\), the recipe's window is 48000 mono"):
        _build("random:tiny").encode([Clip(np.zeros(n_samples, np.float32), Performance.empty(), 2.0)])


def test_a_clip_shorter_than_half_a_window_of_the_spectrum_is_refused() -> None:
    with pytest.raises(EncoderError, match="1024 samples; it needs more than 1024"):
        _states(_build("random:tiny"), np.zeros((1, 1024), np.float32))
    assert _states(_build("random:tiny"), np.zeros((1, 1025), np.float32))[0].shape[1] == 1


def test_more_bins_than_frames_are_refused() -> None:
    with pytest.raises(EncoderError, match="100 bins"):
        _build("random:tiny", n_bins=100)


def test_in_bfloat16_the_spectrogram_and_the_convolutions_stay_float32(goldens: Path) -> None:
    expected = np.load(goldens / STYLE / "expected.npz")
    waveform = _waveforms(expected)[:1, :48_000]
    exact, rough = (_states(_build(goldens / STYLE, compute_dtype=d), waveform) for d in ("float32", "bfloat16"))
    # State 0 is the convolutions' output, rounded once.
    assert np.abs(rough[0] - exact[0]).max() <= 2**-8 * np.abs(exact[0]).max()
    for mine, other in zip(rough[1:], exact[1:], strict=True):
        assert 0 < np.linalg.norm(mine - other) < 0.05 * np.linalg.norm(other)


def _copy(source: Path, target: Path, change: Any = lambda config: None) -> Path:
    for name in ("config.json", "model.safetensors"):
        shutil.copyfile(source / name, target / name)
    config = json.loads((target / "config.json").read_text())
    change(config)
    (target / "config.json").write_text(json.dumps(config))
    return target


def _set(key: str, value: object) -> Any:
    def change(config: dict[str, Any]) -> None:
        *parents, leaf = key.split(".")
        for parent in parents:
            config = config[parent]
        if value is None:
            del config[leaf]
        else:
            config[leaf] = value

    return change


@pytest.mark.parametrize("key", ["num_hidden_layers", "hidden_size", "conv_dim", "conv_stride", "vocab_size"])
def test_entries_of_w2v2_config_that_the_authors_overwrite_change_nothing(
    goldens: Path, tmp_path: Path, key: str
) -> None:
    lying = _copy(goldens / STYLE, tmp_path, _set(f"w2v2_config.{key}", 24))
    published, changed = (
        describe("muq", weights=str(folder), n_bins=4, window_s=2.0)[0] for folder in (goldens / STYLE, lying)
    )
    assert published == changed
    assert published.n_states == json.loads((lying / "config.json").read_text())["encoder_depth"] + 1


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("encoder_depth", 99, r"tensors missing \(conformer.layers"),
        ("encoder_depth", 1, r"unexpected \(conformer.layers.1"),
        ("encoder_depth", None, "has no encoder_depth"),
        ("encoder_depth", "twelve", "encoder_depth 'twelve', not a positive int"),
        ("encoder_dim", 47, "a head needs an even width"),
        ("conv_dim", 13, r"of another shape \(conv.conv.0.bn1.bias"),
        ("n_mels", 64, r"1 of another shape \(conv.linear.weight"),
        ("stat.melspec_2048_std", 0, "stat.melspec_2048_std 0, not a positive float"),
        ("features", ["chromagram"], "has features .* only \\['melspec_2048'\\] is supported"),
        ("w2v2_config", None, "has no w2v2_config"),
        ("w2v2_config.intermediate_size", 7, "of another shape"),
        ("w2v2_config.position_embeddings_type", "relative", "position_embeddings_type 'relative'"),
        ("w2v2_config.hidden_act", "gelu", "hidden_act 'gelu'"),
        ("w2v2_config.conv_depthwise_kernel_size", 30, "even conv_depthwise_kernel_size"),
    ],
)
def test_another_architecture_is_refused(goldens: Path, tmp_path: Path, key: str, value: object, message: str) -> None:
    with pytest.raises(WeightsRefused, match=message):
        _build(_copy(goldens / STYLE, tmp_path, _set(key, value)))


def test_a_folder_with_only_a_pickle_of_tensors_holds_the_same_model(goldens: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    saved = load_file(goldens / STYLE / "model.safetensors")
    # The positional embedding's rates are a buffer, which not every file has.
    saved.pop("model.conformer.embed_positions.inv_freq")
    torch.save(saved, tmp_path / "pytorch_model.bin")
    shutil.copyfile(goldens / STYLE / "config.json", tmp_path / "config.json")
    waveform = _waveforms(np.load(goldens / STYLE / "expected.npz"))[:1, :24_000]
    for ours, theirs in zip(
        _states(_build(tmp_path), waveform), _states(_build(goldens / STYLE), waveform), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_a_safetensors_file_is_preferred_to_a_pickle(goldens: Path, tmp_path: Path) -> None:
    folder = _copy(goldens / STYLE, tmp_path)
    torch.save({}, folder / "pytorch_model.bin")
    assert describe("muq", weights=str(folder), n_bins=4, window_s=2.0)[1] == str(folder / "model.safetensors")


def test_code_in_a_pickle_is_never_run(goldens: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, tuple[Path]]:
            return Path.touch, (tmp_path / "sprung",)

    torch.save({"model.cls_token": Trap()}, tmp_path / "pytorch_model.bin")
    shutil.copyfile(goldens / STYLE / "config.json", tmp_path / "config.json")
    with pytest.raises(WeightsRefused, match="cannot be read as a checkpoint"):
        _build(tmp_path)
    assert not (tmp_path / "sprung").exists()


def test_the_hub_id_is_pinned_to_the_revision_with_safetensors(
    goldens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def download(*, revision: str | None, **options: object) -> str:
        asked.append(revision)
        snapshot = tmp_path / "snapshots" / str(revision)
        snapshot.mkdir(parents=True)
        return str(_copy(goldens / STYLE, snapshot))

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    spec, _ = describe("muq", n_bins=4, window_s=2.0)
    assert (spec.source, spec.revision) == ("OpenMuQ/MuQ-large-msd-iter", "0562a57814f6f8bbd9fdea0a25921a2fce1a841a")
    assert describe("muq", revision="abc", n_bins=4, window_s=2.0)[0].revision == "abc"
    assert asked == [spec.revision, "abc"]


def test_parameters_are_counted_as_the_authors_are() -> None:
    architecture = describe("muq", weights="random", n_bins=20, window_s=10.0)[0].preprocessing["architecture"]
    # 316,343,296 with norms and biases.
    assert n_parameters(architecture) == pytest.approx(316_343_296, rel=0.003)
    encoder = _build("random:tiny")
    kept = sum(tensor.numel() for tensor in encoder._model.parameters())
    assert n_parameters(encoder.spec.preprocessing["architecture"]) == pytest.approx(kept, rel=0.05)


@pytest.mark.slow
def test_full_size_values_fit_float16(make_clip) -> None:  # type: ignore[no-untyped-def]
    encoder = _build("random")
    assert sum(math.prod(tensor.shape) for tensor in encoder._model.parameters()) == pytest.approx(
        316_343_296, rel=1e-3
    )
    pooled = encoder.encode([make_clip(window_s=2.0)])
    assert pooled.layers.shape == (1, 2, 13, 1024)
    assert np.abs(pooled.layers).max() < 65504
