"""Encoders added to a filled store: the same bytes as planned together, made from the same rows or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keybed import store as stores
from keybed.experiments.cli.main import main
from keybed.extract.config import ExtendConfig, ExtractConfig, PlanConfig
from keybed.extract.planning.plan import plan
from keybed.extract.run import extend as extend_module
from keybed.extract.run.check_recipe import NotAsPlanned
from keybed.extract.run.extend import extend
from keybed.extract.run.layers import AudioDrift, OtherRows, facts_of_layer
from keybed.extract.run.recompute import recomputer
from keybed.extract.run.task import extract
from keybed.store.check.verify import VerifyConfig, verify
from keybed.store.errors import NoDiskSpace, NoSuchFeature, RecipeMismatch
from keybed.store.write.claims import claim

PLACEHOLDERS = ("placeholder-audio", "placeholder-midi")
BASELINES = ("logmel", "expressive")


@pytest.fixture(scope="module")
def planned(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A planned store of 3 segments, 12 rows, 3 shards of 4, with the placeholders."""
    store = tmp_path_factory.mktemp("planned") / "store"
    plan(PlanConfig(tiny_corpus, store, limit=3, encoders=PLACEHOLDERS, shard_rows=4, jobs=1))
    return store


@pytest.fixture(scope="module")
def filled(planned: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = Path(shutil.copytree(planned, tmp_path_factory.mktemp("filled") / "store"))
    extract(ExtractConfig(path, workers=0))
    return path


def content(store: Path) -> dict[str, bytes]:
    """Every file of a store but who made it when."""
    files = {file.relative_to(store).as_posix(): file for file in sorted(store.rglob("*")) if file.is_file()}
    return {name: file.read_bytes() for name, file in files.items() if not name.startswith(("logs/", "claims/"))}


def assert_equal_but_for_records(extended: Path, together: Path) -> None:
    """All arrays and metadata, notes, recordings and paths are equal; and the parts' commits are the whole's, cut up."""
    records = ("recipe.json", "features.zarr/zarr.json", "commits/", "layers/")
    ours, theirs = (
        {name: data for name, data in content(path).items() if not name.startswith(records)}
        for path in (extended, together)
    )
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []
    one, other = stores.open(extended), stores.open(together)
    assert sorted(one.recipe.encoders, key=str) == sorted(other.recipe.encoders, key=str)
    assert one.recipe.rows_fingerprint == other.recipe.rows_fingerprint
    for shard in range(other.n_shards):
        parts = [one.commit(shard, part) for part in one.parts]
        assert {key: entry for part in parts for key, entry in part.objects.items()} == other.commit(shard).objects
        assert all(part.facts == other.commit(shard).facts for part in parts)
        assert all(part.inputs == other.commit(shard).inputs for part in parts)


def test_four_encoders_at_once_equal_two_and_two(filled: Path, tiny_corpus: Path, tmp_path: Path) -> None:
    together = tmp_path / "together"
    plan(PlanConfig(tiny_corpus, together, limit=3, encoders=(*PLACEHOLDERS, *BASELINES), shard_rows=4, jobs=1))
    extract(ExtractConfig(together, workers=0))
    store = Path(shutil.copytree(filled, tmp_path / "store"))
    before = content(store)
    report = extend(ExtendConfig(store, BASELINES))
    assert report.added == BASELINES
    assert f"next: keybed extract {store} --layer logmel,expressive" in "\n".join(report.lines())
    first = extract(ExtractConfig(store, workers=0, layers=("expressive",), shards=(1,)))
    assert (first.made, first.left) == ((1,), 2)
    second = extract(ExtractConfig(store, workers=0, layers=BASELINES))
    assert (second.made, second.already, second.left, second.other_parts_left) == ((0, 1, 2), 0, 0, False)
    assert extract(ExtractConfig(store, workers=0)).already == 3
    assert verify(VerifyConfig(store)).sound
    assert_equal_but_for_records(store, together)
    assert {name: data for name, data in content(store).items() if name in before} == before
    difference = verify(VerifyConfig(store, recompute_rows=4), recomputer(stores.open(store))).recompute_difference
    assert difference is not None
    assert difference.acceptable
    assert "midi/expressive/frames" in difference.features
    for name in BASELINES:
        assert main(["drop", str(store), "--encoder", name]) == 0
    assert content(store) == before


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("first", [("logmel", "expressive"), ("muq", "expressive"), ("mert", "aria")])
def test_pretrained_encoders_too(first: tuple[str, ...], tiny_corpus: Path, tmp_path: Path) -> None:
    """With seeded random weights of the smallest size."""
    names = ("logmel", "expressive", "mert", "midibert", "muq", "aria")
    weights = dict.fromkeys(("mert", "midibert", "muq", "aria"), "random:tiny")
    common: dict[str, Any] = {"limit": 3, "shard_rows": 4, "jobs": 1}

    def given(chosen: tuple[str, ...]) -> dict[str, Any]:
        return {"encoders": chosen, "weights": {name: weights[name] for name in chosen if name in weights}}

    together, store = tmp_path / "together", tmp_path / "store"
    plan(PlanConfig(tiny_corpus, together, **common, **given(names)))
    extract(ExtractConfig(together, workers=0))
    plan(PlanConfig(tiny_corpus, store, **common, **given(first)))
    extract(ExtractConfig(store, workers=0))
    rest = tuple(name for name in names if name not in first)
    extend(ExtendConfig(store, **given(rest)))
    for layers in (rest[:1], rest[1:]):
        extract(ExtractConfig(store, workers=0, layers=layers))
    assert_equal_but_for_records(store, together)
    assert verify(VerifyConfig(store)).sound


def test_a_store_may_be_extended_before_it_is_filled(planned: Path, filled: Path, tmp_path: Path) -> None:
    """Rows are then rendered once for all encoders, and without their rows no encoder is made."""
    store = Path(shutil.copytree(planned, tmp_path / "store"))
    extend(ExtendConfig(store, ("expressive",)))
    alone = extract(ExtractConfig(store, workers=0, layers=("expressive",)))
    assert (alone.made, alone.left) == ((), 3)
    assert alone.skipped[2] == "its rows are not committed; without --layer they are made as well"
    with claim(stores.open(store), 0, "expressive"):
        report = extract(ExtractConfig(store, workers=0, shards=(0, 1)))
    assert report.made == (0, 1)
    assert "shard 0 of layer expressive is being made by process" in report.skipped[0]
    rows_only = extract(ExtractConfig(store, workers=0, layers=("placeholder-midi",)))
    assert (rows_only.made, rows_only.left, rows_only.other_parts_left) == ((2,), 0, True)
    assert f"these encoders are complete, others are not; next: keybed status {store}" in rows_only.lines()[-1]
    opened = stores.open(store)
    assert opened.committed == {0, 1, 2}
    assert opened.shards_of_layer("expressive").numbers == {1}
    assert not list((store / "claims").rglob("*.json"))
    reference = content(filled)
    assert {name: data for name, data in content(store).items() if name in reference} == reference
    with pytest.raises(NoSuchFeature, match="no encoder 'muq'; it has placeholder-audio, placeholder-midi, expressive"):
        extract(ExtractConfig(store, layers=("muq",)))


def test_rows_that_differ_are_refused_and_rounding_is_recorded_where_it_is_allowed(
    filled: Path, tmp_path: Path
) -> None:
    store = stores.open(shutil.copytree(filled, tmp_path / "store"))
    rows = np.arange(*store.shard_range(1))
    arrays = {spec.path: store.read(spec.path, rows) for spec in store.specs if spec.path.startswith("row/")}
    arrays = {path: values for path, values in arrays.items() if path not in ("row/recording", "row/segment")}
    facts = dict(store.commit(1).facts)
    machine: Mapping[str, str] = {"processor": "another one"}

    def check(allow: bool = False, now: dict[str, Any] | None = None, **changed: np.ndarray) -> dict[str, Any]:
        made = {**arrays, **{f"row/{name}": values for name, values in changed.items()}}
        return facts_of_layer(store, 1, made, now or facts, machine, allow_drift=allow)

    assert check() == facts
    other = {"audio_sha256": "e" * 64}
    score = arrays["row/score"].copy()
    score[2, 0] += 0.25
    for allow in (False, True):
        with pytest.raises(OtherRows, match=r"row/score of rows \[6\] is not what the store holds"):
            check(allow, score=score)
    louder = arrays["row/waveform"].copy()
    louder[3, 1] += 0.5
    for allow in (False, True):
        with pytest.raises(
            OtherRows, match=r"the audio of rows \[7\].*levels differ by 0\.5 dB.*processor: .* \| another one"
        ):
            check(allow, other, waveform=louder)
    rounded = arrays["row/waveform"] + np.float32(2e-5)
    with pytest.raises(AudioDrift, match=r"differs by rounding.*--allow-drift"):
        check(False, other, waveform=rounded)
    drift = check(True, other, waveform=rounded)["audio_drift"]
    assert drift["of"] == facts["audio_sha256"]
    assert drift["gain_db"] == pytest.approx(2e-5, rel=0.2)
    with pytest.raises(AudioDrift, match="of one kind"):
        facts_of_layer(
            store,
            1,
            arrays,
            other,
            json.loads((store.path / "logs/000001.json").read_text())["machine"],
            allow_drift=False,
        )


def test_an_extraction_whose_audio_differs_stops_and_says_so(
    filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The renderer of another machine kind, whose samples differ in the last bits."""
    store = Path(shutil.copytree(filled, tmp_path / "store"))
    extend(ExtendConfig(store, ("expressive",)))
    from keybed.extract.run import row_maker

    real = row_maker.RowMaker.render_all

    def rounded(self: Any, variants: Any, job: Any) -> Any:
        rows = real(self, variants, job)
        return [replace(r, audio=r.audio * np.float32(1 + 1e-6)) if r.status == 0 else r for r in rows]

    monkeypatch.setattr(row_maker.RowMaker, "render_all", rounded)
    command = ["extract", str(store), "--workers", "0", "--shards", "1"]
    assert main(command) == 1
    assert "shard 1 (rows 4–7)" in capsys.readouterr().err
    assert stores.open(store).shards_of_layer("expressive").numbers == frozenset()
    failure = json.loads((store / "logs/expressive/000001.failed.json").read_text())
    assert failure["reason"].startswith("AudioDrift: shard 1")
    assert main([*command, "--allow-drift"]) == 0
    commit = stores.open(store).commit(1, "expressive")
    assert set(commit.facts["audio_drift"]) == {"of", "rms_dbfs", "peak_dbfs", "gain_db"}
    assert verify(VerifyConfig(store)).problems == ()
    capsys.readouterr()
    assert main(["info", str(store)]) == 0
    assert "1 shard of audio that differs by rounding" in capsys.readouterr().out.replace("\n", " ")


def test_what_cannot_be_extended_is_refused_before_anything_is_written(
    filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Path(shutil.copytree(filled, tmp_path / "store"))
    before = content(store)
    again = extend(ExtendConfig(store, PLACEHOLDERS))
    assert (again.added, again.present) == ((), PLACEHOLDERS)
    assert again.lines()[-1] == f"nothing to add; next: keybed status {store}"
    monkeypatch.setattr(extend_module, "FREE_SPACE_MARGIN", 1e12)
    with pytest.raises(NoDiskSpace, match="the new encoders may need"):
        extend(ExtendConfig(store, ("logmel",)))
    monkeypatch.undo()
    monkeypatch.setattr("keybed.extract.run.check_recipe.READING_VERSION", 99)
    with pytest.raises(NotAsPlanned, match="MIDI reading is not as planned"):
        extend(ExtendConfig(store, ("logmel",)))
    monkeypatch.undo()
    dry = extend(ExtendConfig(store, ("muq",), dry_run=True))  # without weights or a network
    assert (dry.added, dry.lines()[-1]) == (("muq",), "dry run: nothing was written")
    assert dry.array_bytes["audio/muq/frames"] == 12 * 20 * 2 * 1024 * 2
    assert content(store) == before
    extend(ExtendConfig(store, ("mert",), weights={"mert": "random:tiny"}))
    with pytest.raises(RecipeMismatch, match=r"revision: tiny \| 95M"):
        extend(ExtendConfig(store, ("mert",), weights={"mert": "random"}))
    assert main(["drop", str(store), "--encoder", "mert"]) == 0
    assert content(store) == before


def test_plan_again_keeps_what_was_added(filled: Path, tiny_corpus: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(filled, tmp_path / "store"))
    extend(ExtendConfig(store, ("expressive",)))
    before = content(store)
    plan(PlanConfig(tiny_corpus, store, limit=3, encoders=PLACEHOLDERS, shard_rows=4, jobs=1))
    assert content(store) == before
