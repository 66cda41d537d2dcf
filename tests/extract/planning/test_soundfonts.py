"""Several soundfonts in one plan: one per segment, balanced, never told by the tier; and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from keybed import store as stores
from keybed.extract.audio import render
from keybed.extract.audio.fluidsynth import NotASoundfont
from keybed.extract.config import ExtractConfig, PlanConfig, soundfont_paths
from keybed.extract.planning.plan import plan
from keybed.extract.planning.planned_audio import planned_audio
from keybed.extract.planning.row_plan import PlanError
from keybed.extract.planning.segments import RowOrder, Segments, order_rows
from keybed.extract.planning.soundfonts import draw_soundfonts
from keybed.extract.run.check_recipe import NotAsPlanned, render_config
from keybed.extract.run.row_maker import RowMaker, segment_jobs
from keybed.extract.run.task import extract
from tests.extract.audio.soundfonts import Zone, write_soundfont
from tests.extract.planning.small_plans import config_for


@pytest.fixture(scope="module")
def pianos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two soundfonts of another timbre; no note bank plays the second."""
    folder = tmp_path_factory.mktemp("pianos")
    layered = [Zone(velocities=(0, 63), harmonic=2), Zone(velocities=(64, 127), harmonic=3)]
    return write_soundfont(folder / "a.sf2", [Zone()]), write_soundfont(folder / "b.sf2", layered)


def _order(n_pieces: int = 30) -> RowOrder:
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 12, n_pieces)
    piece = np.repeat(np.arange(n_pieces, dtype=np.int32), counts)
    n = len(piece)
    split = np.where(piece < 20, 0, np.where(piece < 25, 1, 2)).astype(np.uint8)
    return order_rows(
        Segments(piece, np.arange(n, dtype=np.int32), piece, split, np.arange(n) * 6.2, np.full(n, -1, np.int32)),
        seed=0,
    )


def test_every_split_and_every_piece_draws_the_soundfonts_in_turn_and_no_tier_tells_them() -> None:
    order = _order()
    drawn, columns = draw_soundfonts(order, 3, None, seed=5), order.columns
    assert all(len(set(drawn[columns["segment"] == s])) == 1 for s in np.unique(columns["segment"]))
    for split in range(3):
        counts = np.bincount(drawn[columns["split"] == split], minlength=3) // 4
        assert np.ptp(counts) <= 1
    for piece in np.unique(columns["piece"]):
        assert np.ptp(np.bincount(drawn[columns["piece"] == piece], minlength=3) // 4) <= 1
    by_tier = np.array([np.bincount(drawn[columns["tier"] == t], minlength=3) for t in range(4)])
    assert (by_tier == by_tier[0]).all(), "the same counts in every tier: independent of it"
    assert np.array_equal(drawn, draw_soundfonts(order, 3, None, seed=5))
    assert not np.array_equal(drawn, draw_soundfonts(order, 3, None, seed=6))


def test_a_held_out_soundfont_is_drawn_in_validation_and_test_alone() -> None:
    order = _order()
    drawn, split = draw_soundfonts(order, 2, 1, seed=0), order.columns["split"]
    assert (drawn[split == 0] == 0).all()
    for part in (1, 2):
        assert np.ptp(np.bincount(drawn[split == part], minlength=2) // 4) <= 1


def test_a_store_of_two_pianos_plays_each_segment_with_its_own(
    tiny_corpus: Path, tmp_path: Path, pianos: tuple[Path, Path]
) -> None:
    path = tmp_path / "store"
    both = Path(f"{pianos[0]},{pianos[1]}")
    report = plan(config_for(tiny_corpus, path, soundfont=both, hold_out_soundfont="b.sf2"))
    assert any("b.sf2: key 21 at velocity 20" in line for line in report.lines()), (
        "it is left to FluidSynth, with a sentence"
    )
    assert any("b.sf2 (" in line and "in validation and test alone" in line for line in report.lines())
    store = stores.open(path)
    audio = store.recipe.audio
    assert [entry["name"] for entry in audio["soundfonts"]] == ["a.sf2", "b.sf2"]
    assert ["bank_sha256" in entry for entry in audio["soundfonts"]] == [True, False]
    assert (audio["hold_out_soundfont"], audio["renderer"]) == ("b.sf2", "fluidsynth")
    written = json.loads((path / "features.zarr" / "row" / "soundfont" / "zarr.json").read_text())
    assert written["attributes"]["soundfont"] == ["a.sf2", "b.sf2"]
    columns = store.columns(0, store.n_rows)
    job = next(j for j in segment_jobs(columns) if j.soundfont == 1)
    made = RowMaker(render_config(store, store.machine_paths)).make(job)
    variants = [row.variant for row in made]
    alone = render.Renderer(pianos[1])
    assert all(np.array_equal(row.audio, alone.render(v, 10.0).audio) for row, v in zip(made, variants, strict=True))
    assert extract(ExtractConfig(path, workers=0)).left == 0
    rows = stores.open(path).rows(status=None)
    assert (rows.soundfont == columns["soundfont"]).all()
    assert (rows.held_out == (columns["soundfont"] == 1)).all()
    assert not rows.held_out[rows.split == 0].any()
    moved = {k: v for k, v in store.machine_paths.items() if k != "soundfont/b.sf2"}
    with pytest.raises(NotAsPlanned, match=r"b\.sf2 does not lie where it was planned"):
        render_config(store, moved)
    assert (
        render_config(store, {**moved, "soundfont": f"{pianos[1]},{pianos[0]}"}).instruments[1].soundfont == pianos[1]
    )
    with pytest.raises(NotAsPlanned, match="is not the soundfont b"):
        render_config(store, {**moved, "soundfont/b.sf2": str(pianos[0])})


def test_a_store_of_one_soundfont_has_the_recipe_and_the_arrays_of_before(tiny_corpus: Path, tmp_path: Path) -> None:
    plan(config_for(tiny_corpus, tmp_path / "store"))
    store = stores.open(tmp_path / "store")
    bank = store.recipe.audio["bank_sha256"]
    assert store.recipe.audio == {**render.describe(None, bank), "source": "rendered"}
    assert sorted(p.name for p in (tmp_path / "store" / "features.zarr" / "row").iterdir()) == sorted(
        [
            "difficulty",
            "level",
            "level_drawn",
            "n_notes",
            "piece",
            "recording",
            "score",
            "segment",
            "split",
            "start_s",
            "status",
            "tier",
            "valid",
            "waveform",
            "zarr.json",
        ]
    )
    assert set(store.machine_paths) == {"maestro", "soundfont", "note-bank"}


@pytest.mark.parametrize(
    ("fonts", "held_out", "message"),
    [
        (("a.sf2",), "a.sf2", "needs two soundfonts at least"),
        ((), "a.sf2", "needs two soundfonts at least"),
        (("a.sf2", "b.sf2"), "c.sf2", "--hold-out-soundfont c.sf2: not among a.sf2, b.sf2"),
        (("a.sf2", "copy.sf2"), None, "copy.sf2 and .*a.sf2 are the same file"),
        (("a.sf2", "other/a.sf2"), None, "two files are named a.sf2"),
    ],
)
def test_soundfonts_that_cannot_be_meant(
    tmp_path: Path, pianos: tuple[Path, Path], fonts: tuple[str, ...], held_out: str | None, message: str
) -> None:
    (tmp_path / "copy.sf2").write_bytes(pianos[0].read_bytes())
    known = {
        "a.sf2": pianos[0],
        "b.sf2": pianos[1],
        "copy.sf2": tmp_path / "copy.sf2",
        "other/a.sf2": tmp_path / "a.sf2",
    }
    text = ",".join(str(known[name]) for name in fonts)
    config = PlanConfig(tmp_path, tmp_path, soundfont=Path(text) if text else None, hold_out_soundfont=held_out)
    with pytest.raises(PlanError, match=message):
        planned_audio(config)


def test_a_soundfont_that_is_silent_on_some_keys_is_refused_beside_others(
    tmp_path: Path, pianos: tuple[Path, Path]
) -> None:
    gap = write_soundfont(tmp_path / "gap.sf2", [Zone(keys=(0, 59)), Zone(keys=(72, 127))])
    with pytest.raises(NotASoundfont, match=r"gap\.sf2: no sound from 12 of the 88 keys \(MIDI 60-71\)"):
        planned_audio(PlanConfig(tmp_path, tmp_path, soundfont=Path(f"{pianos[0]},{gap}")))


def test_a_comma_separates_two_soundfonts_unless_a_file_has_it(tmp_path: Path) -> None:
    assert soundfont_paths("a.sf2,b.sf2") == (Path("a.sf2"), Path("b.sf2"))
    assert soundfont_paths(None) == ()
    (tmp_path / "a,b.sf2").touch()
    assert soundfont_paths(tmp_path / "a,b.sf2") == (tmp_path / "a,b.sf2",)
