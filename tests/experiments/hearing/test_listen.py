"""The page of `keybed listen`: what stands on it, and what it refuses."""

import base64
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from keybed import store as stores
from keybed.experiments.cli.main import main
from keybed.experiments.hearing.config import ListenConfig
from keybed.experiments.hearing.listen import CannotListen, listen
from keybed.experiments.hearing.row_remaking import RowLost, RowRemaker
from keybed.extract.run.check_recipe import NotAsPlanned


def scripts(page: str, kind: str) -> dict[str, str]:
    found = re.findall(rf'<script type="{kind}"[^>]*?(?:id|data-for)="([^"]+)">(.*?)</script>', page, re.DOTALL)
    return dict(found)


@pytest.fixture(scope="module")
def page(finished_placeholder_store, tmp_path_factory) -> str:
    out = tmp_path_factory.mktemp("hear")
    report = listen(ListenConfig(finished_placeholder_store, out, axes=("timing", "notes", "pedal")))
    assert report.n_clips == 12
    assert report.without == ()
    assert report.page == out / "index.html"
    return report.page.read_text()


def test_the_page_needs_nothing_from_elsewhere(page):
    assert not re.search(r"""(src|href)=["'](?!#)|url\(|@import|fetch\(|XMLHttp""", page)
    assert "default-src 'none'" in page


def test_every_clip_has_its_sound_and_its_roll(page, finished_placeholder_store):
    store = stores.open(finished_placeholder_store)
    remaker = RowRemaker(store)
    sounds, data = scripts(page, "text/plain"), scripts(page, "application/json")
    assert len(sounds) == 12
    timing = json.loads(data["timing"])
    numbers = [int(n) for n in re.findall(r"row (\d+), tier", page.split('id="timing"')[1].split("</section>")[0])]
    first = 4 * (numbers[0] // 4)
    numbers = [next(n for n in range(first, first + 4) if n not in numbers), *numbers]
    for number, name, roll in zip(numbers, timing["sounds"], timing["rolls"], strict=True):
        row = remaker.planned(number)
        stages = remaker.stages(row)
        audio, rate = soundfile.read(io.BytesIO(base64.b64decode(sounds[name])), dtype="float32")
        assert rate == 24_000
        np.testing.assert_allclose(audio, remaker.sound(row, stages.variant).audio, atol=1.01 / 32768)
        struck = sum(0 <= on < roll["ms"] for on, *_ in roll["notes"])
        assert struck >= stages.variant.n_notes  # notes that sound from before are drawn at 0
        marked = sum(mark != 0 for *_, mark in roll["notes"])
        assert marked == len(stages.marks("timing")[0])


def test_the_words_stand_beside_the_scores(page):
    text = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert text.count("pristine · score 97.5") == 3
    assert re.search(r"\d+ of \d+ onsets moved by more than 40 ms", text)
    assert "Rhythmic stability (axis timing)" in text


def test_one_axis_alone_has_no_other_changes(finished_placeholder_store, tmp_path):
    listen(ListenConfig(finished_placeholder_store, tmp_path, axes=("dynamics",), alone=True))
    page = (tmp_path / "index.html").read_text()
    assert "Other axes of this row" not in page
    shown = [float(score) for score in re.findall(r"</kbd> (?:pristine · )?score ([\d.]+)", page)]
    assert shown == pytest.approx([97.5, 87.5, 72.5, 57.5], abs=1.5)


def test_a_store_that_is_not_filled_is_heard_from_its_plan(planned_placeholder_store, tmp_path):
    listen(ListenConfig(planned_placeholder_store, tmp_path, axes=("tone",)))
    assert "15 of 15 shards of this store are not extracted yet" in (tmp_path / "index.html").read_text()


def test_what_cannot_be_heard_is_refused(finished_placeholder_store, tmp_path, capsys):
    with pytest.raises(CannotListen, match="--axis rythm: choose of notes, timing"):
        listen(ListenConfig(finished_placeholder_store, tmp_path / "out", axes=("rythm",)))
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("")
    assert main(["listen", str(finished_placeholder_store), "--out", str(tmp_path / "file")]) == 1
    assert "is a file; give a folder" in capsys.readouterr().err


def test_an_absent_note_bank_whose_soundfont_is_absent_too_is_named(finished_placeholder_store, tmp_path, capsys):
    store = tmp_path / "store"
    shutil.copytree(finished_placeholder_store, store)
    places = json.loads((store / "places.json").read_text())
    places |= {"note-bank": str(tmp_path / "gone.bank"), "soundfont": str(tmp_path / "gone.sf2")}
    (store / "places.json").write_text(json.dumps(places))
    assert main(["listen", str(store), "--out", str(tmp_path / "out"), "--note-bank", places["note-bank"]]) == 1
    assert f"{places['soundfont']}: No such file or directory" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def recorded_store(keybed, tiny_maestro, tmp_path_factory) -> Path:
    """A planned store whose audio is recorded: 30 s of a decaying chord for every recording."""
    folder = tmp_path_factory.mktemp("recorded")
    corpus = folder / "corpus"
    shutil.copytree(tiny_maestro, corpus)
    seconds = np.arange(31 * 24_000) / 24_000
    sound = 0.2 * np.sin(2 * np.pi * 220 * seconds) * np.exp(-(seconds % 1.0))
    for midi in corpus.glob("2018/*.midi"):
        soundfile.write(midi.with_suffix(".wav"), sound, 24_000)
    encoders = ("--encoders", "placeholder-audio,placeholder-midi")
    keybed("plan", corpus, folder / "store", *encoders, "--limit", "4", "--jobs", "1", "--audio", "recorded")
    return folder / "store"


def test_a_recorded_store_lets_tone_alone_be_heard(recorded_store, tmp_path):
    listen(ListenConfig(recorded_store, tmp_path))
    page = (tmp_path / "index.html").read_text()
    assert "only the tone axis touches it" in page
    assert set(scripts(page, "application/json")) == {"tone", "blind-data"}
    with pytest.raises(CannotListen, match=r"--axis timing: the audio of .* is the real recording"):
        listen(ListenConfig(recorded_store, tmp_path, axes=("tone", "timing")))


def test_absent_recordings_are_named(recorded_store, tmp_path):
    with pytest.raises(NotAsPlanned, match="no such folder; say where the recordings lie with --maestro FOLDER"):
        listen(ListenConfig(recorded_store, tmp_path, paths={"maestro": str(tmp_path / "gone")}))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(RowLost, match=r"row \d+: .*no such file; say where the recordings lie with --maestro FOLDER"):
        listen(ListenConfig(recorded_store, tmp_path, paths={"maestro": str(empty)}))
