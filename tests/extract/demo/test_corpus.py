from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from keybed.extract.corpus.layouts import read_corpus
from keybed.extract.corpus.metadata import Corpus, CorpusError
from keybed.extract.corpus.pieces import find_pieces
from keybed.extract.degrade import prepare
from keybed.extract.degrade.row_key import RowKey
from keybed.extract.demo.corpus import write_demo_corpus
from keybed.extract.demo.score import PHRASE_BARS, TEXTURES, compose, without_unisons
from keybed.extract.music.midi import read_midi
from keybed.extract.planning.segments import all_segments
from keybed.store.format.vocabulary import SPLITS


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return read_corpus(write_demo_corpus(tmp_path_factory.mktemp("demo")))


def test_sixteen_pieces_by_two_players_in_maestros_layout(demo: Corpus) -> None:
    pieces = find_pieces(demo.recordings)
    assert (len(pieces.names), len(demo.recordings)) == (16, 32)
    assert pieces.repairs == ()
    assert pieces.vague == ()
    for recording in demo.recordings:
        assert recording.midi.startswith(f"{recording.year}/")
        assert demo.midi_path(recording).is_file()
    counts = {
        name: len({p for p, s in zip(pieces.piece_of, pieces.split_of, strict=True) if s == name}) for name in SPLITS
    }
    assert counts == {"train": 10, "validation": 3, "test": 3}


def test_the_csvs_duration_is_the_files(demo: Corpus) -> None:
    for recording in demo.recordings[::7]:
        performance = read_midi(demo.midi_path(recording))
        end_s = max(performance.offset_s.max(), performance.pedal_s.max())
        assert recording.duration_s == pytest.approx(end_s, abs=0.002)


def test_every_axis_finds_something_to_degrade(demo: Corpus) -> None:
    segments = all_segments(demo.recordings, find_pieces(demo.recordings))
    valid, notes, velocity_ranges, lifts, separate = [], [], [], [], []
    for recording in demo.recordings[::3]:
        prepared = prepare(read_midi(demo.midi_path(recording)))
        for start_s in segments.start_s[segments.recording == recording.index][::4]:
            excerpt = prepared.excerpt(float(start_s), 10.0, RowKey(0, recording.index, float(start_s), -1))
            p = excerpt.performance
            inside = (p.pedal_s >= 0) & (p.pedal_s < 10)
            pedal = p.pedal_value[inside] >= 64
            lifts.append(int(np.sum(pedal[:-1] & ~pedal[1:])))
            at_off = np.searchsorted(p.pedal_s, p.offset_s, side="right") - 1
            free = (p.offset_s < 10) & (p.offset_s > 0) & (p.pedal_value[np.maximum(at_off, 0)] < 64)
            separate.append(int(free.sum()))
            valid.append(excerpt.valid)
            notes.append(excerpt.n_notes)
            velocity_ranges.append(np.ptp(p.velocity))
    assert np.mean(valid, axis=0).min() > 0.9
    assert np.mean(np.array(notes) >= 20) > 0.95
    assert np.mean(np.array(lifts) >= 2) > 0.95
    assert np.mean(np.array(separate) >= 8) > 0.9
    assert np.median(velocity_ranges) > 25


def test_two_players_differ_and_play_the_same_notes(demo: Corpus) -> None:
    a, b = (read_midi(demo.midi_path(recording)) for recording in demo.recordings[:2])
    assert sorted(a.pitch) == sorted(b.pitch)
    assert abs(a.offset_s.max() - b.offset_s.max()) > 0.2
    assert not np.array_equal(np.sort(a.velocity), np.sort(b.velocity))


def test_a_seed_writes_the_same_bytes_and_another_one_others(tmp_path: Path) -> None:
    folders = [
        write_demo_corpus(tmp_path / name, n_pieces=4, seconds=20, seed=seed)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    written = [{f.relative_to(d): f.read_bytes() for f in sorted(d.rglob("*")) if f.is_file()} for d in folders]
    assert written[0] == written[1]
    assert written[0].keys() == written[2].keys()
    assert written[0] != written[2]


def test_refuses_to_overwrite_another_corpus(tmp_path: Path) -> None:
    write_demo_corpus(tmp_path, n_pieces=4, n_players=1, seconds=20)
    write_demo_corpus(tmp_path, n_pieces=4, n_players=1, seconds=20)
    with pytest.raises(CorpusError, match="another corpus"):
        write_demo_corpus(tmp_path, n_pieces=5, n_players=1, seconds=20)
    with pytest.raises(CorpusError, match="at least 4"):
        write_demo_corpus(tmp_path / "few", n_pieces=3)


@pytest.mark.parametrize("texture", TEXTURES)
@pytest.mark.parametrize("mode", ["major", "minor"])
def test_scores_are_playable(texture: str, mode: str) -> None:
    for seed in range(6):
        score = compose(np.random.default_rng(seed), texture, seed * 2 % 12, mode, 60.0)
        notes = without_unisons(score.notes)
        assert score.n_bars % PHRASE_BARS == 0
        assert all(28 <= note.pitch <= 100 and note.beats > 0 for note in notes)
        assert {"melody", "inner", "bass"} <= {note.part for note in notes}
        melody = [note for note in notes if note.part == "melody"]
        leaps = np.abs(np.diff([note.pitch for note in melody]))
        assert np.mean(leaps <= 5) > 0.7
        downbeats = {note.beat for note in notes if note.part == "bass"}
        assert set(np.arange(score.n_bars) * float(score.beats_per_bar)) <= downbeats
