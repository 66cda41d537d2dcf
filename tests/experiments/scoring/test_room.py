"""MIDI files and stores with rooms: one room for every recording, the same sound as rows have, packed with the model."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from keybed.experiments.scoring import room as scoring_room
from keybed.experiments.scoring.errors import CannotScore
from keybed.experiments.scoring.pack import packed, read_pack, write_pack
from keybed.experiments.scoring.results import RoomCard
from keybed.experiments.scoring.room import median_recording
from keybed.experiments.scoring.score import score
from keybed.experiments.scoring.scorer import Scorer, rendered_remarks
from keybed.experiments.scoring.source import Source
from keybed.experiments.scoring.windows import WindowEncoder
from keybed.extract import encoders
from keybed.extract.audio.render import Renderer, default_soundfont
from keybed.extract.audio.room import Microphone, Recording, Rooms, rooms_bytes
from keybed.extract.music.notes_file import save_notes
from keybed.extract.run.row_maker import Instrument, RenderConfig, RowMaker, SegmentJob
from keybed.store.format.layout import Layout
from tests.experiments.scoring.conftest import VIEW, piece

DECAY_S = (0.9, 0.3, 0.6, 0.4)


def rooms() -> Rooms:
    """Four rooms whose responses end after 500, 1000, 1500 and 2000 samples."""
    rng = np.random.default_rng(0)
    responses = np.zeros((4, 2000), np.float32)
    for k, response in enumerate(responses):
        n = 500 * (k + 1)
        response[:n] = rng.standard_normal(n) * np.exp(-np.arange(n) / 200)
        response[0] = 1
    return Rooms(responses, np.array(DECAY_S))


@pytest.fixture(scope="module")
def recording() -> Recording:
    return Recording(rooms().responses[3], Microphone(0.2, 50.0, -10.0))


@pytest.fixture(scope="module")
def in_a_room(model, recording):
    """The untrained model, as if its rows had been rendered in rooms."""
    audio = {**model.recipe.audio, "rooms": {"version": 1, "rt60_s": list(DECAY_S), "sha256": "0"}}
    card = replace(model.card, room=RoomCard(3, 0.4, 50.0, 0.2, -10.0))
    return replace(model, recipe=replace(model.recipe, audio=audio), card=card, room=recording)


def test_every_recording_gets_the_room_of_median_decay_and_the_median_microphone(tmp_path, monkeypatch):
    path = tmp_path / "rooms.npy"
    path.write_bytes(rooms_bytes(rooms()))
    monkeypatch.setattr(scoring_room, "planned_rooms", lambda store: path)
    columns = {
        "row/room": np.array([0, 0, 3, 3, 1, 1], np.uint8),  # no training row has room 2
        "row/microphone": np.array([[0.1, 20, -20, -50]] * 2 + [[0.3, 80, -5, -60]] * 2 + [[0.2, 50, -10, -55]] * 2),
    }
    store = SimpleNamespace(read=lambda name, index: columns[name][index])
    found = median_recording(store, np.arange(6))
    assert found is not None
    recording, card = found
    assert card == RoomCard(3, 0.4, 50.0, 0.2, -10.0)
    assert recording.microphone == Microphone(0.2, 50.0, -10.0)
    assert np.array_equal(recording.response, rooms().responses[3])
    even = median_recording(store, np.array([0, 4]))
    assert even is not None
    assert even[1].decay_s == 0.3
    assert even[0].response.size <= 1000, "the silence after the response is not kept"


def test_a_store_without_rooms_has_none(monkeypatch):
    monkeypatch.setattr(scoring_room, "planned_rooms", lambda store: None)
    assert median_recording(SimpleNamespace(), np.arange(3)) is None


def test_a_window_sounds_as_a_row_in_that_room(recipe, recording, tmp_path, monkeypatch):
    p = piece()
    layout = Layout(tmp_path)
    layout.notes_of(7).parent.mkdir(parents=True)
    save_notes(layout.notes_of(7), p, "0" * 64)
    (tmp_path / "rooms.npy").write_bytes(rooms_bytes(rooms()))
    instrument = Instrument(default_soundfont())
    config = RenderConfig(tmp_path, 0, 10.0, (instrument,), None, (), {}, None, rooms=tmp_path / "rooms.npy")
    job = SegmentJob(7, 4.0, (0,), np.zeros((1, 8), np.float32), room=3, microphone=(0.2, 50.0, -10.0, -50.0))
    (row,) = RowMaker(config).make(job)
    monkeypatch.setattr(Source, "sha256", f"{7:015x}" + "0" * 49)
    built = [encoders.build_unchecked(spec) for spec in recipe.encoders]
    maker = WindowEncoder(VIEW, built, Renderer(default_soundfont()), 10.0, 0, room=recording)
    (batch,) = maker.batches(Source("x", None, None, "midi", p, 20.0), np.array([4.0]), 16)
    assert np.array_equal(batch.rows[0].audio, row.audio)


def test_scores_say_which_room_they_were_made_in_and_a_pack_keeps_it(in_a_room, model, midi, tmp_path):
    dry, wet = score(midi, Scorer(model)), score(midi, Scorer(in_a_room))
    assert not dry.remarks
    assert wet.remarks == (
        "The notes were rendered in the room with the median decay of 3 rooms that the heads heard (60 dB in 0.40 s), through the "
        "median microphone; every recording gets this room.",
    )
    assert [w.distance for w in wet.windows] != [w.distance for w in dry.windows]
    path = tmp_path / "model.keybed"
    write_pack(path, in_a_room)
    again = read_pack(path)
    assert again.room is not None
    assert np.array_equal(again.room.response, in_a_room.room.response)
    assert again.room.microphone == in_a_room.room.microphone
    assert packed(again) == path.read_bytes()
    assert score(midi, path) == wet


def test_a_pack_without_its_rooms_is_refused_for_midi_alone(in_a_room, midi):
    old = Scorer(replace(in_a_room, room=None))
    with pytest.raises(CannotScore, match="left them out; pack the run again, or give the sound with --audio FILE"):
        score(midi, old)


def test_notes_are_rendered_with_a_soundfont_that_the_heads_heard(model):
    def remarks(**audio: object) -> list[str]:
        fonts = [{"name": "a.sf2"}, {"name": "b.sf2"}]
        recipe = replace(model.recipe, audio={**model.recipe.audio, "soundfonts": fonts, **audio})
        return rendered_remarks(replace(model, recipe=recipe))

    assert remarks() == ["The notes were rendered with a.sf2, the first of 2 soundfonts that the heads heard."]
    assert remarks(hold_out_soundfont="a.sf2") == [
        "The notes were rendered with b.sf2, the soundfont that the heads heard."
    ]
