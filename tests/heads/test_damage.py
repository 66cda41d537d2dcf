"""Checkpoints and fits that are cut, emptied, swapped or have flipped bits are refused by name; a full disk is named."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from keybed.heads import checkpoint, npz_file
from keybed.heads.errors import CannotWrite, CheckpointMismatch, FileDamaged
from keybed.heads.fitted import load

TREE = {"a": {"kernel": np.arange(600.0).reshape(20, 30)}, "b": (np.int32(4), np.ones(2, np.float32))}
FILES = ("checkpoint.json", "state-000003.npz")
DAMAGE = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "short by a byte": lambda data: data[:-1],
    "another kind of file": lambda data: b"GIF89a" + data,
    "a JSON of another kind": lambda data: b"[1, 2]",
    "nested deeply": lambda data: b"[" * 100_000,
    "no UTF-8": lambda data: b"\xff\xfe" + data,
}


def saved(folder: Path, tree=TREE, count: int = 3) -> Path:
    facts = {"history": [{"loss": 0.25}], "best_epoch": {"head": [2]}}
    checkpoint.save(folder, tree, facts, config={"epochs": 5}, store="s", count=count)
    return folder


def read(folder: Path):
    return checkpoint.load(folder, TREE, config={"epochs": 5}, store="s")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_says_which_folder_to_delete(tmp_path, name, damage):
    path = saved(tmp_path / "fold-1") / name
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    with pytest.raises(FileDamaged) as refused:
        read(path.parent)
    message = str(refused.value)
    assert message.startswith(f"{path} is damaged")
    assert f"delete the folder {path.parent} and run the same command again" in message


def test_an_arrays_file_that_is_gone_is_named(tmp_path):
    saved(tmp_path)
    (tmp_path / FILES[1]).unlink()
    with pytest.raises(FileDamaged, match=r"state-000003\.npz is damaged.*No such file.*delete the folder"):
        read(tmp_path)


def test_the_arrays_of_another_fold_are_refused(tmp_path):
    ours = saved(tmp_path / "1")
    theirs = saved(tmp_path / "2", {**TREE, "b": (np.int32(5), TREE["b"][1])})
    (ours / FILES[1]).write_bytes((theirs / FILES[1]).read_bytes())
    with pytest.raises(FileDamaged, match="its checksum differs"):
        read(ours)


@pytest.mark.parametrize("name", FILES)
def test_no_flipped_bit_changes_a_number_in_silence(tmp_path, name):
    path = saved(tmp_path) / name
    whole, (tree, facts) = path.read_bytes(), read(tmp_path)
    draw, refused = np.random.default_rng(0), 0
    for at, bit in zip(draw.integers(0, len(whole), 150), draw.integers(0, 8, 150), strict=True):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << bit
        path.write_bytes(flipped)
        try:
            again, about_again = read(tmp_path)
        except (FileDamaged, CheckpointMismatch):
            refused += 1
            continue
        np.testing.assert_array_equal(again["a"]["kernel"], tree["a"]["kernel"])
        assert about_again == facts
    assert refused >= 140  # a flip in JSON's white space changes nothing


def test_other_shapes_are_other_data(tmp_path):
    saved(tmp_path, {**TREE, "a": {"kernel": np.zeros((20, 31))}})
    with pytest.raises(CheckpointMismatch, match=r"kernel.* is float64 \(20, 31\) there, float64 \(20, 30\) here"):
        read(tmp_path)


def test_a_fit_that_is_cut_or_another_file_is_refused(tmp_path):
    path = tmp_path / "heads.npz"
    checkpoint.save_tree(path, {"params": {"a": np.ones(1000)}}, {"heads": {}})
    with pytest.raises(CheckpointMismatch, match=r"heads\.npz: holds no scores; it is another file.*delete it and run"):
        load(path)
    whole = path.read_bytes()
    draw = np.random.default_rng(1)
    for damaged in (b"", whole[: len(whole) // 2], b"no archive"):
        path.write_bytes(damaged)
        with pytest.raises(
            FileDamaged, match=r"heads\.npz is damaged.*delete it and run the phase that wrote it again"
        ):
            load(path)
    for at in draw.integers(0, len(whole), 100):
        flipped = bytearray(whole)
        flipped[at] ^= 64
        path.write_bytes(flipped)
        try:
            tree, _ = checkpoint.load_tree(path)
        except FileDamaged:
            continue
        for values in tree.get("params", {}).values():
            np.testing.assert_array_equal(values, np.ones(1000))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, r"no disk space left .*; free some, then run the same command again"),
        (errno.EROFS, r"Read-only file system; make the folder writable or give another one"),
    ],
)
def test_a_full_disk_is_named_and_the_state_of_before_stays(tmp_path, monkeypatch, code, words):
    saved(tmp_path)

    def full(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(npz_file.np, "savez", full)
    with pytest.raises(CannotWrite, match=r"state-000004\.npz cannot be written: " + words):
        saved(tmp_path, count=4)
    with pytest.raises(CannotWrite, match=r"heads\.npz cannot be written"):
        checkpoint.save_tree(tmp_path / "heads.npz", {}, {})
    assert sorted(p.name for p in tmp_path.iterdir()) == list(FILES)
    assert read(tmp_path)[1]["best_epoch"] == {"head": [2]}


def test_a_checkpoint_of_the_first_format_says_so(tmp_path):
    path = saved(tmp_path) / "checkpoint.json"
    old = {k: v for k, v in json.loads(path.read_text()).items() if "sha256" not in k}
    path.write_text(json.dumps({**old, "format_version": 1}))
    with pytest.raises(CheckpointMismatch, match="format 1, this Keybed reads format 2; delete the folder"):
        read(tmp_path)
