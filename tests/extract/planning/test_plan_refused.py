"""Plans that are refused before anything is made."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from keybed import store as stores
from keybed.extract.audio.fluidsynth import NotASoundfont
from keybed.extract.audio.render import default_soundfont
from keybed.extract.planning.plan import PlanError, dry_run, plan
from keybed.store.errors import NoDiskSpace, NotAStore
from tests.extract.planning.small_plans import config_for


def test_metadata_only_cannot_make_a_store(tiny_corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="--dry-run"):
        plan(config_for(tiny_corpus, tmp_path / "store", metadata_only=True))


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
