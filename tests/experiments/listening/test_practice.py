"""Which clips are for practice, the volume check, the text of consent, and numbers that follow the size of a set."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from keybed.experiments.listening.app.rating_set import Presentation, RatingSet, new_tokens
from keybed.experiments.listening.app.welcome import ConsentRefused, minutes, read_consent
from keybed.experiments.listening.config import SelectConfig
from keybed.experiments.listening.practice import TooFewSegments, practice_clips
from keybed.experiments.listening.selection import SelectRefused, with_numbers
from keybed.experiments.listening.stratified_sample import Candidates, draw
from keybed.experiments.listening.volume_check import write_volume_check
from keybed.store.format.vocabulary import AXIS_DIMENSIONS, DIMENSIONS


def candidates(score: np.ndarray) -> Candidates:
    n = len(score)
    return Candidates(
        score, np.ones(score.shape, bool), (score == 97.5).all(axis=1), np.arange(n), np.arange(n), np.zeros(n)
    )


def test_each_dimension_is_shown_by_the_row_where_it_alone_is_poor():
    score = np.full((9, 7), 90.0)
    score[0] = 97.5
    for k in range(7):
        score[k + 1, k] = 55.0
    score[8] = 55.0
    shown = practice_clips(candidates(score), np.array([], np.int64), 8)
    assert shown == {**{k + 1: name for k, name in enumerate(AXIS_DIMENSIONS)}, 0: "overall_interpretation"}


def test_rated_segments_give_no_practice_clip():
    score = np.full((4, 7), 90.0)
    score[:2, 0] = 50.0
    shown = practice_clips(candidates(score), np.array([0]), 1)
    assert shown == {1: "note_accuracy"}
    with pytest.raises(TooFewSegments, match=r"no segment is left for 8 practice clips.*smaller --n or --anchors"):
        practice_clips(candidates(score), np.array([0]), 8)
    assert len(practice_clips(candidates(score), np.array([0]), 8, fewer=True)) == 3
    assert practice_clips(candidates(score), np.array([0]), 0) == {}


def test_more_than_eight_are_without_a_dimension():
    rng = np.random.default_rng(0)
    shown = practice_clips(candidates(rng.uniform(50, 97, (40, 7))), np.array([], np.int64), 10)
    assert list(shown.values()) == [*DIMENSIONS, None, None]


@pytest.mark.parametrize(("n", "repeats", "limit"), [(250, 20, 0.15), (1000, 20, 0.15), (10, 3, 0.75), (40, 13, 0.375)])
def test_numbers_follow_the_size_of_the_set(n, repeats, limit):
    config = with_numbers(SelectConfig(Path("store"), Path("set"), n=n))
    assert config.repeats == repeats
    assert config.max_label_r == pytest.approx(limit)
    kept = with_numbers(SelectConfig(Path("store"), Path("set"), n=n, repeats=1, max_label_r=0.3))
    assert (kept.repeats, kept.max_label_r) == (1, 0.3)


@pytest.mark.parametrize("n", [2, 5, 12, 30, 90])
def test_a_set_of_any_size_is_drawn(make_rows, n):
    from keybed.experiments.listening.selection import _candidates

    rows = _candidates(make_rows(n_segments=200), None)
    config = with_numbers(SelectConfig(Path("store"), Path("set"), n=n))
    chosen = draw(rows, n, np.random.default_rng(0), max_label_r=config.max_label_r, max_pristine=0.15)
    assert np.unique(rows.segment[chosen]).size == n


def test_one_clip_alone_is_refused():
    with pytest.raises(SelectRefused, match="--n 1"):
        with_numbers(SelectConfig(Path("store"), Path("set"), n=1))


def test_the_volume_check_has_the_quietest_and_the_loudest_level(tmp_path):
    (tmp_path / "audio").mkdir()
    t = np.arange(48_000) / 24_000
    tone = np.sin(2 * np.pi * 440 * t)
    for name, gain in (("aaaaaaaa", 0.02), ("bbbbbbbb", 0.3)):
        soundfile.write(tmp_path / "audio" / f"{name}.flac", gain * tone, 24_000)
    order = {"ann": (Presentation("aaaaaaaa", "anchor"), Presentation("bbbbbbbb", "main"))}
    made = RatingSet(tmp_path, "1", {"aaaaaaaa": 2.0, "bbbbbbbb": 2.0}, order, new_tokens(["ann"]))
    write_volume_check(made, "aaaaaaaa", seconds=1.0)
    rms = {}
    for name in ("quiet", "loud"):
        sound, _ = soundfile.read(tmp_path / "check" / f"{name}.flac")
        assert sound.size == 24_000
        rms[name] = np.sqrt((sound**2).mean())
    assert rms["quiet"] == pytest.approx(0.02 / np.sqrt(2), rel=0.01)
    assert rms["loud"] == pytest.approx(0.3 / np.sqrt(2), rel=0.01)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no text"),
        (b" \n", "no text"),
        (b"\xff\xfe", "not a text file in UTF-8"),
        (b"a" * 20_001, "20,001 characters"),
    ],
)
def test_a_file_that_is_no_text_of_consent_is_refused(tmp_path, content, words):
    file = tmp_path / "consent.txt"
    file.write_bytes(content)
    with pytest.raises(ConsentRefused, match=words):
        read_consent(file)
    with pytest.raises(ConsentRefused, match="cannot be read"):
        read_consent(tmp_path)


def test_minutes_are_said_in_steps_of_five():
    assert minutes([10.0] * 250) == 250
    assert minutes([10.0]) == 5
    assert minutes([10.0] * 20) == 20
