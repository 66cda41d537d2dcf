from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from keybed.extract.encoders import describe, pooling
from keybed.extract.encoders.aria import tokens
from keybed.extract.encoders.aria.model import Aria
from keybed.extract.encoders.aria.spec import max_notes, n_parameters
from keybed.extract.encoders.base import Clip
from keybed.extract.encoders.errors import EncoderError, WeightsRefused
from keybed.extract.music.midi import read_midi
from keybed.extract.music.performance import Performance
from tests.extract.encoders.encoders_built import assert_rows_are_pooled_as_if_alone, build_as, note_clip

STYLE = "aria-tiny"


def _build(weights: Path | str, window_s: float = 10.0, n_bins: int = 20, **options: str) -> Aria:
    return build_as(Aria, "aria", weights, window_s, n_bins, **options)


def _states(encoder: Aria, ids: np.ndarray) -> list[np.ndarray]:
    """Hidden states (L, D) of one sequence."""
    with torch.inference_mode():
        on_device = torch.from_numpy(np.asarray(ids, np.int64)).to(encoder._device)[None]
        return [state[0].float().cpu().numpy().copy() for state in encoder._model(on_device)]


def _head(encoder: Aria, ids: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        on_device = torch.from_numpy(np.asarray(ids, np.int64)).to(encoder._device)[None]
        return encoder._model.embed(on_device)[0].cpu().numpy()


def _windows(expected: Any) -> list[tuple[int, np.ndarray, slice]]:
    """Of each window with notes: its number, its ids, and where its golden positions stand."""
    offsets, position_offsets = expected["id_offsets"], expected["position_offsets"]
    windows = [
        (
            i,
            expected["ids"][offsets[i] : offsets[i + 1]].astype(np.int64),
            slice(position_offsets[i], position_offsets[i + 1]),
        )
        for i in range(len(offsets) - 1)
    ]
    return [window for window in windows if len(window[1])]


def test_every_state_and_the_heads_are_the_authors(goldens: Path) -> None:
    expected = np.load(goldens / STYLE / "expected.npz")
    encoder = _build(goldens / STYLE)
    assert encoder.spec.n_states == len(expected["states"])
    largest = np.abs(expected["states"]).max((1, 2))
    largest_head = np.abs(expected["head"]).max()
    for window, ids, rows in _windows(expected):
        at = expected["positions"][rows]
        states, head = _states(encoder, ids), _head(encoder, ids)
        for state, (mine, top) in enumerate(zip(states, largest, strict=True)):
            assert np.abs(mine[at] - expected["states"][state, rows]).max() < 1e-4 * top
            assert np.abs(mine.mean(0) - expected["state_means"][window, state]).max() < 1e-4 * top
        assert np.abs(head[at] - expected["head"][rows]).max() < 1e-4 * largest_head
        assert np.abs(head[-1] - expected["embedding"][window]).max() < 1e-4 * largest_head


def test_a_recordings_embedding_is_the_authors(goldens: Path) -> None:
    """The mean over parts of 300 notes, each timed from its own first note; for files read alike from seconds."""
    expected = np.load(goldens / STYLE / "expected.npz")
    encoder = _build(goldens / STYLE)
    n_long = 0
    for file, embedding in zip(
        json.loads((goldens / STYLE / "tokens.json").read_text())["files"], expected["global_embedding"], strict=True
    ):
        if not file["notes"] or file["from_seconds"] != "equal":
            continue
        parts = tokens.slices(read_midi(goldens / STYLE / file["midi"]), 300)
        n_long += len(parts) > 1
        mean = np.mean([_head(encoder, tokens.tokenize(part).ids)[-1] for part in parts], axis=0)
        assert np.abs(mean - embedding).max() < 1e-4 * np.abs(expected["head"]).max()
    assert n_long > 0


def test_padding_at_the_end_changes_nothing(goldens: Path) -> None:
    expected = np.load(goldens / STYLE / "expected.npz")
    encoder = _build(goldens / STYLE)
    _, ids, _ = min(_windows(expected), key=lambda window: abs(len(window[1]) - 120))
    padded = np.concatenate([ids, np.full(33, tokens.PADDING)])
    for alone, longer in zip(_states(encoder, ids), _states(encoder, padded), strict=True):
        np.testing.assert_allclose(longer[: len(ids)], alone, atol=1e-5 * np.abs(alone).max())


def _one_by_one(encoder: Aria, clip: Clip) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One row without batches, buckets or running sums."""
    spec = encoder.spec
    parts = tokens.slices(tokens.cut(clip.performance, clip.window_s), spec.preprocessing["max_notes"])
    tokenized = [tokens.tokenize(part) for part in parts]
    states = [
        np.concatenate([_states(encoder, ids)[state][note_at] for ids, note_at, _ in tokenized])
        for state in range(spec.n_states)
    ]
    bins = pooling.bins_of(np.concatenate([onset_s for _, _, onset_s in tokenized]), spec.n_bins, clip.window_s)
    frames, _, count = pooling.bin_stats(np.mean([states[s] for s in spec.frame_states], axis=0), bins, spec.n_bins)
    return np.stack([pooling.time_stats(state) for state in states], axis=1), frames[:, None], count > 0


def test_rows_of_all_lengths_are_pooled_at_each_notes_last_token() -> None:
    lengths = [1, 2, 20, 21, 90, 150, 331, 681, 682, 1400, 40, 41]
    assert_rows_are_pooled_as_if_alone(_build("random:tiny"), lengths, _one_by_one)


def test_a_note_is_pooled_in_the_bin_of_its_true_onset() -> None:
    """Silence before the first note has no token, and yet the bins know of it."""
    late = Performance(np.array([7.2, 9.9]), np.array([7.4, 9.95]), *np.full((2, 2), 60, np.int16))
    pooled = _build("random:tiny").encode([Clip(np.zeros(0, np.float32), late, 10.0)])
    assert np.flatnonzero(pooled.mask[0]).tolist() == [14, 19]


def test_a_window_without_notes_is_a_masked_row_and_no_exception() -> None:
    encoder = _build("random:tiny")
    held = Performance(np.array([-1.0]), np.array([4.0]), *np.full((2, 1), 60, np.int16))
    full = note_clip(30)
    pooled = encoder.encode([Clip(np.zeros(0, np.float32), held, 10.0), full, note_clip(0)])
    for row in (0, 2):
        assert not pooled.mask[row].any()
        assert (pooled.layers[row] == 0).all()
        assert (pooled.frames[row] == 0).all()
    np.testing.assert_array_equal(pooled.layers[1], encoder.encode([None, full])[0][1])


def test_bfloat16_stays_within_three_percent(goldens: Path) -> None:
    clips = [note_clip(n, seed=n) for n in (20, 90, 130)]
    exact, rough = (_build(goldens / STYLE, compute_dtype=d).encode(clips) for d in ("float32", "bfloat16"))
    for name in ("layers", "frames"):
        a, b = getattr(exact, name).astype(np.float64), getattr(rough, name).astype(np.float64)
        assert np.linalg.norm(a - b) < 0.03 * np.linalg.norm(a)


def test_the_middle_of_the_stack_goes_into_frames() -> None:
    spec, _ = describe("aria", weights="random", n_bins=20, window_s=10.0)
    assert (spec.n_states, spec.width, spec.frame_states) == (18, 1536, (6, 7, 8, 9, 10, 11, 12))
    assert (spec.frame_stats, spec.has_mask) == (("mean",), True)


def test_sequences_stay_within_the_models_positions() -> None:
    architecture = describe("aria", weights="random", n_bins=20, window_s=10.0)[0].preprocessing["architecture"]
    assert max_notes(architecture, 10.0) == 681
    assert max_notes({**architecture, "max_seq_len": 64}, 10.0) == 19
    with pytest.raises(EncoderError, match=r"a sequence of 8 tokens cannot hold a window of 60 s"):
        max_notes({**architecture, "max_seq_len": 8}, 60.0)


def _save(folder: Path, goldens: Path, change: Any = lambda saved: saved, **config: object) -> Path:
    save_file(change(load_file(goldens / STYLE / "model.safetensors")), folder / "model.safetensors")
    beside = json.loads((goldens / STYLE / "config.json").read_text()) | config
    (folder / "config.json").write_text(json.dumps({key: value for key, value in beside.items() if value is not None}))
    return folder


def _base(saved: dict[str, Any]) -> dict[str, Any]:
    saved["lm_head.weight"] = torch.zeros_like(saved["model.tok_embeddings.weight"])
    del saved["emb_head.weight"]
    return saved


def test_a_base_checkpoint_has_the_same_states_and_no_embedding(goldens: Path, tmp_path: Path) -> None:
    base, clips = _build(_save(tmp_path, goldens, _base)), [note_clip(30)]
    np.testing.assert_array_equal(base.encode(clips).layers, _build(goldens / STYLE).encode(clips).layers)
    with pytest.raises(WeightsRefused, match="has no emb_head"):
        _head(base, np.array([6, 0, 1]))


def test_the_prefix_of_a_compiled_model_is_dropped(goldens: Path, tmp_path: Path) -> None:
    folder = _save(tmp_path, goldens, lambda saved: {f"_orig_mod.{name}": tensor for name, tensor in saved.items()})
    ids = np.array([6, 0, 659, 17_227, 16_817, 1])
    np.testing.assert_array_equal(_head(_build(folder), ids), _head(_build(goldens / STYLE), ids))


def test_a_configuration_with_the_authors_own_names_is_the_same(goldens: Path, tmp_path: Path) -> None:
    config = json.loads((goldens / STYLE / "config.json").read_text())
    shutil.copyfile(goldens / STYLE / "model.safetensors", tmp_path / "model.safetensors")
    own = {
        "d_model": config["hidden_size"],
        "n_heads": config["num_attention_heads"],
        "n_layers": config["num_hidden_layers"],
        "ff_mult": config["intermediate_size"] // config["hidden_size"],
        "max_seq_len": config["max_seq_len"],
        "vocab_size": config["vocab_size"],
        "drop_p": 0.0,
    }
    (tmp_path / "config.json").write_text(json.dumps(own))
    from_hub_names, from_own_names = (
        describe("aria", weights=str(p), n_bins=20, window_s=10.0)[0] for p in (goldens / STYLE, tmp_path)
    )
    assert from_hub_names == from_own_names


def test_an_embedding_size_that_lies_changes_nothing(goldens: Path, tmp_path: Path) -> None:
    ids = np.array([6, 0, 659, 17_227, 16_817, 1])
    lying = _build(_save(tmp_path, goldens, embedding_size=99))
    np.testing.assert_array_equal(_head(lying, ids), _head(_build(goldens / STYLE), ids))


@pytest.mark.parametrize(
    ("change", "config", "message"),
    [
        (None, {"num_hidden_layers": 24}, r"tensors missing \(encode_layers"),
        (None, {"num_hidden_layers": 1}, r"unexpected \(encode_layers.1"),
        (None, {"intermediate_size": 97}, "of another shape"),
        (None, {"num_hidden_layers": None}, "num_hidden_layers None, not a whole number"),
        (None, {"num_hidden_layers": "three"}, "num_hidden_layers 'three', not a whole number"),
        (None, {"num_attention_heads": 5}, "a head needs an even width"),
        (None, {"vocab_size": 17_726}, "Aria's tokens are 17727"),
        (None, {"model_type": "llama"}, r"describes another model \(llama\)"),
        (None, {"text_config": {}}, r"describes another model \(aria\)"),
        (lambda saved: saved | {"model.extra.weight": torch.zeros(2)}, {}, r"1 unexpected \(extra.weight\)"),
        (lambda saved: saved | {"emb_head.weight": torch.zeros(5, 3)}, {}, r"emb_head.weight \(5, 3\)"),
    ],
)
def test_another_architecture_is_refused(
    goldens: Path, tmp_path: Path, change: Any, config: dict[str, object], message: str
) -> None:
    with pytest.raises(WeightsRefused, match=message):
        _build(_save(tmp_path, goldens, change or (lambda saved: saved), **config))


def test_parameters_are_counted_as_the_authors_are() -> None:
    architecture = describe("aria", weights="random", n_bins=20, window_s=10.0)[0].preprocessing["architecture"]
    # 631,309,824 with the norms.
    assert n_parameters(architecture) == pytest.approx(631_309_824, rel=0.001)


@pytest.mark.slow
def test_full_size_values_fit_float16() -> None:
    encoder = _build("random", compute_dtype="bfloat16")
    assert sum(tensor.numel() for tensor in encoder._model.parameters()) == 631_309_824
    pooled = encoder.encode([note_clip(10)])
    assert pooled.layers.shape == (1, 2, 18, 1536)
    assert np.abs(pooled.layers).max() < 65504
