"""Verify and repair report what is wrong and what to do."""

from __future__ import annotations

import dataclasses
import json
import shlex
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from keybed import store
from keybed.experiments.cli.verify_view import extract_line, sbatch_line, verify_lines
from keybed.store import errors
from keybed.store.check.verify import VerifyConfig, verify
from keybed.store.write.claims import claim
from keybed.store.write.create import update_machine_paths


@contextmanager
def claim_of_another(opened, shard):
    """A young claim by a task on another machine."""
    path = opened.path / "claims" / f"{shard:06d}.json"
    known = dict.fromkeys(("token", "host", "boot", "namespace", "started", "time"), "elsewhere")
    path.write_text(json.dumps({"shard": shard, "pid": 1, **known}))
    yield
    path.unlink()


def test_a_sound_store_is_reported_as_sound(whole_store):
    seen = []
    report = verify(VerifyConfig(whole_store.path), progress=lambda done, of: seen.append((done, of)))
    assert report.sound
    assert verify_lines(report) == [f"all 5 shards are whole and sound; next: keybed info {whole_store.path}"]
    assert verify_lines(dataclasses.replace(report, n_shards=1))[-1].startswith("the one shard is whole and sound")
    assert seen[-1] == (5, 5)


def test_a_plan_killed_while_it_wrote_machine_paths_leaves_a_leftover(filled):
    cut = filled.path / "places.json.0123456789ab.partial"
    cut.write_bytes(b"{")
    assert verify(VerifyConfig(filled.path)).leftovers == (cut,)
    assert verify(VerifyConfig(filled.path, repair=True)).leftovers == (cut,)
    assert not cut.exists()
    paths_file = filled.path / "places.json"
    before = paths_file.stat()
    update_machine_paths(filled, filled.machine_paths)
    assert paths_file.stat().st_ino == before.st_ino, "nothing new, nothing written"
    update_machine_paths(filled, {**filled.machine_paths, "corpus": "/elsewhere"})
    assert store.open(filled.path).machine_paths["corpus"] == "/elsewhere"


def test_the_redo_lines_are_whole_and_give_the_number_of_tasks(filled):
    for shard in (1, 3):
        file = filled.path / f"features.zarr/audio/a/frames/c.{shard}.0.0.0"
        file.write_bytes(file.read_bytes()[:-7])
    (filled.path / "commits" / "000004.json").unlink()
    report = verify(VerifyConfig(filled.path))
    assert report.bad == (1, 3)
    assert report.missing == (4,)
    assert sbatch_line(report) == f"sbatch --array=1,3-4 slurm/extract.sbatch {filled.path} 5"
    assert extract_line(report) == f"keybed extract {filled.path} --shards 1,3-4"
    two_tasks = verify(VerifyConfig(filled.path, tasks=2))
    assert sbatch_line(two_tasks) == f"sbatch --array=0-1 slurm/extract.sbatch {filled.path} 2"
    assert f"first: keybed verify {filled.path} --repair   (un-commits bad shards)" in verify_lines(report)


def test_repair_un_commits_removes_leftovers_and_shards_made_again_are_equal(filled, synthetic, snapshot):
    before = snapshot(filled.path)
    broken = filled.path / "features.zarr/midi/m/layers/c.2.0.0.0"
    broken.write_bytes(broken.read_bytes()[:-1] + b"?")
    (filled.path / "features.zarr/midi/m/layers/c.2.0.0.0.0123.partial").write_bytes(b"half")
    (filled.path / "commits/000003.json.0123.partial").write_bytes(b"half")
    (filled.path / "claims/000001.0123.stale").write_bytes(b"")
    (filled.path / "commits/000000.json").unlink()
    assert verify(VerifyConfig(filled.path)).leftovers
    report = verify(VerifyConfig(filled.path, repair=True))
    assert report.redo == (0, 2)
    opened = store.open(filled.path)
    assert opened.committed == {1, 3, 4}
    left = {path.name for path in (filled.path / "features.zarr/audio").rglob("c.*")}
    assert left == {f"c.{shard}.0.0.0" for shard in (1, 3, 4)}
    synthetic.fill(opened, [0, 2])
    assert snapshot(filled.path) == before
    assert verify(VerifyConfig(filled.path)).sound


def test_repair_leaves_the_files_of_a_live_task(tmp_path, synthetic):
    opened = synthetic.fill(synthetic.create(tmp_path / "S"), [1])
    partial = opened.path / "features.zarr/row/score/c.0.0.0123.partial"
    with claim(opened, 0) as held:
        partial.write_bytes(b"being written")
        verify(VerifyConfig(opened.path, repair=True))
        assert partial.exists()
        held.check()
    assert verify(VerifyConfig(opened.path, repair=True)).leftovers == (partial,)
    assert not partial.exists()


def test_repair_leaves_files_that_a_live_task_has_not_committed_yet(filled, synthetic, snapshot):
    before = snapshot(filled.path)
    with claim_of_another(filled, 0):
        (filled.path / "commits/000000.json").unlink()  # as between publishing and the commit
        assert not verify(VerifyConfig(filled.path)).leftovers
        assert not verify(VerifyConfig(filled.path, repair=True)).leftovers
        (filled.path / "commits/000000.json").write_bytes(before["commits/000000.json"])
    assert snapshot(filled.path) == before
    (filled.path / "commits/000000.json").unlink()
    assert len(verify(VerifyConfig(filled.path, repair=True)).leftovers) == 12
    synthetic.fill(store.open(filled.path), [0])
    assert snapshot(filled.path) == before


def test_repair_does_not_touch_a_bad_shard_under_a_live_claim(filled):
    file = filled.path / "features.zarr/audio/a/frames/c.2.0.0.0"
    file.write_bytes(file.read_bytes()[:-7])
    with claim_of_another(filled, 2), pytest.raises(errors.ShardBusy, match="shard 2 is being made by"):
        verify(VerifyConfig(filled.path, repair=True))
    assert 2 in filled.committed
    assert verify(VerifyConfig(filled.path, repair=True)).redo == (2,)


def test_a_repair_cut_short_leaves_no_commit_without_its_data(filled, monkeypatch):
    """After the first removal the shard is no longer committed."""
    file = filled.path / "features.zarr/audio/a/frames/c.2.0.0.0"
    file.write_bytes(file.read_bytes()[:-7])

    class Killed(BaseException):
        pass

    unlink = Path.unlink

    def unlink_and_die(path, missing_ok=False):
        unlink(path, missing_ok=missing_ok)
        if path.parent.name != "claims":
            raise Killed

    monkeypatch.setattr(Path, "unlink", unlink_and_die)
    with pytest.raises(Killed):
        verify(VerifyConfig(filled.path, repair=True))
    monkeypatch.undo()
    assert store.open(filled.path).committed == {0, 1, 3, 4}


def test_a_commit_of_a_shard_that_does_not_exist_is_removed_and_not_made_again(filled):
    (filled.path / "commits/000009.json").write_bytes((filled.path / "commits/000001.json").read_bytes())
    report = verify(VerifyConfig(filled.path, repair=True))
    assert report.bad == (9,)
    assert report.redo == ()
    assert not any("--shards" in line for line in verify_lines(report))
    assert verify(VerifyConfig(filled.path)).sound


def test_the_printed_line_survives_a_shell(tmp_path, synthetic):
    opened = synthetic.create(tmp_path / "a store")
    report = verify(VerifyConfig(opened.path, script="my scripts/extract.sbatch"))
    assert shlex.split(sbatch_line(report)) == [
        "sbatch",
        "--array=0-4",
        "my scripts/extract.sbatch",
        str(opened.path),
        "5",
    ]
    assert shlex.split(extract_line(report)) == ["keybed", "extract", str(opened.path), "--shards", "0-4"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ({"row/status": (1, 6)}, r"status counts"),
        ({"audio/a/layers": (1, np.nan)}, "must be finite; rows [1]"),
        ({"audio/a/frames": (1, 3.0)}, "1 row with one number throughout, e.g. [1]"),
        ({"audio/a/frames": (slice(None), None)}, "the encoder ignored its input"),
    ],
)
def test_rules_are_checked_on_the_files_on_disk(tmp_path, synthetic, monkeypatch, spoil, message):
    """A writer without rules stands for an older version with a fault."""
    from keybed.store.write import commit as writer
    from keybed.store.write import rules as shard_rules

    opened = synthetic.create(tmp_path / "S")

    def lax(specs, arrays, failures, *, shard, start, stop):
        ready = {s.path: shard_rules._cast(s, np.asarray(arrays[s.path]), stop - start, "") for s in specs}
        for path, (row, value) in spoil.items():
            ready[path][row] = ready[path][0] if value is None else value
        return ready

    monkeypatch.setattr(writer, "checked_arrays", lax)
    synthetic.fill(opened, [3])
    if "row/status" in spoil:
        path = opened.path / "commits/000003.json"
        commit = json.loads(path.read_text())
        del commit["sha256"]  # as in a commit of version 0.1
        path.write_text(json.dumps({**commit, "statuses": {"OK": 32}}))
    report = verify(VerifyConfig(opened.path))
    assert report.bad == (3,)
    assert any(message in str(problem).replace("[97]", "[1]") for problem in report.problems), report.problems


def test_a_changed_plan_is_reported_without_a_shard(filled):
    file = filled.path / "features.zarr/row/tier/c.0"
    file.write_bytes(file.read_bytes() + b"x")
    report = verify(VerifyConfig(filled.path))
    assert [str(problem) for problem in report.problems] == [
        "plan: features.zarr/row/tier/c.0 is not what was planned (sha256 differs)"
    ]
    assert "plan a new store" in "\n".join(verify_lines(report))


def test_recompute_reports_differences_of_features_and_of_labels(filled, synthetic):
    def again(shard, rows, gain=1.0, shift=0.0):
        start, stop = filled.shard_range(shard)
        arrays = {path: values[np.asarray(rows) - start] for path, values in synthetic.arrays(start, stop).items()}
        arrays["audio/a/layers"] = arrays["audio/a/layers"] * np.float32(gain)
        arrays["row/score"] = arrays["row/score"] + np.float32(shift)
        return arrays

    same = verify(VerifyConfig(filled.path, recompute_rows=20), again)
    assert same.sound
    assert same.recompute_difference.n_rows == 20
    assert same.recompute_difference.features["audio/a/layers"] == (0.0, 0.0)
    near = verify(VerifyConfig(filled.path, recompute_rows=20), lambda s, r: again(s, r, gain=1.005))
    assert near.sound
    assert near.recompute_difference.features["audio/a/layers"][0] == pytest.approx(0.005, rel=0.1)
    far = verify(VerifyConfig(filled.path, recompute_rows=20), lambda s, r: again(s, r, gain=1.02))
    assert not far.sound
    wrong = verify(VerifyConfig(filled.path, recompute_rows=20), lambda s, r: again(s, r, shift=1.0))
    assert not wrong.sound
    assert len(wrong.recompute_difference.labels["row/score"]) == 20
    with pytest.raises(errors.StoreError, match=r"keybed\[extract\]"):
        verify(VerifyConfig(filled.path, recompute_rows=20))


def test_recompute_names_the_kinds_of_machine(filled, synthetic):
    def again(shard, rows):
        start, stop = filled.shard_range(shard)
        return {path: values[np.asarray(rows) - start] for path, values in synthetic.arrays(start, stop).items()}

    for shard in range(5):
        log = filled.path / f"logs/{shard:06d}.json"
        log.write_text(json.dumps({**json.loads(log.read_text()), "machine": {"gpu": "none", "torch": "2.13"}}))
    same = verify(VerifyConfig(filled.path, recompute_rows=4), again, this_machine={"gpu": "none", "torch": "2.13"})
    assert verify_lines(same)[0] == "stored by this kind of machine"
    other = verify(VerifyConfig(filled.path, recompute_rows=4), again, this_machine={"gpu": "H200", "torch": "2.13"})
    assert verify_lines(other)[0] == "stored by another kind of machine (stored | this): gpu: none | H200"
