from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path, PurePosixPath

import numpy as np
import pretty_midi
import pytest
import soundfile

from keybed import store as stores
from keybed.extract.config import ExportConfig, PlanConfig
from keybed.extract.export.archive import FOLDER, ExportError, export, from_window_start
from keybed.extract.music.performance import Performance
from keybed.extract.planning.plan import plan
from keybed.extract.run.check_recipe import render_config
from keybed.extract.run.row_maker import RowMaker, segment_jobs
from keybed.store.errors import NoDiskSpace
from keybed.store.format.vocabulary import DIMENSIONS, TIERS
from tests.extract.conftest import PLACEHOLDERS

Unpacked = tuple[Path, list[dict]]


@pytest.fixture(scope="module")
def unpacked(planned_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Unpacked:
    folder = tmp_path_factory.mktemp("exported")
    report = export(ExportConfig(planned_store, folder / "out.tar.gz", workers=0))
    assert (report.n_rows, report.n_failed) == (40, 0)
    assert f"{report.sha256}  out.tar.gz\n" == (folder / "out.tar.gz.sha256").read_text()
    assert hashlib.sha256((folder / "out.tar.gz").read_bytes()).hexdigest() == report.sha256
    with tarfile.open(folder / "out.tar.gz") as tar:
        tar.extractall(folder, filter="data")
    inside = folder / FOLDER
    return inside, [json.loads(line) for line in (inside / "labels.jsonl").read_text().splitlines()]


def test_round_trip_without_path_fixing(unpacked: Unpacked, planned_store: Path) -> None:
    folder, labels = unpacked
    store = stores.open(planned_store)
    maker = RowMaker(render_config(store, store.machine_paths))
    made = [row for job in segment_jobs(store.columns(0, 40)) for row in maker.make(job)]
    assert len(labels) == 40
    for label, row in zip(labels, made, strict=True):
        audio, rate = soundfile.read(folder / label["audio"], dtype="float32")
        assert (rate, audio.shape) == (24_000, (240_000,))
        assert soundfile.info(folder / label["audio"]).subtype == "PCM_16"
        np.testing.assert_allclose(audio, row.audio, atol=1.01 / 32768)
        (piano,) = pretty_midi.PrettyMIDI(str(folder / label["midi"])).instruments
        onsets = sorted(note.start for note in piano.notes)
        expected = row.variant.performance.onset_s[row.variant.performance.onset_s >= 0]
        assert label["n_notes"] == row.variant.n_notes
        late = np.round(expected * 960) / 960 > 0.01
        np.testing.assert_allclose([t for t in onsets if t > 0.01], expected[late], atol=0.002)
        for i, name in enumerate(DIMENSIONS):
            assert label["score"][name] == pytest.approx(row.variant.score[i], rel=1e-6)
            assert label["valid"][name] == row.variant.valid[i]


def test_every_file_is_summed_named_safely_and_labelled(unpacked: Unpacked) -> None:
    folder, labels = unpacked
    sums = dict(reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines())
    by_name = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    assert set(sums) == set(by_name) - {"SHA256SUMS"}
    for name, path in by_name.items():
        assert name == "SHA256SUMS" or hashlib.sha256(path.read_bytes()).hexdigest() == sums[name]
        assert name.isascii()
        assert ".." not in PurePosixPath(name).parts
    files = [label[kind] for label in labels for kind in ("midi", "audio")]
    assert len(set(files)) == 80
    assert {name for name in by_name if name.startswith(("midi/", "audio/"))} == set(files)
    assert {label["tier"] for label in labels} == set(TIERS)
    split_of = {}
    for label in labels:
        assert split_of.setdefault(label["piece"], label["split"]) == label["split"]
    text = (folder / "README.md").read_text()
    for words in (
        "CC BY-NC-SA",
        "rhythmic_stability",
        "onset",
        "seed 0",
        "97.5",
        "in step",
        "only the pedal still holds",
    ):
        assert words in text


def test_what_only_the_pedal_holds_from_before_is_left_out_of_the_midi() -> None:
    """Three notes from before 0: let go under the pedal, still held, and one inside; the pedal in force opens the file."""
    p = Performance(
        np.array([-1.5, -1.0, 0.5]),
        np.array([-1.2, 0.4, 0.9]),
        np.array([50, 60, 70], np.int16),
        np.array([80, 81, 82], np.int16),
        np.array([-1.8, -0.2, 0.7]),
        np.array([127, 100, 0], np.int16),
    )
    cut = from_window_start(p)
    assert cut.pitch.tolist() == [60, 70]
    assert cut.onset_s.tolist() == [0.0, 0.5]
    assert cut.pedal_s.tolist() == [0.0, 0.7]
    assert cut.pedal_value.tolist() == [100, 0]


def test_the_same_bytes_again_and_with_processes(planned_store: Path, tmp_path: Path) -> None:
    reports = [
        export(ExportConfig(planned_store, tmp_path / f"{workers}.tar.gz", limit=6, workers=workers))
        for workers in (0, 2)
    ]
    assert reports[0].sha256 == reports[1].sha256
    with tarfile.open(tmp_path / "0.tar.gz") as tar:
        assert {(m.mtime, m.uid, m.gid, m.uname, m.mode) for m in tar.getmembers()} == {(0, 0, 0, "", 0o644)}


def test_tiers_limit_and_wav(planned_store: Path, tmp_path: Path) -> None:
    config = ExportConfig(
        planned_store, tmp_path / "o.tar.gz", limit=3, tiers=("poor", "pristine"), audio_format="wav", workers=0
    )
    assert export(config).n_rows == 3
    with tarfile.open(tmp_path / "o.tar.gz") as tar:
        names = tar.getnames()
        labels = [json.loads(line) for line in tar.extractfile(f"{FOLDER}/labels.jsonl").read().splitlines()]  # type: ignore[union-attr]
        wav = tar.extractfile(f"{FOLDER}/{labels[0]['audio']}").read()  # type: ignore[union-attr]
    assert [label["tier"] for label in labels] == ["pristine", "poor", "pristine"]
    assert len({label["segment"] for label in labels}) == 2
    assert sum(name.endswith(".wav") for name in names) == 3
    assert soundfile.info(io.BytesIO(wav)).frames == 240_000


def test_failed_rows_are_labelled_and_have_no_files(
    planned_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stores.open(planned_store)
    entries = store.recordings
    entries[store.columns(0, 1)["recording"][0]]["midi_problem"] = "2004/x.midi: cut short"
    monkeypatch.setattr(stores.Store, "recordings", entries)
    report = export(ExportConfig(planned_store, tmp_path / "o.tar.gz", limit=4, workers=0))
    assert report.n_failed == 4
    with tarfile.open(tmp_path / "o.tar.gz") as tar:
        assert len(tar.getnames()) == 4
        (label, *_) = [json.loads(x) for x in tar.extractfile(f"{FOLDER}/labels.jsonl").read().splitlines()]  # type: ignore[union-attr]
    assert (label["status"], label["reason"], label["midi"]) == ("MIDI_UNREADABLE", "2004/x.midi: cut short", None)
    assert label["score"]["note_accuracy"] is None


def test_refusals_leave_nothing_behind(planned_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there.tar.gz").touch()
    for config, message in (
        (ExportConfig(planned_store, tmp_path / "there.tar.gz"), "exists"),
        (ExportConfig(planned_store, tmp_path / "no" / "o.tar.gz"), "no such folder"),
        (ExportConfig(planned_store, tmp_path / "o.tar.gz", tiers=("superb",)), "tier superb"),
        (
            ExportConfig(planned_store, tmp_path / "o.zip"),
            r"o\.zip: the archive is a gzipped tar file; .*\.tar\.gz or \.tgz",
        ),
        (ExportConfig(planned_store, tmp_path / "o"), "gzipped tar file"),
    ):
        with pytest.raises(ExportError, match=message):
            export(config)
    import shutil

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("keybed.extract.export.archive.shutil.disk_usage", lambda folder: usage._replace(free=1000))
    with pytest.raises(NoDiskSpace, match="40 rows may need"):
        export(ExportConfig(planned_store, tmp_path / "o.tar.gz"))
    assert [entry.name for entry in tmp_path.iterdir()] == ["there.tar.gz"]


def test_both_renderers_can_be_compared_by_ear(planned_store: Path, tmp_path: Path) -> None:
    export(ExportConfig(planned_store, tmp_path / "both.tar.gz", limit=4, renderer="both", workers=0))
    with tarfile.open(tmp_path / "both.tar.gz") as tar:
        tar.extractall(tmp_path, filter="data")
    folder = tmp_path / FOLDER
    labels = [json.loads(line) for line in (folder / "labels.jsonl").read_text().splitlines()]
    assert len(labels) == 4
    for label in labels:
        bank, played = (soundfile.read(folder / label[name])[0] for name in ("audio", "audio-fluidsynth"))
        assert 0 < np.linalg.norm(bank - played) < 0.02 * np.linalg.norm(played)
    assert "audio-fluidsynth/" in (folder / "README.md").read_text()


def test_both_renderers_need_a_note_bank(tiny_corpus: Path, tmp_path: Path) -> None:
    played = tmp_path / "played"
    plan(PlanConfig(tiny_corpus, played, limit=2, encoders=PLACEHOLDERS, jobs=1, renderer="fluidsynth"))
    with pytest.raises(ExportError, match=r"--renderer both: .* was not planned with a note bank"):
        export(ExportConfig(played, tmp_path / "out.tar.gz", renderer="both", workers=0))
