"""From a real store to a set that raters are served from."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.console import Console

from keybed.experiments.evaluation.gates import GateRefused
from keybed.experiments.listening.answer_key import read_answer_key
from keybed.experiments.listening.app.rating_set import read_set
from keybed.experiments.listening.config import SelectConfig
from keybed.experiments.listening.selection import SelectRefused, select

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def small_store(shared_data, tmp_path_factory) -> Path:
    from keybed.extract.config import ExtractConfig, PlanConfig
    from keybed.extract.planning.plan import plan
    from keybed.extract.run.task import extract

    path = tmp_path_factory.mktemp("mixed") / "store"
    plan(
        PlanConfig(
            shared_data / "maestro-mini", path, limit=120, encoders=("placeholder-audio", "placeholder-midi"), jobs=1
        )
    )
    extract(ExtractConfig(path, workers=0))
    return path


def test_a_store_whose_dimensions_are_one_number_is_refused(shared_data, tmp_path) -> None:
    from keybed.extract.config import PlanConfig
    from keybed.extract.planning.plan import plan

    plan(
        PlanConfig(
            shared_data / "maestro-mini",
            tmp_path / "store",
            limit=8,
            encoders=("placeholder-audio",),
            profile="tiered",
            jobs=1,
        )
    )
    with pytest.raises(SelectRefused, match="plan a mixed store"):
        select(SelectConfig(tmp_path / "store", tmp_path / "set", override="a test"), QUIET)


@pytest.mark.slow
def test_a_set_is_drawn_rendered_and_blind(small_store, tmp_path) -> None:
    config = SelectConfig(
        small_store,
        tmp_path / "set",
        n=10,
        raters=("ann", "ben"),
        repeats=3,
        anchors=2,
        max_label_r=0.4,
        override="a test",
    )
    made = read_set(select(config, QUIET))
    answer_key = read_answer_key(tmp_path / "set")
    assert len(made.seconds) == 12
    assert len(made.orders["ann"]) == 15
    assert set(answer_key.codes) < set(made.seconds)
    for clip in made.seconds:
        sound, rate = soundfile.read(made.audio(clip))
        assert (rate, sound.size) == (24_000, 240_000)
        assert 0.005 < np.sqrt((sound**2).mean()) < 0.5
    public = (tmp_path / "set" / "set.json").read_text() + (tmp_path / "set" / "design.html").read_text()
    assert not any(word in public for word in ("pristine_row", '"row"', "level_drawn"))
    design = json.loads((tmp_path / "set" / "design.json").read_text())
    assert design["largest_label_correlation"] < 0.4
    assert all(sum(shares) == pytest.approx(1) for shares in design["score_ranges"].values())
    assert (tmp_path / "set" / "design.html").read_text().count("<svg") == 3
    assert answer_key.about["overrides"][0]["reason"] == "a test"

    (tmp_path / "set" / "ratings.sqlite").write_bytes(b"")
    with pytest.raises(SelectRefused, match="holds ratings"):
        select(config, QUIET)
    with pytest.raises(GateRefused, match="--override"):
        select(SelectConfig(small_store, tmp_path / "other", n=10), QUIET)
