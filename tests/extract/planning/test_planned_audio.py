from __future__ import annotations

from pathlib import Path

import pytest

from keybed import store as stores
from keybed.extract.audio import render
from keybed.extract.audio.note_bank import BadNoteBank
from keybed.extract.config import ExtractConfig, PlanConfig
from keybed.extract.planning.plan import plan
from keybed.extract.planning.planned_audio import planned_audio
from keybed.extract.run.check_recipe import render_config
from keybed.extract.run.task import extract
from tests.extract.audio.soundfonts import Zone, write_soundfont
from tests.extract.conftest import PLACEHOLDERS


def test_a_note_bank_is_planned_and_named_by_its_hash(planned_store: Path) -> None:
    store = stores.open(planned_store)
    audio = store.recipe.audio
    assert audio["renderer"] == "bank"
    assert len(audio["bank_sha256"]) == 64
    config = render_config(store, store.machine_paths)
    assert config.bank == Path(store.machine_paths["note-bank"])
    without_soundfont = {k: v for k, v in store.machine_paths.items() if k != "soundfont"}
    assert render_config(store, without_soundfont).bank == config.bank, "the bank is enough"


def test_a_store_with_another_bank_is_refused(planned_store: Path, tmp_path: Path) -> None:
    store = stores.open(planned_store)
    short = tmp_path / "short.bank"
    short.write_bytes(Path(store.machine_paths["note-bank"]).read_bytes()[:-100])
    with pytest.raises(BadNoteBank, match=r"short\.bank is not the note bank that the store was planned with"):
        extract(ExtractConfig(planned_store, workers=0, paths={"note-bank": str(short)}))


def test_fluidsynths_recipe_is_that_of_stores_from_before_note_banks(tiny_corpus: Path, tmp_path: Path) -> None:
    path = tmp_path / "store"
    encoders = PLACEHOLDERS
    plan(PlanConfig(tiny_corpus, path, limit=2, encoders=encoders, shard_rows=8, jobs=1, renderer="fluidsynth"))
    audio = stores.open(path).recipe.audio
    assert audio == {**render.describe(), "source": "rendered"}
    assert "renderer" not in audio
    report = extract(ExtractConfig(path, workers=0))
    assert (report.rows, report.left) == (8, 0)


def test_a_soundfont_that_no_bank_plays_is_planned_for_fluidsynth_with_a_sentence(tmp_path: Path) -> None:
    layers = [Zone(velocities=(0, 63)), Zone(velocities=(64, 127), harmonic=2)]
    soundfont = write_soundfont(tmp_path / "layers.sf2", layers)
    audio = planned_audio(PlanConfig(tmp_path, tmp_path, soundfont=soundfont))
    assert audio.description == render.describe(soundfont)
    assert audio.first == (soundfont, None)
    assert "layers.sf2: key 21 at velocity 20" in audio.remark
    assert "FluidSynth itself" in audio.remark
