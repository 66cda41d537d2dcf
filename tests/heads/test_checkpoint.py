"""Checkpoints on disk, and the check on loading that saved parameters are those of this version's heads."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from keybed.heads import align, checkpoint
from keybed.heads.errors import CheckpointMismatch
from keybed.heads.fit_config import FitConfig
from keybed.heads.fitted import FitResult, load, predict, save
from keybed.heads.models import HEADS, HeadConfig, init
from keybed.heads.normalisation import measure, standardise

TREE = {"a": {"kernel": np.arange(6.0).reshape(2, 3)}, "b": (np.int32(4), np.ones(2, np.float32))}


def test_round_trip_and_only_the_last_is_kept(tmp_path):
    assert checkpoint.load(tmp_path, TREE, config={}, store="s") is None
    for count in (1, 2):
        tree = {**TREE, "b": (np.int32(count), TREE["b"][1])}
        checkpoint.save(tmp_path, tree, {"epoch": count}, config={"seeds": (1, 2)}, store="s", count=count)
    tree, state = checkpoint.load(tmp_path, TREE, config={"seeds": [1, 2]}, store="s")
    assert state == {"epoch": 2}
    assert tree["b"][0] == 2
    np.testing.assert_array_equal(tree["a"]["kernel"], TREE["a"]["kernel"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.json", "state-000002.npz"]


def test_what_is_refused(tmp_path):
    checkpoint.save(tmp_path, TREE, {}, config={"epochs": 5}, store="aaa", count=1)
    with pytest.raises(CheckpointMismatch, match="'aaa', asked to go on with store 'bbb'"):
        checkpoint.load(tmp_path, TREE, config={"epochs": 5}, store="bbb")
    with pytest.raises(CheckpointMismatch, match="epochs: 5 there, 6 here"):
        checkpoint.load(tmp_path, TREE, config={"epochs": 6}, store="aaa")
    with pytest.raises(CheckpointMismatch, match="holds other arrays"):
        checkpoint.load(tmp_path, {"c": np.zeros(1)}, config={"epochs": 5}, store="aaa")
    path = tmp_path / "checkpoint.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 9}))
    with pytest.raises(CheckpointMismatch, match="format 9, this Keybed reads format 2"):
        checkpoint.load(tmp_path, TREE, config={"epochs": 5}, store="aaa")


def test_a_kill_between_files_leaves_the_earlier_state(tmp_path):
    checkpoint.save(tmp_path, TREE, {"epoch": 1}, config={}, store="s", count=1)
    (tmp_path / "state-000002.npz").write_bytes(b"never committed")
    assert checkpoint.load(tmp_path, TREE, config={}, store="s")[1] == {"epoch": 1}


def test_trees_as_one_file(tmp_path):
    tree = {"head": {"kernel": np.eye(2), "inner": {"bias": np.zeros(3)}}}
    checkpoint.save_tree(tmp_path / "x.npz", tree, {"n": 1})
    back, facts = checkpoint.load_tree(tmp_path / "x.npz")
    assert facts == {"n": 1}
    np.testing.assert_array_equal(back["head"]["inner"]["bias"], np.zeros(3))
    with pytest.raises(ValueError, match="no slash"):
        checkpoint.save_tree(tmp_path / "y.npz", {"a/b": np.zeros(1)}, {})


@pytest.fixture(scope="module")
def fitted(make_world) -> FitResult:
    """All five heads with noise for parameters, two seeds; frames, layers and both."""
    rows = make_world(8, 1)
    inputs = dict(zip(HEADS, ("frames", "layers", "both", "both", "frames"), strict=True))
    heads = {k: HeadConfig(k, hidden=8, n_attention_heads=2, inputs=inputs[k]) for k in HEADS}
    key, rng = jax.random.key(0), np.random.default_rng(0)
    normalisation = measure([rows], batch_rows=32, max_rows=None)
    standard = standardise(rows, normalisation, jnp.float32)
    shapes = jax.eval_shape(lambda: {name: init(head, key, standard) for name, head in heads.items()})
    params = jax.tree.map(lambda a: rng.normal(size=(2, *a.shape)).astype(np.float32), shapes)
    return FitResult(heads, params, normalisation, FitConfig(seeds=(0, 1)), [], {k: [0, 0] for k in HEADS}, "a1", 0)


def rewritten(path, change):
    """The file with its tree and description changed."""
    tree, facts = checkpoint.load_tree(path)
    change(tree["params"], facts)
    checkpoint.save_tree(path, tree, facts)
    return path


def test_every_head_of_this_version_loads(fitted, tmp_path):
    save(tmp_path / "heads.npz", fitted)
    loaded = load(tmp_path / "heads.npz")
    for ours, theirs in zip(jax.tree.leaves(fitted.params), jax.tree.leaves(loaded.params), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_heads_of_before_the_choice_of_pooling_load_and_pool_the_mean(make_world, tmp_path):
    rows = make_world(8, 1)
    before = HeadConfig("concat", hidden=8, n_attention_heads=2, pooling="mean")
    normalisation = measure([rows], batch_rows=32, max_rows=None)
    params = init(before, jax.random.key(0), standardise(rows, normalisation, jnp.float32))
    stacked = {"concat": jax.tree.map(lambda a: np.asarray(a)[None], params)}
    old = FitResult({"concat": before}, stacked, normalisation, FitConfig(seeds=(0,)), [], {"concat": [0]}, "a1", 0)
    save(tmp_path / "heads.npz", old)
    wanted = predict(old, [rows])["concat"]
    loaded = load(rewritten(tmp_path / "heads.npz", lambda _, facts: facts["heads"]["concat"].pop("pooling")))
    assert loaded.heads["concat"] == before
    np.testing.assert_array_equal(predict(loaded, [rows])["concat"], wanted)


def test_other_names_are_named_on_both_sides(fitted, tmp_path):
    save(tmp_path / "heads.npz", fitted)

    def older(params, _):
        attention = params["cross"]["body"].pop("attention")
        params["cross"]["body"]["audio_to_midi"] = {"offset": attention["audio_to_midi_offset"]}

    with pytest.raises(CheckpointMismatch) as refused:
        load(rewritten(tmp_path / "heads.npz", older))
    message = str(refused.value)
    missing, unexpected = message.split("missing: ")[1].split("; unexpected: ")
    assert missing.split(", ") == [
        f"cross/body/attention/{name}"
        for name in ("audio/kernel", "audio_to_midi_offset", "midi/kernel", "midi_to_audio_offset")
    ]
    assert unexpected.startswith("cross/body/audio_to_midi/offset)")
    assert "heads.npz" in message
    assert "run the phase that wrote this file again" in message


def test_another_shape_is_named_and_the_number_of_bins_is_free(fitted, tmp_path):
    save(tmp_path / "heads.npz", fitted)

    def narrower(params, _):
        params["gated"]["body"]["gate"]["kernel"] = np.zeros((2, 12, 16), np.float32)

    with pytest.raises(CheckpointMismatch, match=r"of another shape: gated/body/gate/kernel 12×16 there, 32×16 here"):
        load(rewritten(tmp_path / "heads.npz", narrower))

    save(tmp_path / "heads.npz", fitted)

    def longer(params, _):
        params["cross"]["body"]["attention"]["audio_to_midi_offset"] = np.zeros((2, 2, 31), np.float32)

    load(rewritten(tmp_path / "heads.npz", longer))


def test_settings_of_another_version_are_named(fitted, tmp_path):
    save(tmp_path / "heads.npz", fitted)

    def older(_, facts):
        facts["heads"]["gated"]["n_layers"] = 3

    with pytest.raises(CheckpointMismatch, match=r"another version of Keybed.*'n_layers'"):
        load(rewritten(tmp_path / "heads.npz", older))


def test_projections_are_held_against_this_versions_too(make_world, tmp_path):
    rows = make_world(8, 1)
    config = align.AlignConfig(hidden=6, width=4)
    layer = {"kernel": np.zeros((1, 12, 6)), "bias": np.zeros((1, 6))}
    params = {"audio": {"hidden": layer}, "log_temperature": np.zeros(1)}
    result = align.AlignResult(config, params, measure([rows], batch_rows=32, max_rows=None), [], [0], "a1")
    with pytest.raises(CheckpointMismatch, match=r"missing: audio/bend/bias.* and 3 more"):
        align.check(tmp_path / "projection.npz", result)
