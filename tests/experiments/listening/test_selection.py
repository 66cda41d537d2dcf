"""From a real store to a set that raters are served from."""

import json
import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.console import Console

from keybed.experiments.evaluation.gates import GateRefused
from keybed.experiments.listening.answer_key import read_answer_key
from keybed.experiments.listening.app.database import Database
from keybed.experiments.listening.app.rating_set import read_set
from keybed.experiments.listening.app.ratings import Rating
from keybed.experiments.listening.config import IngestConfig, SelectConfig
from keybed.experiments.listening.ingest import ingest
from keybed.experiments.listening.selection import SelectRefused, select
from keybed.extract.run.check_recipe import NotAsPlanned
from keybed.store.format.vocabulary import DIMENSIONS

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


@pytest.fixture(scope="module")
def planned_mixed(shared_data, tmp_path_factory) -> Path:
    from keybed.extract.config import PlanConfig
    from keybed.extract.planning.plan import plan

    path = tmp_path_factory.mktemp("planned") / "store"
    plan(PlanConfig(shared_data / "maestro-mini", path, limit=2, encoders=("placeholder-midi",), jobs=1))
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


def test_a_trial_needs_no_phase_4_no_profile_and_hardly_any_rows(
    shared_data, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keybed.extract.config import ExtractConfig, PlanConfig
    from keybed.extract.planning.plan import plan
    from keybed.extract.run.task import extract

    store, folder = tmp_path / "store", tmp_path / "set"
    settings = {"limit": 3, "encoders": ("placeholder-midi",), "profile": "tiered", "jobs": 1}
    plan(PlanConfig(shared_data / "maestro-mini", store, **settings))
    with pytest.raises(SelectRefused, match="0 segments, a trial needs two; run `keybed extract"):
        select(SelectConfig(store, folder, trial=True), QUIET)
    extract(ExtractConfig(store, workers=0))
    with monkeypatch.context() as other_version:
        other_version.setattr(import_module("keybed.extract.degrade.parameters"), "CODE_VERSION", 99)
        with pytest.raises(NotAsPlanned, match="install the version of Keybed that planned the store"):
            select(SelectConfig(store, folder, trial=True), QUIET)
    assert not (folder / "set.json").exists()
    console = Console(record=True, width=300)
    made = read_set(select(SelectConfig(store, folder, raters=("ann", "ben"), trial=True), console))
    assert [p.role for p in made.orders["ann"]] == ["anchor", "main", "main"]
    assert "A trial: 2 clips of" in console.export_text()
    design = re.sub("<[^>]+>", "", (folder / "design.html").read_text())  # terms are marked
    assert "decide nothing" in design
    assert "2 clips cannot show whether labels are related" in design
    assert "overall impression" not in design
    database = Database(made.database)
    for position in (1, 2, 3):
        database.save("ann", position, Rating("save-0001", 1, dict.fromkeys(DIMENSIONS, 30 * position), True, 10.0, 1))
    assert ingest(IngestConfig(folder, replicates=20), QUIET).verdict == "UNDEFINED"
    page = (folder / "result" / "report.html").read_text()
    assert "NOT YET" in page
    assert "Their ratings decide nothing." in page


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n": 10, "repeats": 20}, "--repeats 20: of 10 clips at most 3 can come a second time.*give --repeats 3"),
        ({"n": 1, "repeats": 0}, "--n 1"),
        ({"raters": ("a/b",)}, "--raters: rater name 'a/b'"),
        ({"raters": ("ann", "ann")}, "--raters: every rater needs a name of its own"),
    ],
)
def test_numbers_and_names_that_do_not_fit_are_refused_before_anything_is_drawn(planned_mixed, tmp_path, change, words):
    with pytest.raises(SelectRefused, match=words):
        select(SelectConfig(planned_mixed, tmp_path / "set", override="a test", **change), QUIET)
    assert not (tmp_path / "set").exists()


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
    assert answer_key.provenance.overrides[0].reason == "a test"
    page = re.sub("<[^>]+>", "", (tmp_path / "set" / "design.html").read_text())  # terms are marked
    assert "No run of Phase 4 was named, so no gate was checked. The recorded reason to go on: “a test”" in page

    (tmp_path / "set" / "ratings.sqlite").write_bytes(b"")
    with pytest.raises(SelectRefused, match="holds ratings"):
        select(config, QUIET)
    with pytest.raises(GateRefused, match="--override"):
        select(SelectConfig(small_store, tmp_path / "other", n=10), QUIET)
