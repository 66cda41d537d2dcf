"""Replacing a file in one step: the old content or the new one, never a part."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from keybed.store.disk.durable import replace_file


def test_the_new_content_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "numbers.npz"
    path.write_bytes(b"old")
    with replace_file(path) as file:
        np.savez(file, x=np.arange(3))
        assert path.read_bytes() == b"old"
    np.testing.assert_array_equal(np.load(path)["x"], [0, 1, 2])
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_in_the_block_leaves_the_old_content(tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), replace_file(path) as file:
        file.writelines([b"half", "text"])
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_bytes_are_durable_before_the_name_and_the_name_before_the_end(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, Path.replace

    def logged_fsync(handle):
        fsync(handle)
        events.append(("sync", Path(f"/proc/self/fd/{handle}").readlink()))

    def logged_replace(path, target):
        events.append(("rename", target))
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", logged_fsync)
    monkeypatch.setattr(Path, "replace", logged_replace)
    path = tmp_path / "gate.json"
    with replace_file(path) as file:
        file.write(b"{}")
    (synced, bytes_of), (renamed, target), folder = events
    assert (synced, bytes_of.parent, bytes_of.suffix) == ("sync", tmp_path, ".partial")
    assert (renamed, target) == ("rename", path)
    assert folder == ("sync", tmp_path)
