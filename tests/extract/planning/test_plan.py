from __future__ import annotations

import csv
import errno
import json
import os
import re
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile

from keybed import store as stores
from keybed.extract.audio.fluidsynth import NotASoundfont
from keybed.extract.audio.render import default_soundfont
from keybed.extract.config import PlanConfig
from keybed.extract.corpus.metadata import read_corpus
from keybed.extract.degrade import draw_levels
from keybed.extract.planning.plan import PlanError, dry_run, plan
from keybed.store.errors import NoDiskSpace, NotAStore, RecipeMismatch
from keybed.store.format.vocabulary import SPLITS, Status

PLACEHOLDERS = ("placeholder-audio", "placeholder-midi")
ALL_ENCODERS = ("mert", "midibert", "logmel", "expressive")


def config_for(corpus: Path, store: Path, **changes: object) -> PlanConfig:
    defaults: dict[str, object] = {"encoders": PLACEHOLDERS, "limit": 10, "shard_rows": 8, "jobs": 1}
    return PlanConfig(corpus, store, **{**defaults, **changes})  # type: ignore[arg-type]


def rewritten(corpus: Path, target: Path, change: dict[str, dict[str, str]]) -> Path:
    """A copy of the corpus whose CSV lines are changed by MIDI name."""
    shutil.copytree(corpus, target)
    path = target / "maestro-v3.0.0.csv"
    lines = list(csv.DictReader(path.read_text().splitlines()))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, lines[0])
        writer.writeheader()
        for line in lines:
            writer.writerow({**line, **change.get(line["midi_filename"], {})})
    return target


def midi_names(corpus: Path) -> list[str]:
    return [line["midi_filename"] for line in csv.DictReader((corpus / "maestro-v3.0.0.csv").read_text().splitlines())]


def test_full_maestro_from_metadata_alone(shared_data: Path, tmp_path: Path) -> None:
    csv_path = shared_data / "maestro-v3.0.0.csv"
    report = dry_run(
        PlanConfig(csv_path, tmp_path / "store", encoders=ALL_ENCODERS, metadata_only=True, check_disk_space=False)
    )
    assert (report.n_recordings, report.n_segments, report.n_rows) == (1276, 113_934, 455_736)
    assert report.estimate.n_shards == 446  # ceil(455736 / 1024)
    assert report.estimate.array_bytes["audio/mert/layers"] == 455_736 * 2 * 13 * 768 * 2
    assert report.estimate.array_bytes["audio/mert/frames"] == 455_736 * 20 * 2 * 768 * 2
    assert report.estimate.total_bytes <= 90e9
    assert report.estimate.n_files < 20_000
    assert 1 <= report.estimate.tasks <= 1000
    text = "\n".join(report.lines())
    for words in (
        "113,934 segments",
        "455,736 rows",
        "GPU-hours",
        "CPU-core-hours",
        "inodes",
        "K. 466",
        "rows/s per core",
    ):
        assert words in text
    assert not (tmp_path / "store").exists()


def test_full_maestro_from_metadata_alone_takes_little_memory(shared_data: Path, tmp_path: Path) -> None:
    command = (
        "import sys\n"
        "from pathlib import Path\n"
        "from keybed.extract.config import PlanConfig\n"
        "from keybed.extract.planning.plan import dry_run\n"
        f"dry_run(PlanConfig(Path(sys.argv[1]), Path(sys.argv[2]), encoders={ALL_ENCODERS!r}, metadata_only=True, check_disk_space=False))\n"
        "print(next(x.split()[1] for x in Path('/proc/self/status').read_text().splitlines() if x.startswith('VmHWM')))\n"
    )
    # Not ru_maxrss: a child is born with its parent's, and the tests before this one may have been large.
    arguments = [str(shared_data / "maestro-v3.0.0.csv"), str(tmp_path / "store")]
    done = subprocess.run([sys.executable, "-c", command, *arguments], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2_000_000  # KiB


def test_metadata_only_cannot_make_a_store(tiny_corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="--dry-run"):
        plan(config_for(tiny_corpus, tmp_path / "store", metadata_only=True))


def test_the_planned_columns(planned_store: Path) -> None:
    store = stores.open(planned_store)
    columns = store.columns(0, store.n_rows)
    assert (store.n_rows, store.n_shards) == (40, 5)
    # Of 10, 4 and 5 windows, ten in proportion are 5.3, 2.1 and 2.6.
    assert store.splits == {"train": (0, 20), "validation": (20, 28), "test": (28, 40)}
    assert np.array_equal(columns["tier"], np.tile(np.arange(4), 10))
    recordings = store.recordings
    for row in range(store.n_rows):
        entry = recordings[columns["recording"][row]]
        assert entry["piece"] == columns["piece"][row]
        assert SPLITS.index(entry["split"]) == columns["split"][row]
        assert store.notes_path(int(columns["recording"][row])).is_file()
        expected = draw_levels(
            0, int(columns["recording"][row]), float(columns["start_s"][row]), int(columns["tier"][row]), "mixed"
        )
        np.testing.assert_array_equal(columns["level_drawn"][row], expected)


def test_the_recipe_names_no_place(planned_store: Path, tiny_corpus: Path) -> None:
    store = stores.open(planned_store)
    text = json.dumps(store.recipe.to_json())
    assert str(tiny_corpus) not in text
    assert "/" not in str(store.recipe.audio["soundfont"])
    assert store.machine_paths["maestro"] == str(tiny_corpus)
    assert Path(store.machine_paths["soundfont"]).is_file()


def test_planning_again_changes_nothing_and_otherwise_is_refused(tiny_corpus: Path, tmp_path: Path) -> None:
    plan(config_for(tiny_corpus, tmp_path / "store"))
    before = {p: p.read_bytes() for p in sorted((tmp_path / "store").rglob("*")) if p.is_file()}
    plan(config_for(tiny_corpus, tmp_path / "store"))
    assert before == {p: p.read_bytes() for p in sorted((tmp_path / "store").rglob("*")) if p.is_file()}
    with pytest.raises(RecipeMismatch, match=r"degradation\.seed"):
        plan(config_for(tiny_corpus, tmp_path / "store", seed=1))
    with pytest.raises(RecipeMismatch, match=r"segments\.limit"):
        plan(config_for(tiny_corpus, tmp_path / "store", limit=9))


def test_a_changed_midi_file_is_another_recipe(tiny_corpus: Path, tmp_path: Path) -> None:
    corpus = rewritten(tiny_corpus, tmp_path / "corpus", {})
    plan(config_for(corpus, tmp_path / "store"))
    midi = corpus / midi_names(corpus)[0]
    midi.write_bytes(midi.read_bytes().replace(b"\x90", b"\x91"))
    with pytest.raises(RecipeMismatch, match="midi_sha256"):
        plan(config_for(corpus, tmp_path / "store"))


def test_bad_midi_keeps_its_rows_and_is_reported(tiny_corpus: Path, tmp_path: Path) -> None:
    corpus = rewritten(tiny_corpus, tmp_path / "corpus", {})
    absent, empty, truncated, other = (corpus / name for name in midi_names(corpus))
    absent.unlink()
    empty.write_bytes(b"")
    truncated.write_bytes(truncated.read_bytes()[: truncated.stat().st_size // 2])
    other.write_bytes(b"RIFF, this is no MIDI file at all")
    report = plan(config_for(corpus, tmp_path / "store", limit=None))
    assert report.n_recordings_used == 4
    assert len(report.problems) == 4
    reasons = ("No such file", "an empty file", "cut short", "not a MIDI file")
    for path, words, problem in zip((absent, empty, truncated, other), reasons, report.problems, strict=True):
        assert problem.startswith(f"{path.parent.name}/{path.name}: {words}")
        assert str(corpus) not in problem
    assert all(problem in "\n".join(report.lines()) for problem in report.problems)
    entries = stores.open(tmp_path / "store").recordings
    assert [bool(entry["midi_problem"]) for entry in entries] == [True] * 4
    assert entries[0]["midi_sha256"] == "absent"


def test_files_that_may_not_or_cannot_be_opened_are_rows_like_unreadable_files(
    tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked, pipe, long_name, _ = midi_names(tiny_corpus)
    changes = {long_name: {"midi_filename": "2004/" + "n" * 306 + ".midi"}}
    corpus = rewritten(tiny_corpus, tmp_path / "corpus", changes)
    (corpus / pipe).unlink()
    os.mkfifo(corpus / pipe)
    stat = Path.stat

    def denied(path: Path, **settings: bool) -> os.stat_result:
        if path.name == Path(locked).name:  # as in a folder without the x bit, which root could search nevertheless
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, **settings)

    monkeypatch.setattr(Path, "stat", denied)
    report = plan(config_for(corpus, tmp_path / "store", limit=None))
    assert report.n_recordings_used == 4
    reasons = ("Permission denied", "a named pipe, socket or device, not a file; it was not read", "File name too long")
    assert [problem.partition(": ")[2] for problem in report.problems] == list(reasons)
    entries = stores.open(tmp_path / "store").recordings
    assert [bool(entry["midi_problem"]) for entry in entries] == [True, True, True, False]


def test_equal_files_under_two_titles_are_one_piece_and_a_line_of_the_report(tiny_corpus: Path, tmp_path: Path) -> None:
    first, _, third, last = midi_names(tiny_corpus)
    corpus = rewritten(tiny_corpus, tmp_path / "corpus", {})
    shutil.copyfile(corpus / first, corpus / last)
    before, after = (dry_run(config_for(folder, tmp_path / "s")) for folder in (tiny_corpus, corpus))
    assert before.pieces.equal_files == ()
    (line,) = after.pieces.equal_files
    assert line.startswith(f"{first} = {last} (")
    assert f"  {line}" in after.lines()
    assert len(after.pieces.names) == len(before.pieces.names) - 1
    # All files are compared, used or not, and a file that no row uses is part of the corpus hash.
    plan(config_for(tiny_corpus, tmp_path / "store", limit=3))
    assert (
        not stores.open(tmp_path / "store").recordings[0]["used"]
        or not stores.open(tmp_path / "store").recordings[3]["used"]
    )
    assert dry_run(config_for(corpus, tmp_path / "s", limit=1)).pieces.equal_files == (line,)
    assert third in {entry["midi"] for entry in stores.open(tmp_path / "store").recordings}


def test_names_in_another_unicode_composition_are_found(tiny_corpus: Path, tmp_path: Path) -> None:
    first, *_ = midi_names(tiny_corpus)
    nfc, nfd = (unicodedata.normalize(form, "2004/Après une lecture.midi") for form in ("NFC", "NFD"))
    corpus = rewritten(tiny_corpus, tmp_path / "corpus", {first: {"midi_filename": nfc}})
    (corpus / nfd).parent.mkdir(exist_ok=True)
    (corpus / first).rename(corpus / nfd)
    assert plan(config_for(corpus, tmp_path / "store", limit=None)).problems == ()


def test_notes_left_out_are_a_line_of_the_report(tiny_corpus: Path, tmp_path: Path) -> None:
    corpus = rewritten(tiny_corpus, tmp_path / "corpus", {})
    first = corpus / midi_names(corpus)[0]
    file = mido.MidiFile(first)
    strings = [mido.Message("program_change", program=48, channel=3)]
    strings += [mido.Message("note_on", note=60 + i, velocity=50, channel=3) for i in range(5)]
    file.tracks.append(mido.MidiTrack(strings))
    file.save(first)
    report = plan(config_for(corpus, tmp_path / "store", limit=None))
    n_notes = stores.open(tmp_path / "store").recordings[0]["n_notes"]
    (line,) = report.problems
    assert line == f"{midi_names(corpus)[0]}: 5 of {n_notes + 5:,} notes are left out: 5 of other instruments"
    assert f"  {line}" in report.lines()


def test_sound_that_is_longer_or_shorter_than_the_csv_says_is_reported(tiny_corpus: Path, tmp_path: Path) -> None:
    corpus = rewritten(tiny_corpus, tmp_path / "corpus", {})
    recordings = read_corpus(corpus).recordings
    for recording, extra_s in zip(recordings, (0.0, 1.9, 60.0, -5.0), strict=True):
        (corpus / recording.audio).parent.mkdir(exist_ok=True)
        soundfile.write(corpus / recording.audio, np.zeros(round((recording.duration_s + extra_s) * 8000)), 8000)
    longer, shorter = dry_run(config_for(corpus, tmp_path / "store", limit=None, audio="recorded")).problems
    assert longer.startswith(f"{recordings[2].audio}: {recordings[2].duration_s + 60:.1f} s of sound for ")
    assert longer.endswith("the last 60.0 s of the sound are in none")
    assert shorter.startswith(f"{recordings[3].audio}: {recordings[3].duration_s - 5:.1f} s of sound for ")


def test_a_folder_without_any_of_its_files_is_a_wrong_folder(tiny_corpus: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "metadata"
    corpus.mkdir()
    shutil.copy(tiny_corpus / "maestro-v3.0.0.csv", corpus)
    with pytest.raises(PlanError, match=r"metadata: none of the 4 MIDI files named in maestro-v3.0.0.csv exists"):
        plan(config_for(corpus, tmp_path / "store"))
    with pytest.raises(PlanError, match=r"none of the 4 sound files .* --audio rendered"):
        plan(config_for(tiny_corpus, tmp_path / "store", audio="recorded"))
    assert not (tmp_path / "store").exists()


def test_nothing_is_planned_into_what_is_no_store(tiny_corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    steps: list[str] = []
    for name, message in (("a file", "is a file; give the store"), ("photos", "holds other files and is not a store")):
        with pytest.raises(NotAStore, match=message):
            plan(config_for(tiny_corpus, tmp_path / name), lambda what, done, total: steps.append(what))
    assert steps == [], "refused before any work"
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["cat.jpg"]
    (tmp_path / "empty").mkdir()
    plan(config_for(tiny_corpus, tmp_path / "empty"))
    assert stores.open(tmp_path / "empty").n_rows == 40


def test_a_soundfont_cut_short_is_found_when_planning(tiny_corpus: Path, tmp_path: Path) -> None:
    hollow = tmp_path / "hollow.sf2"
    hollow.write_bytes(default_soundfont().read_bytes()[:4000])
    with pytest.raises(NotASoundfont, match=r"hollow\.sf2: not a soundfont with a piano"):
        plan(config_for(tiny_corpus, tmp_path / "store", soundfont=hollow))
    assert not (tmp_path / "store").exists()


def test_durations_that_disagree_and_recordings_too_short_are_reported(tiny_corpus: Path, tmp_path: Path) -> None:
    first, second, third, *_ = midi_names(tiny_corpus)
    changes = {first: {"duration": "9.5"}, second: {"duration": "70.0"}, third: {"duration": "20.0"}}
    corpus = rewritten(tiny_corpus, tmp_path / "corpus", changes)
    report = plan(config_for(corpus, tmp_path / "store", limit=None))
    assert report.too_short == (f"{first}: 9.5 s",)
    longer, shorter = report.problems
    assert "the CSV says 70.0 s" in longer
    assert "without notes become rows with status NO_NOTES" in longer
    assert "the CSV says 20.0 s" in shorter
    assert re.search(r"the last \d\d\.\d s of the MIDI are in none", shorter)
    columns = stores.open(tmp_path / "store").columns(0, report.n_rows)
    assert 0 not in columns["recording"]
    assert columns["start_s"].max() == pytest.approx(9 * 6.2)


def test_float32_is_named_with_what_it_costs(tiny_corpus: Path, tmp_path: Path) -> None:
    both = {"encoders": ("mert", "expressive"), "weights": {"mert": "random:tiny"}}
    lines = {
        d: dry_run(config_for(tiny_corpus, tmp_path / "s", **both, compute_dtype=d)).lines()
        for d in ("float32", "bfloat16")
    }
    assert [line for line in lines["float32"] if line.startswith("arithmetic: float32 for mert; `--dtype bfloat16`")]
    assert not [line for line in lines["bfloat16"] if line.startswith("arithmetic")]


def test_nothing_long_enough(tiny_corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="no recording is as long"):
        plan(config_for(tiny_corpus, tmp_path / "store", window_s=500.0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"profile": "harsh"}, "profile 'harsh'"),
        ({"limit": 0}, "--limit 0"),
        ({"shard_rows": 6}, "--shard-rows 6"),
        ({"window_s": 0.0}, "--window 0: must be a number of seconds, at least 1"),
        ({"window_s": float("nan")}, "--window nan"),
        ({"hop_s": 0.0}, "--hop 0: must be a number of seconds above 0"),
        ({"hop_s": float("inf")}, "--hop inf"),
        ({"n_bins": 0}, "--bins 0"),
        ({"n_bins": 101}, r"--bins 101: must be from 1 to 100, so that a bin of a window of 10 s"),
        ({"encoders": ("placeholder-midi", "placeholder-midi")}, "named twice"),
    ],
)
def test_settings_that_cannot_be_meant(
    tiny_corpus: Path, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(PlanError, match=message):
        plan(config_for(tiny_corpus, tmp_path / "store", **changes))
    assert not (tmp_path / "store").exists()


def test_a_disk_without_room(tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(
        "keybed.extract.planning.disk_space.shutil.disk_usage", lambda folder: usage._replace(free=10_000)
    )
    with pytest.raises(NoDiskSpace, match=r"0\.01 MB free, but .* may need \d\.\d\d MB more"):
        plan(config_for(tiny_corpus, tmp_path / "store"))
    assert not (tmp_path / "store").exists()
    lines = dry_run(config_for(tiny_corpus, tmp_path / "store")).lines()
    assert any(line.startswith("NOT ENOUGH DISK SPACE: ") for line in lines)
    plan(config_for(tiny_corpus, tmp_path / "store", check_disk_space=False))


def test_no_room_for_the_notes_that_are_read_is_said_in_words(
    tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("keybed.extract.corpus.parse.save_notes", full)
    with pytest.raises(NoDiskSpace, match=r"no disk space left .* while writing .*keybed-notes-"):
        plan(config_for(tiny_corpus, tmp_path / "store"))
    assert not (tmp_path / "store").exists()


def test_one_and_several_processes_plan_the_same(tiny_corpus: Path, tmp_path: Path) -> None:
    # 8 recordings are the least that are worth a pool.
    from keybed.extract.demo.corpus import write_demo_corpus

    corpus = write_demo_corpus(tmp_path / "corpus", n_pieces=4, n_players=2, seconds=24)
    for jobs in (1, 2):
        plan(config_for(corpus, tmp_path / f"store{jobs}", limit=None, jobs=jobs))
    one, two = (
        {
            p.relative_to(tmp_path / f"store{n}"): p.read_bytes()
            for p in (tmp_path / f"store{n}").rglob("*")
            if p.is_file()
        }
        for n in (1, 2)
    )
    assert one == two


def test_an_empty_store_knows_nothing_yet(planned_store: Path) -> None:
    store = stores.open(planned_store)
    assert store.committed == frozenset()
    assert Status.NOT_MADE == 255
