"""Rooms of a plan: drawn per segment, never told by the tier, kept in the store; stores without them keep their bytes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from keybed import store as stores
from keybed.extract.audio.render import Renderer
from keybed.extract.audio.room import Recording, Rooms, microphone_of
from keybed.extract.planning.plan import plan
from keybed.extract.planning.rooms import draw_rooms, make_rooms
from keybed.extract.planning.row_plan import PlanError
from keybed.extract.run.check_recipe import render_config
from keybed.extract.run.row_maker import RowMaker, segment_jobs
from keybed.store.errors import ShardDamaged
from keybed.store.format.vocabulary import MICROPHONE
from tests.extract.planning.small_plans import config_for
from tests.extract.planning.test_soundfonts import _order


def _echoes(n: int, seed: int) -> Rooms:
    responses = np.zeros((n, 4800), np.float32)
    responses[:, 0] = 0.8
    responses[np.arange(n), 1000 * (1 + np.arange(n))] = 0.6
    return Rooms(responses, np.full(n, 0.4))


def test_rooms_and_microphones_are_equal_within_a_segment_and_balanced() -> None:
    order = _order()
    drawn, columns = draw_rooms(order, 3, seed=2), order.columns
    for segment in np.unique(columns["segment"]):
        own = columns["segment"] == segment
        assert len(np.unique(drawn["room"][own])) == 1
        assert len(np.unique(drawn["microphone"][own], axis=0)) == 1, "the same in every tier: independent of it"
    for split in range(3):
        assert np.ptp(np.bincount(drawn["room"][columns["split"] == split], minlength=3) // 4) <= 1
    by_name = dict(zip(MICROPHONE, drawn["microphone"].T, strict=True))
    assert 0 <= by_name["pre_emphasis"].min() < by_name["pre_emphasis"].max() <= 0.4
    assert 20 <= by_name["low_cut_hz"].min() < by_name["low_cut_hz"].max() <= 120.01
    assert -20 <= by_name["drive_db"].min() < by_name["drive_db"].max() <= 0
    assert -65.01 <= by_name["floor_db"].min() < by_name["floor_db"].max() <= -47.99
    again = draw_rooms(order, 3, seed=2)
    assert all(np.array_equal(drawn[name], again[name]) for name in drawn)


def test_a_store_with_rooms_renders_every_row_in_its_segments_room(
    tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keybed.extract.planning.plan.make_rooms", _echoes)
    path = tmp_path / "store"
    report = plan(config_for(tiny_corpus, path, rooms=2))
    assert any(line.startswith("2 rooms: ") for line in report.lines())
    store = stores.open(path)
    assert store.recipe.audio["rooms"]["rt60_s"] == [0.4, 0.4]
    config = render_config(store, store.machine_paths)
    job = segment_jobs(store.columns(0, store.n_rows))[0]
    made = RowMaker(config).make(job)
    dry = Renderer(config.soundfont, config.bank)
    recording = Recording(_echoes(2, 0).responses[job.room], microphone_of(job.microphone))
    for row in made:
        assert not np.allclose(row.audio, dry.render(row.variant, 10.0).audio, atol=1e-3)
        assert np.array_equal(row.audio, dry.render(row.variant, 10.0, recording).audio)
    floor = made[0].variant.noise.floor
    assert floor is not None
    assert job.microphone[3] == pytest.approx(20 * np.log10(floor.ratio), abs=1e-4)
    (path / "notes" / "rooms.npy").write_bytes(b"other")
    with pytest.raises(ShardDamaged, match=r"rooms\.npy is not what `keybed plan` wrote"):
        render_config(stores.open(path), store.machine_paths)


def test_pyroomacoustics_is_asked_for_and_the_number_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyroomacoustics", None)
    with pytest.raises(PlanError, match=r"--rooms needs pyroomacoustics, .*'\.\[rooms\]'"):
        make_rooms(2, 0)
    with pytest.raises(PlanError, match="--rooms 0: from 1 to 200"):
        make_rooms(0, 0)


def test_made_rooms_decay_as_rooms_do() -> None:
    pytest.importorskip("pyroomacoustics")
    rooms = make_rooms(3, seed=1)
    assert rooms.responses.shape[0] == 3
    assert rooms.responses.shape[1] <= 48_000
    np.testing.assert_allclose((rooms.responses**2).sum(1), 1.0, rtol=1e-4)
    assert ((rooms.rt60_s > 0.15) & (rooms.rt60_s < 1.6)).all()
    assert len(np.unique(rooms.rt60_s)) == 3
    np.testing.assert_array_equal(rooms.responses, make_rooms(3, seed=1).responses)
