from __future__ import annotations

import json

import numpy as np
import pytest

from keybed.heads import checkpoint
from keybed.heads.errors import CheckpointMismatch

TREE = {"a": {"kernel": np.arange(6.0).reshape(2, 3)}, "b": (np.int32(4), np.ones(2, np.float32))}


def test_round_trip_and_only_the_last_is_kept(tmp_path):
    assert checkpoint.load(tmp_path, TREE, config={}, store="s") is None
    for count in (1, 2):
        tree = {**TREE, "b": (np.int32(count), TREE["b"][1])}
        checkpoint.save(tmp_path, tree, {"epoch": count}, config={"seeds": (1, 2)}, store="s", count=count)
    tree, about = checkpoint.load(tmp_path, TREE, config={"seeds": [1, 2]}, store="s")
    assert about == {"epoch": 2}
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
    with pytest.raises(CheckpointMismatch, match="format 9, this Keybed reads format 1"):
        checkpoint.load(tmp_path, TREE, config={"epochs": 5}, store="aaa")


def test_a_kill_between_files_leaves_the_earlier_state(tmp_path):
    checkpoint.save(tmp_path, TREE, {"epoch": 1}, config={}, store="s", count=1)
    (tmp_path / "state-000002.npz").write_bytes(b"never committed")
    assert checkpoint.load(tmp_path, TREE, config={}, store="s")[1] == {"epoch": 1}


def test_trees_as_one_file(tmp_path):
    tree = {"head": {"kernel": np.eye(2), "inner": {"bias": np.zeros(3)}}}
    checkpoint.save_tree(tmp_path / "x.npz", tree, {"n": 1})
    back, about = checkpoint.load_tree(tmp_path / "x.npz")
    assert about == {"n": 1}
    np.testing.assert_array_equal(back["head"]["inner"]["bias"], np.zeros(3))
    with pytest.raises(ValueError, match="no slash"):
        checkpoint.save_tree(tmp_path / "y.npz", {"a/b": np.zeros(1)}, {})
