from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from keybed import store as stores
from keybed.extract.audio import note_sum
from keybed.extract.config import ExtractConfig, PlanConfig
from keybed.extract.degrade.parameters import CODE_VERSION
from keybed.extract.encoders import build
from keybed.extract.encoders.baselines import expressive
from keybed.extract.planning.plan import plan
from keybed.extract.run import task
from keybed.extract.run.check_recipe import (
    NotAsPlanned,
    check_same_code,
    check_same_midi_reading,
    check_same_pristine_rows,
    render_config,
)
from keybed.extract.run.recompute import recomputer
from keybed.extract.run.row_maker import RenderConfig, RowMaker, segment_jobs
from keybed.extract.run.row_pool import RowPool
from keybed.extract.run.shard import ShardRows, Stopped, encode_shard
from keybed.extract.run.task import ExtractError, extract
from keybed.store.format.recipe import EncoderSpec, Recipe
from keybed.store.format.vocabulary import Status
from keybed.store.write.claims import claim

PLACEHOLDERS = ("placeholder-audio", "placeholder-midi")


@pytest.fixture
def store_path(planned_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(planned_store, tmp_path / "store"))


@pytest.mark.parametrize("cores", [1, 64])
def test_as_many_processes_render_as_the_task_has_cores(
    store_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    asked = []

    class Pool(RowPool):
        def __init__(self, rendering: RenderConfig, workers: int, specs: Sequence[EncoderSpec], n_rows: int) -> None:
            asked.append(workers)
            super().__init__(rendering, 0, specs, n_rows=n_rows)

    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)))
    monkeypatch.setattr(task, "RowPool", Pool)
    assert extract(ExtractConfig(store_path, shards=(0,))).made == (0,)
    assert asked == [cores]


def test_loops_are_compiled_where_many_rows_need_them(store_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, compiled = stores.open(store_path), []
    banked = render_config(store, store.machine_paths)
    assert banked.bank is not None
    played = replace(banked, instruments=(replace(banked.instruments[0], bank=None),))
    spec = expressive.describe(n_bins=20, window_s=10.0, threads=1)
    monkeypatch.setattr(note_sum, "use_compiled_loops", lambda: compiled.append("sum"))
    monkeypatch.setattr(expressive, "use_compiled_loops", lambda: compiled.append("expressive"))
    for config, specs, n_rows, expected in (
        (banked, (spec,), 799, []),
        (banked, (spec,), 800, ["sum", "expressive"]),
        (banked, (), 800, ["sum"]),
        (played, (spec,), 800, ["expressive"]),
    ):
        compiled.clear()
        with RowPool(config, 0, specs, n_rows=n_rows):
            assert compiled == expected


@pytest.fixture(scope="module")
def filled(planned_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = Path(shutil.copytree(planned_store, tmp_path_factory.mktemp("filled") / "store"))
    extract(ExtractConfig(path, workers=0))
    return path


def test_a_store_planned_with_another_reading_of_midi_is_told_apart(
    planned_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = stores.open(planned_store).recipe
    check_same_midi_reading(recipe)
    first = {key: value for key, value in recipe.corpus.items() if key != "midi_reading"}
    with pytest.raises(NotAsPlanned, match=r"MIDI reading is not as planned.*\n  midi_reading: 1 \| 2\nplan another"):
        check_same_midi_reading(replace(recipe, corpus=first))
    monkeypatch.setattr("keybed.extract.run.check_recipe.READING_VERSION", 3)
    with pytest.raises(NotAsPlanned, match=r"midi_reading: 2 \| 3"):
        extract(ExtractConfig(planned_store, workers=0))


def test_undegraded_rows_are_those_of_version_4_and_others_are_not(planned_store: Path) -> None:
    recipe = stores.open(planned_store).recipe

    def of_version(version: int) -> Recipe:
        return replace(recipe, degradation={**recipe.degradation, "code_version": version})

    check_same_pristine_rows(of_version(4))
    with pytest.raises(NotAsPlanned, match=rf"code_version: 4 \| {CODE_VERSION}"):
        check_same_code(of_version(4))
    check_same_pristine_rows(of_version(5))
    for version in (3, CODE_VERSION + 1):
        with pytest.raises(NotAsPlanned, match=rf"code_version: {version} \| {CODE_VERSION}"):
            check_same_pristine_rows(of_version(version))


def content(store: Path) -> dict[str, bytes]:
    """Everything in a store that must repeat."""
    files = (file for file in sorted(store.rglob("*")) if file.is_file())
    named = {file.relative_to(store).as_posix(): file for file in files}
    return {
        n: f.read_bytes() for n, f in named.items() if not n.startswith(("logs/", "claims/")) and n != "places.json"
    }


def test_one_task_fills_the_store(filled: Path) -> None:
    store = stores.open(filled)
    assert store.committed == frozenset(range(5))
    rows = store.rows()
    assert len(rows) == 40
    assert np.isfinite(store.read("audio/placeholder-audio/frames", rows.index)).all()
    pristine = rows.tier == 0
    np.testing.assert_allclose(rows.score[pristine][rows.valid[pristine]], 97.5)
    assert np.nanmean(rows.score[~pristine]) < 90
    assert not list((filled / "claims").iterdir())


@pytest.mark.parametrize("workers", [0, 2])
def test_progress_goes_up_to_every_shards_last_row(store_path: Path, workers: int) -> None:
    told: dict[str, list[int]] = {}
    totals: dict[str, int] = {}

    def progress(what: str, done: int, total: int) -> None:
        told.setdefault(what, []).append(done)
        totals[what] = total

    extract(ExtractConfig(store_path, workers=workers), progress)
    assert list(totals) == [f"shard {shard} ({shard + 1} of 5)" for shard in range(5)]
    for what, done in told.items():
        assert done == sorted(set(done)), what
        assert done[-1] == totals[what], what


def test_arrays_are_what_the_encoders_say_row_by_row(filled: Path) -> None:
    store = stores.open(filled)
    setting = render_config(store, store.machine_paths)
    columns = store.columns(8, 16)
    jobs = segment_jobs(columns)
    assert [len(job.tiers) for job in jobs] == [4, 4]
    made = [row for job in jobs for row in RowMaker(setting).make(job)]
    from keybed.extract.encoders.base import Clip

    clips = [Clip(row.audio, row.variant.performance, 10.0) for row in made]
    for spec in store.recipe.encoders:
        pooled = build(spec, None).encode(clips)
        np.testing.assert_array_equal(
            store.read(f"{spec.group}/layers", np.arange(8, 16)), pooled.layers.astype(np.float16)
        )
    rows = store.rows().take(np.arange(8, 16))
    np.testing.assert_array_equal(rows.level, np.stack([row.variant.level for row in made]))
    np.testing.assert_array_equal(rows.n_notes, [row.variant.n_notes for row in made])


@pytest.mark.parametrize("how", ["two tasks in reverse", "shards one by one", "processes and scratch"])
def test_any_division_of_work_gives_the_same_bytes(filled: Path, store_path: Path, tmp_path: Path, how: str) -> None:
    if how == "two tasks in reverse":
        for task in (1, 0):
            report = extract(ExtractConfig(store_path, task=task, tasks=2, workers=0))
            assert len(report.made) == (3 if task == 0 else 2)
    elif how == "shards one by one":
        for shard in (3, 0, 4, 1, 2):
            extract(ExtractConfig(store_path, shards=(shard,), workers=0))
    else:
        extract(ExtractConfig(store_path, workers=2, scratch=tmp_path))
        assert [entry.name for entry in tmp_path.iterdir()] == ["store"]
    assert content(store_path) == content(filled)


def test_what_is_committed_is_not_made_again(filled: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(filled, tmp_path / "store"))
    report = extract(ExtractConfig(store, workers=0))
    assert (report.made, report.already, report.left) == ((), 5, 0)
    said = "\n".join(report.lines())
    assert f"complete; next: keybed verify {store}, then keybed phase2 {store} --out {store}-phase2" in said


def test_a_claimed_shard_is_left_out_with_its_reason(store_path: Path) -> None:
    with claim(stores.open(store_path), 2):
        report = extract(ExtractConfig(store_path, workers=0))
    assert report.made == (0, 1, 3, 4)
    assert "shard 2 is being made by process" in report.skipped[2]
    assert report.left == 1
    assert "1 shard left to other tasks" in "\n".join(report.lines())


def test_unreadable_midi_becomes_rows_with_a_status_and_the_rest_goes_on(tiny_corpus: Path, tmp_path: Path) -> None:
    corpus = Path(shutil.copytree(tiny_corpus, tmp_path / "corpus"))
    broken = sorted(corpus.rglob("*.midi"))[0]
    broken.write_bytes(b"MThd no more")
    plan(PlanConfig(corpus, tmp_path / "store", limit=10, encoders=PLACEHOLDERS, shard_rows=8, jobs=1))
    report = extract(ExtractConfig(tmp_path / "store", workers=0))
    assert report.left == 0
    store = stores.open(tmp_path / "store")
    (index,) = [entry["recording"] for entry in store.recordings if entry["midi_problem"]]
    rows = store.rows(status=None)
    failed = rows.recording == index
    assert failed.any()
    assert np.array_equal(rows.status == Status.MIDI_UNREADABLE, failed)
    assert report.failed_rows == {"MIDI_UNREADABLE": int(failed.sum())}
    assert not rows.valid[failed].any()
    assert np.isnan(store.read("audio/placeholder-audio/layers", rows.index[failed])).all()
    assert len(store.rows()) == 40 - failed.sum()
    reasons = {r for shard in range(5) for r in store.commit(shard).failures.values()}
    assert len(reasons) == 1
    assert broken.name in reasons.pop()


def test_windows_after_the_last_note_have_no_notes(tiny_corpus: Path, tmp_path: Path) -> None:
    corpus = Path(shutil.copytree(tiny_corpus, tmp_path / "corpus"))
    path = corpus / "maestro-v3.0.0.csv"
    head, first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([head, first.rpartition(",")[0] + ",100.0", *rest]) + "\n")
    plan(PlanConfig(corpus, tmp_path / "store", limit=14, encoders=PLACEHOLDERS, shard_rows=32, jobs=1))
    report = extract(ExtractConfig(tmp_path / "store", workers=0))
    assert report.failed_rows.keys() == {"NO_NOTES"}
    rows = stores.open(tmp_path / "store").rows(status=None)
    empty = (rows.recording == 0) & (rows.start_s > 40)
    assert empty.any()
    assert np.array_equal(rows.status == Status.NO_NOTES, empty)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"task": 2, "tasks": 2}, "--task 2 --tasks 2"),
        ({"shards": (1, 9)}, "--shards 9: .* has shards 0 to 4"),
        ({"scratch": Path("/nowhere/at/all")}, "--scratch /nowhere"),
    ],
)
def test_arguments_that_cannot_be_meant(store_path: Path, config: dict[str, object], message: str) -> None:
    with pytest.raises(ExtractError, match=message):
        extract(ExtractConfig(store_path, workers=0, **config))  # type: ignore[arg-type]


def test_another_soundfont_is_refused(store_path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.sf2"
    other.write_bytes(Path(stores.open(store_path).machine_paths["soundfont"]).read_bytes() + b"\0\0")
    with pytest.raises(NotAsPlanned, match="soundfont_sha256"):
        extract(ExtractConfig(store_path, workers=0, paths={"soundfont": str(other)}))
    assert stores.open(store_path).committed == frozenset()


def test_a_stop_between_rows_keeps_commits_and_gives_claims_back(
    filled: Path, store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop_late(what: str, done: int, total: int) -> None:
        if what.startswith("shard 2"):
            signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    report = extract(ExtractConfig(store_path, workers=0), stop_late)
    assert signal.getsignal(signal.SIGTERM) is before
    assert report.interrupted
    assert report.made == (0, 1)
    assert f"To go on: keybed extract {store_path} --workers 0" in "\n".join(report.lines())
    assert not list((store_path / "claims").iterdir())
    assert not list((store_path / "logs").glob("*.failed.json"))
    assert not extract(ExtractConfig(store_path, workers=0)).interrupted
    assert content(store_path) == content(filled)


def test_the_command_that_goes_on_has_every_option_quoted(filled: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(filled, tmp_path / "q u'o"))
    paths = {"weights/mert": "my weights", "soundfont": "s.sf2"}
    report = extract(ExtractConfig(store, task=1, tasks=2, scratch=tmp_path / "s s", workers=3, paths=paths))
    assert shlex.split(report.again) == [
        *("keybed", "extract", str(store), "--task", "1", "--tasks", "2", "--scratch", str(tmp_path / "s s")),
        *("--workers", "3", "--mert-weights", "my weights", "--soundfont", "s.sf2"),
    ]
    assert f"next: {shlex.join(['keybed', 'verify', str(store)])}, then" in "\n".join(report.lines())


def test_rows_wait_for_nobody_once_stopped(store_path: Path) -> None:
    store = stores.open(store_path)
    asked = threading.Event()
    with RowPool(render_config(store, store.machine_paths), 0) as pool:
        rows = ShardRows(store, 0, pool, stop=asked.is_set)
        assert rows[0] is not None
        asked.set()
        with pytest.raises(Stopped):
            encode_shard(rows, [build(spec, None) for spec in store.recipe.encoders])
        rows.close()


def test_an_error_is_logged_and_stops_the_task(store_path: Path) -> None:
    notes = next(iter(sorted((store_path / "notes").iterdir())))
    notes.write_bytes(notes.read_bytes()[:100])
    with pytest.raises(Exception, match="damaged notes file"):
        extract(ExtractConfig(store_path, workers=0))
    logged = [json.loads(path.read_bytes())["reason"] for path in (store_path / "logs").glob("*.failed.json")]
    assert any("damaged notes file" in reason for reason in logged)
    assert not list((store_path / "claims").iterdir())


def runs(pid: str) -> bool:
    """Whether there is such a process; a zombie that nobody has buried yet does not run."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_render_processes_load_no_torch_and_die_with_their_parent(store_path: Path) -> None:
    script = f"""
import sys, time
from pathlib import Path
from keybed import store as stores
from keybed.extract.run.check_recipe import render_config
from keybed.extract.run.row_maker import segment_jobs
from keybed.extract.run.row_pool import RowPool
if __name__ == "__main__":
    store = stores.open(Path({str(store_path)!r}))
    with RowPool(render_config(store, store.machine_paths), 1) as pool:
        pool.submit(segment_jobs(store.columns(0, 4))[0]).result()
        worker, = pool._pool._processes
        mapped = Path(f"/proc/{{worker}}/maps").read_text()
        print(worker, "libtorch" in mapped, "torch" in sys.modules, flush=True)
        time.sleep(600)
"""
    path = store_path.parent / "parent.py"
    path.write_text(script)
    parent = subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker, has_torch, parent_has_torch = parent.stdout.readline().split()
    assert (has_torch, parent_has_torch) == ("False", "False")
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 60
    while runs(worker):
        assert time.monotonic() < deadline, "it outlived its parent"
        time.sleep(0.1)


def test_recorded_sound_that_is_absent_or_short_fails_its_rows_alone(tiny_corpus: Path, tmp_path: Path) -> None:
    corpus = Path(shutil.copytree(tiny_corpus, tmp_path / "corpus"))
    whole, short, *absent = sorted(corpus.rglob("*.midi"))
    noise = np.random.default_rng(0).normal(0, 0.05, (int(44_100 * 44.5), 2))
    soundfile.write(whole.with_suffix(".wav"), noise, 44_100)
    soundfile.write(short.with_suffix(".wav"), noise[: 44_100 * 15], 44_100)
    settings = {"limit": 12, "encoders": PLACEHOLDERS, "shard_rows": 16, "jobs": 1}
    report = plan(PlanConfig(corpus, tmp_path / "store", audio="recorded", **settings))  # type: ignore[arg-type]
    assert sum("no such file" in problem for problem in report.problems) == len(absent)
    assert sum("15.0 s of sound" in problem for problem in report.problems) == 1
    extract(ExtractConfig(tmp_path / "store", workers=0))
    store = stores.open(tmp_path / "store")
    rows = store.rows(status=None)
    stems = {entry["recording"]: Path(entry["midi"]).stem for entry in store.recordings}
    expected = [
        Status.OK
        if stems[recording] == whole.stem or (stems[recording] == short.stem and start_s <= 5)
        else Status.AUDIO_TOO_SHORT
        if stems[recording] == short.stem
        else Status.AUDIO_UNREADABLE
        for recording, start_s in zip(rows.recording, rows.start_s, strict=True)
    ]
    assert set(expected) == {Status.OK, Status.AUDIO_TOO_SHORT, Status.AUDIO_UNREADABLE}
    assert rows.status.tolist() == expected
    attributes = json.loads((store.path / "features.zarr" / "zarr.json").read_text())["attributes"]
    for recipe in (store.recipe.to_json(), attributes["keybed"]["recipe"]):
        assert recipe["audio"]["source"] == "recorded"
        assert "tone alone is audible" in recipe["audio"]["audible"]
    (corpus / "maestro-v3.0.0.csv").unlink()
    shutil.rmtree(corpus)
    with pytest.raises(NotAsPlanned, match="--maestro FOLDER"):
        recomputer(store)


def test_every_encoders_self_check_is_in_the_log_and_on_the_terminal(tiny_corpus: Path, tmp_path: Path) -> None:
    plan(PlanConfig(tiny_corpus, tmp_path / "store", limit=1, encoders=("logmel", "expressive"), jobs=1))
    report = extract(ExtractConfig(tmp_path / "store", workers=0))
    (log,) = [json.loads(path.read_bytes()) for path in (tmp_path / "store" / "logs").glob("*.json")]
    assert set(log["self_check"]) == {"logmel"}
    assert 0 < log["self_check"]["logmel"]["layers"] < 1e-5
    assert "self-check of logmel: float32 is within" in "\n".join(report.lines())
