"""A store of ratings: what its rows hold, and that it is whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from keybed import store as stores
from keybed.extract.config import ExportConfig, ExtractConfig, JoinConfig, PlanConfig
from keybed.extract.export.archive import ExportError, export
from keybed.extract.planning.join import join
from keybed.extract.planning.plan import plan
from keybed.extract.planning.row_plan import PlanError
from keybed.extract.run.recompute import recomputer
from keybed.extract.run.task import extract
from keybed.store.check.verify import VerifyConfig, verify
from keybed.store.errors import RecipeMismatch
from keybed.store.format.vocabulary import DIMENSIONS
from tests.extract.corpus.small_music import scale_file

SETTINGS = {"encoders": ("placeholder-audio", "placeholder-midi"), "shard_rows": 8, "jobs": 1}


def rated_store(folder: Path, name: str = "store", first: int = 0, **changes: object) -> Path:
    music = folder / f"music of {name}"
    lines = ["file,start,end,rhythmic_stability,warmth"]
    for number in range(6):
        scale_file(music / f"p{first + number}.mid", 24 + number, lowest=40 + number + first)
        lines += [f"p{first + number}.mid,0,12,{1 + number},{7 - number}", f"p{first + number}.mid,12,24,,{7 - number}"]
    (music / "ratings.csv").write_text("\n".join(lines))
    settings = {**SETTINGS, "labels": music / "ratings.csv", "label_scale": ("1", "7"), **changes}
    plan(PlanConfig(music, folder / name, **settings))  # type: ignore[arg-type]
    extract(ExtractConfig(folder / name, workers=0))
    return folder / name


def test_a_store_of_ratings_holds_recordings_with_their_ratings(tmp_path: Path) -> None:
    path = rated_store(tmp_path)
    store = stores.open(path)
    assert store.recipe.rating_dimensions == ("rhythmic_stability", "warmth")
    assert store.n_rows == 12, "one window of 10 s in each passage of 12 s, one row per window"
    rows = store.rows()
    assert set(rows.tier.tolist()) == {0}
    rating = store.read("row/rating", rows.index)
    for index, recording, start_s in zip(range(12), rows.recording.tolist(), rows.start_s.tolist(), strict=True):
        number = int(store.recordings[recording]["midi"][1])
        expected = [1 + number if start_s == 0 else np.nan, 7 - number]
        np.testing.assert_array_equal(rating[index], expected)
        score = 100 * (expected[0] - 1) / 6
        np.testing.assert_allclose(rows.score[index, DIMENSIONS.index("rhythmic_stability")], score, rtol=1e-6)
    assert rows.valid.sum() == 6, "warmth is no dimension of Keybed, so that only row/rating holds it"
    np.testing.assert_array_equal(store.read("row/n_ratings", rows.index), np.isfinite(rating))
    report = verify(VerifyConfig(path, recompute_rows=6), recomputer(store))
    assert report.sound
    with pytest.raises(ExportError, match="holds ratings by people"):
        export(ExportConfig(path, tmp_path / "out.tar.gz"))


def test_stores_of_ratings_are_joined_and_other_scales_are_refused(tmp_path: Path) -> None:
    one, two = rated_store(tmp_path, "one"), rated_store(tmp_path, "two", first=6)
    join(JoinConfig((one, two), tmp_path / "both"))
    assert verify(VerifyConfig(tmp_path / "both")).sound
    both = stores.open(tmp_path / "both")
    assert both.n_rows == 24
    assert np.isfinite(both.read("row/rating", np.arange(24))[:, 1]).all()
    three = rated_store(tmp_path, "three", first=6, label_scale=("7", "1"))
    with pytest.raises(RecipeMismatch, match=r"labels\.scale\[0\]: 1\.0 \| 7\.0"):
        join(JoinConfig((one, three), tmp_path / "no"))


def test_options_of_ratings_belong_to_ratings(tmp_path: Path) -> None:
    scale_file(tmp_path / "a.mid", 12)
    for changes in ({"label_scale": ("1", "7")}, {"labels_columns": ("a=b",)}):
        with pytest.raises(PlanError, match="belong to --labels FILE"):
            plan(PlanConfig(tmp_path, tmp_path / "store", **SETTINGS, **changes))  # type: ignore[arg-type]
