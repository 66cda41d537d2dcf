"""The encoder `expected`: the channels of `expressive` beside those of the models, and the model that the music chooses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from keybed.extract.encoders import build, describe
from keybed.extract.encoders.base import Clip, Encoder, Music
from keybed.extract.encoders.errors import WeightsRefused, WeightsUnreachable
from keybed.extract.encoders.expected.encoder import surprise
from keybed.extract.encoders.expected.models import ExpectedModels, PlayingModel, load
from keybed.extract.encoders.expected.spec import CHANNELS
from tests.extract.encoders.baselines.notes import performance
from tests.extract.encoders.expected.test_pedal_expectation import legato

GRID = {"n_bins": 20, "window_s": 10.0}
NO_AUDIO = np.zeros(0, np.float32)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    drawn = [PlayingModel.drawn(rng) for _ in range(3)]
    models = ExpectedModels(drawn[0], tuple(drawn[1:]), {"aa": 0}, {"Fugue": 1}, {"windows": 7})
    with (tmp_path / "models.npz").open("wb") as opened:
        models.save(opened)
    return tmp_path / "models.npz"


def built(file: Path) -> Encoder:
    return build(*describe("expected", weights=str(file), **GRID))


def clip(music: Music | None = None, seed: int = 0) -> Clip:
    return Clip(NO_AUDIO, legato(seed), 10.0, music=music)


def test_it_holds_what_expressive_measures(file: Path) -> None:
    clips = [clip(), None, clip(seed=1)]
    ours, theirs = (e.encode(clips) for e in (built(file), build(*describe("expressive", **GRID))))
    own = len(CHANNELS)
    np.testing.assert_array_equal(ours.layers[..., :-own], theirs.layers)
    np.testing.assert_array_equal(ours.frames[..., :-own], theirs.frames)
    np.testing.assert_array_equal(ours.mask, theirs.mask)
    assert np.abs(ours.frames[0, :, 0, -own:]).max(axis=0).min() > 0  # every channel says something


def test_channels_lie_where_they_are_named(file: Path) -> None:
    encoder = built(file)
    pooled = encoder.encode([clip()])
    names = {name: i for i, name in enumerate(encoder.spec.channels)}
    first, second = surprise(clip(), 20, load(file).of_all)
    for number, name in enumerate(CHANNELS):
        np.testing.assert_allclose(
            pooled.frames[0, :, 0, names[name]][pooled.mask[0]], first[:-1, number][pooled.mask[0]], rtol=1e-5
        )
        np.testing.assert_allclose(
            pooled.layers[0, :, 0, names[name]], [first[-1, number], second[-1, number]], rtol=1e-5
        )
    # Of a context the second statistic of every bin is the window's own measure.
    context = CHANNELS.index("lift_surprise_mean")
    np.testing.assert_allclose(second[:-1, context], first[-1, context])


def test_music_chooses_the_model(file: Path) -> None:
    own = len(CHANNELS)
    music = [None, Music("aa"), Music("zz", "Fugue"), Music("zz", "Other")]
    of_all, group0, group1, other = built(file).encode([clip(m) for m in music]).frames[..., -own:]
    np.testing.assert_array_equal(of_all, other)
    assert not np.array_equal(of_all, group0)
    assert not np.array_equal(of_all, group1)
    assert not np.array_equal(group0, group1)


def test_few_notes_and_no_pedal_give_numbers(file: Path) -> None:
    few = [[], [(1.0, 1.2, 60, 60)], [(1.0 + 0.1 * i, 1.05 + 0.1 * i, 60, 64) for i in range(3)]]
    clips = [Clip(NO_AUDIO, performance(notes), 10.0) for notes in few]
    pooled = built(file).encode(clips)
    assert np.isfinite(pooled.frames).all()
    assert np.isfinite(pooled.layers).all()
    assert (pooled.frames[~pooled.mask] == 0).all()


def test_the_file_is_the_planned_one(file: Path, tmp_path: Path) -> None:
    spec, path = describe("expected", weights=str(file), **GRID)
    assert path == str(file)
    assert (spec.source, spec.preprocessing["fitted_to"]) == ("local", {"windows": 7})
    other = tmp_path / "other.npz"
    other.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(WeightsRefused, match="is not the file that was planned"):
        build(spec, str(other))
    with pytest.raises(WeightsUnreachable, match=r"keybed expect STORE --out FILE.*--expected-weights FILE"):
        describe("expected", **GRID)
    with pytest.raises(WeightsUnreachable, match=r"no file nowhere.npz; .*keybed expect STORE"):
        describe("expected", weights="nowhere.npz", **GRID)
    with pytest.raises(WeightsUnreachable, match="does not know where"):
        build(spec, None)
