from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from keybed.extract.encoders import pooling
from keybed.extract.encoders.base import Clip
from keybed.extract.encoders.errors import EncoderError, WeightsRefused
from keybed.extract.encoders.midibert import cp_tokens
from keybed.extract.encoders.midibert.model import (
    BUCKETS,
    CPU_BATCH_TOKENS,
    GPU_BATCH_TOKENS,
    MidiBert,
    relative_scores,
)
from keybed.extract.encoders.torch.sequences import SequenceBatches, SequencePooling, TokenSequence
from tests.extract.encoders.encoders_built import assert_rows_are_pooled_as_if_alone, build_as, note_clip

STYLE = "midibert-tiny"


def _build(weights: Path | str, window_s: float = 10.0, n_bins: int = 20, **options: str) -> MidiBert:
    return build_as(MidiBert, "midibert", weights, window_s, n_bins, **options)


def _states(encoder: MidiBert, ids: np.ndarray, present: np.ndarray) -> list[np.ndarray]:
    with torch.inference_mode():
        on_device = (torch.from_numpy(array).to(encoder._device) for array in (ids, present))
        return [state.cpu().numpy().copy() for state in encoder._model(*on_device)]


def test_every_state_is_the_authors(goldens: Path) -> None:
    expected = np.load(goldens / STYLE / "expected.npz")
    present = expected["attention_mask"] > 0
    states = _states(_build(goldens / STYLE), expected["input_ids"], present)
    assert len(states) == len(expected["hidden_states"])
    for ours, theirs in zip(states, expected["hidden_states"], strict=True):
        assert np.abs(ours - theirs)[present].max() < 1e-4 * np.abs(theirs).max()


def test_padding_changes_nothing(goldens: Path) -> None:
    expected = np.load(goldens / STYLE / "expected.npz")
    encoder = _build(goldens / STYLE)
    n_notes = (expected["attention_mask"] > 0).sum(1)
    for row, n in enumerate(n_notes):
        ids = expected["input_ids"][row : row + 1]
        alone = _states(encoder, ids[:, :n], np.ones((1, n), np.bool_))
        for ours, theirs in zip(alone, expected["hidden_states"], strict=True):
            assert np.abs(ours[0] - theirs[row, :n]).max() < 1e-4 * np.abs(theirs).max()
        longer = np.concatenate([ids[:, :n], np.full((1, 32, 4), 1)], axis=1)[:, :512]
        padded = _states(encoder, longer, (np.arange(longer.shape[1]) < n)[None])
        for ours, theirs in zip(padded, alone, strict=True):
            np.testing.assert_allclose(ours[:, :n], theirs, atol=1e-5)


def test_relative_scores_equal_the_formula_term_by_term() -> None:
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randn(2, 3, 7, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    distances = torch.randn(13, 5, generator=generator, dtype=torch.float64)
    scores = relative_scores(query, key, distances)
    for left in range(7):
        for right in range(7):
            embedding = distances[left - right + 6]
            expected = query[:, :, left] @ embedding + key[:, :, right] @ embedding
            torch.testing.assert_close(scores[:, :, left, right], expected)


def _plainly(encoder: MidiBert, clip: Clip) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One row without batches, buckets or running sums."""
    spec, tokens = encoder.spec, cp_tokens.tokenize(clip.performance, clip.window_s)
    slices = [
        _states(encoder, tokens.ids[part][None], np.ones((1, part.stop - part.start), np.bool_))
        for part in cp_tokens.slices(len(tokens.ids))
    ]
    states = [np.concatenate([part[state][0] for part in slices]) for state in range(spec.n_states)]
    bins = pooling.bins_of(tokens.onset_s, spec.n_bins, clip.window_s)
    frames, _, count = pooling.bin_stats(np.mean([states[s] for s in spec.frame_states], axis=0), bins, spec.n_bins)
    return np.stack([pooling.time_stats(state) for state in states], axis=1), frames[:, None], count > 0


def test_rows_of_all_lengths_are_pooled_as_if_each_were_alone() -> None:
    lengths = [1, 2, 31, 32, 33, 64, 150, 300, 512, 513, 1100, 40, 41, 42]
    assert_rows_are_pooled_as_if_alone(_build("random:tiny"), lengths, _plainly)


@pytest.mark.parametrize("batch_tokens", [CPU_BATCH_TOKENS, GPU_BATCH_TOKENS])
@pytest.mark.parametrize("n_rows", [256, 512, 1024])
def test_buckets_hold_less_padding_than_one_length_for_all(batch_tokens: int, n_rows: int) -> None:
    """Windows with as many notes as MAESTRO's; every bucket's last batch is filled up to its fixed shape."""
    shared = SequenceBatches(BUCKETS, batch_tokens, cp_tokens.PAD)
    n_notes = np.clip(np.random.default_rng(0).lognormal(np.log(90), 0.5, n_rows), 4, 500).astype(int)
    batches = list(shared.of([[TokenSequence(np.zeros((n, 4), np.int64), np.zeros(n, np.intp))] for n in n_notes]))
    assert sorted(row for _, batch in batches for row, _ in batch) == list(range(n_rows))
    assert len(batches) * batch_tokens < 0.5 * 512 * n_rows


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_recorded_batches_give_the_bytes_of_the_functions_that_they_recorded() -> None:
    """Buckets share the memory of their recordings; the last row has three sequences, whose sums are read between batches."""
    encoder = _build("random", compute_dtype="bfloat16")
    clips = [note_clip(n) for n in (3, 40, 41, 100, 150, 200, 300, 400, 500, 42, 43, 120, 1100)]
    recorded, again = encoder.encode(clips), encoder.encode(clips)
    batches = SequenceBatches(BUCKETS, GPU_BATCH_TOKENS, cp_tokens.PAD)
    encoder._pool = SequencePooling(encoder.spec, batches, encoder._model, encoder._device)
    called = encoder.encode(clips)
    for one, other in ((recorded, called), (again, called)):
        np.testing.assert_array_equal(one.layers, other.layers)
        np.testing.assert_array_equal(one.frames, other.frames)
        np.testing.assert_array_equal(one.mask, other.mask)


def test_a_clip_without_notes_is_the_workers_to_fail() -> None:
    with pytest.raises(EncoderError, match="row 1 of this shard has no note"):
        _build("random:tiny").encode([note_clip(3), note_clip(0)])


def _save(folder: Path, goldens: Path, change: Any, **config: object) -> Path:
    saved = torch.load(goldens / STYLE / "model_best.ckpt", weights_only=True)
    torch.save(change(saved), folder / "model.ckpt")
    beside = json.loads((goldens / STYLE / "bert_config.json").read_text()) | config
    (folder / "bert_config.json").write_text(json.dumps(beside))
    return folder


def _finetuned(saved: dict[str, Any]) -> dict[str, Any]:
    state = {f"module.midibert.{name}": tensor for name, tensor in saved["state_dict"].items()}
    state |= {"module.classifier.1.weight": torch.zeros(3, 48), "module.attention.ws1.weight": torch.zeros(8, 48)}
    return {"epoch": 2, "state_dict": state, "train_acc": 0.5, "optimizer": {}}


def _bare(saved: dict[str, Any]) -> dict[str, Any]:
    return dict(saved["state_dict"])


def _with_numpys_numbers(saved: dict[str, Any]) -> dict[str, Any]:
    return {**saved, "best_acc": np.float64(0.5), "valid_acc": [np.float32(0.25)], "epoch": np.int64(3)}


@pytest.mark.parametrize("change", [_finetuned, _bare, _with_numpys_numbers])
def test_finetuned_and_bare_checkpoints_hold_the_same_model(goldens: Path, tmp_path: Path, change: Any) -> None:
    clips = [note_clip(30)]
    ours = _build(_save(tmp_path, goldens, change)).encode(clips)
    np.testing.assert_array_equal(ours.layers, _build(goldens / STYLE).encode(clips).layers)


def test_a_file_can_be_named_instead_of_its_folder(goldens: Path, tmp_path: Path) -> None:
    _save(tmp_path, goldens, _bare)
    shutil.copyfile(tmp_path / "model.ckpt", tmp_path / "second.ckpt")
    with pytest.raises(WeightsRefused, match="holds 2 files"):
        _build(tmp_path)
    assert _build(tmp_path / "second.ckpt").spec.source == "local"


def _without(name: str) -> Any:
    def change(saved: dict[str, Any]) -> dict[str, Any]:
        del saved["state_dict"][name]
        return saved

    return change


def _with(name: str, prefix: str = "") -> Any:
    def change(saved: dict[str, Any]) -> dict[str, Any]:
        state = {prefix + key: tensor for key, tensor in saved["state_dict"].items()}
        return {"state_dict": state | {name: torch.zeros(2)}}

    return change


DISTANCE = "bert.encoder.layer.1.attention.self.distance_embedding.weight"


@pytest.mark.parametrize(
    ("change", "config", "message"),
    [
        (_without(DISTANCE), {}, rf"1 tensors missing \({DISTANCE}\), 0 unexpected, 0 of another shape"),
        (_with("bert.extra.weight"), {}, r"0 tensors missing, 1 unexpected \(bert.extra.weight\)"),
        (_with("decoder.weight", "midibert."), {}, r"1 unexpected \(decoder.weight\)"),
        (lambda saved: saved, {"num_hidden_layers": 2}, r"17 unexpected"),
        (lambda saved: saved, {"max_position_embeddings": 1024}, r"3 of another shape"),
        (lambda saved: saved, {"max_position_embeddings": 256}, r"256; windows are read 512 notes at a time"),
        (lambda saved: saved, {"position_embedding_type": "absolute"}, "position_embedding_type 'absolute'"),
        (lambda saved: {"weights": 3}, {}, 'holds no "state_dict"'),
    ],
)
def test_another_architecture_is_refused_with_every_name(
    goldens: Path, tmp_path: Path, change: Any, config: dict[str, object], message: str
) -> None:
    with pytest.raises(WeightsRefused, match=message):
        _build(_save(tmp_path, goldens, change, **config))


def test_code_in_a_pickle_is_never_run(goldens: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return (Path.touch, (tmp_path / "sprung",))  # type: ignore[return-value]

    _save(tmp_path, goldens, lambda saved: {"state_dict": saved["state_dict"], "trap": Trap()})
    with pytest.raises(WeightsRefused, match="cannot be read as a checkpoint"):
        _build(tmp_path)
    assert not (tmp_path / "sprung").exists()


def test_embeddings_are_scaled_by_the_root_of_their_size(goldens: Path) -> None:
    """State 0 by hand: LayerNorm(in_linear(16 · [four embeddings]) + token type 0)."""
    saved = torch.load(goldens / STYLE / "model_best.ckpt", weights_only=True)["state_dict"]
    ids = np.array([[[0, 3, 40, 7]]])
    parts = [saved[f"word_emb.{kind}.lut.weight"][ids[0, 0, kind]] for kind in range(4)]
    inside = math.sqrt(256) * torch.cat(parts) @ saved["in_linear.weight"].T + saved["in_linear.bias"]
    inside = inside + saved["bert.embeddings.token_type_embeddings.weight"][0]
    norm = (saved[f"bert.embeddings.LayerNorm.{part}"] for part in ("weight", "bias"))
    expected = torch.nn.functional.layer_norm(inside, (48,), *norm, 1e-12)
    state = _states(_build(goldens / STYLE), ids, np.ones((1, 1), np.bool_))[0]
    np.testing.assert_allclose(state[0, 0], expected.numpy(), rtol=1e-4, atol=1e-5)
