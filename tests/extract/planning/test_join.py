"""Two small stores joined: what the new store holds, what is refused, and what a stopped join leaves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from keybed import store as stores
from keybed.extract.config import ExtendConfig, ExtractConfig, JoinConfig, PlanConfig
from keybed.extract.planning.join import join
from keybed.extract.planning.plan import plan
from keybed.extract.planning.row_plan import PlanError
from keybed.extract.run.extend import extend
from keybed.extract.run.task import extract
from keybed.store.check.verify import VerifyConfig, verify
from keybed.store.errors import Incomplete, RecipeMismatch, ShardDamaged
from keybed.store.write import join as writing
from tests.extract.corpus.small_music import scale_file

PLACEHOLDERS = ("placeholder-audio", "placeholder-midi")
LINES = {
    "a": (
        "one.mid,Bach,Fugue in C,train,60",
        "two.mid,Bach,Fugue in D,validation,22",
        "three.mid,Bach,Fugue in E,test,22",
    ),
    "b": (
        "four.mid,Bach,Fugue in C,test,30",
        "five.mid,Liszt,Étude No. 5,train,55",
        "six.mid,Liszt,Étude No. 6,test,20",
    ),
}


def store_of(folder: Path, name: str, **changes: object) -> Path:
    for number, line in enumerate(LINES[name]):
        midi, _, _, _, seconds = line.split(",")
        scale_file(folder / name / midi, float(seconds), lowest=40 + number + 5 * (name == "b"))
    table = "\n".join(("midi,composer,title,split,duration", *LINES[name]))
    (folder / name / "list.csv").write_text(table, encoding="utf-8")
    settings = {"encoders": PLACEHOLDERS, "shard_rows": 8, "jobs": 1, **changes}
    plan(PlanConfig(folder / name, folder / f"store {name}", **settings))  # type: ignore[arg-type]
    extract(ExtractConfig(folder / f"store {name}", workers=0))
    return folder / f"store {name}"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("sources")
    return store_of(folder, "a"), store_of(folder, "b")


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_joined_store_holds_every_row_and_is_whole(sources: tuple[Path, Path], tmp_path: Path) -> None:
    before = [bytes_of(source) for source in sources]
    out = tmp_path / "joined"
    report = join(JoinConfig(sources, out))
    assert [bytes_of(source) for source in sources] == before, "the sources are not touched"
    assert verify(VerifyConfig(out)).sound
    a, b, c = (stores.open(path) for path in (*sources, out))
    assert c.n_rows == a.n_rows + b.n_rows
    assert len(c.recordings) == 6
    assert report.joined.n_linked >= 3
    assert report.joined.n_linked + report.joined.n_copied == c.n_shards

    # "Fugue in C" lasts 60 s in training and 30 s in the other store's test split: training gets it
    assert report.moved == ("four.mid: test -> train (Bach: Fugue in C)",)
    rows = c.rows(status=None)
    pieces = {name: set(c.rows(name, status=None).piece.tolist()) for name in ("train", "validation", "test")}
    assert not pieces["train"] & pieces["test"]
    assert not pieces["train"] & pieces["validation"]

    names = [entry["midi"] for entry in c.recordings]
    for source, first in ((a, 0), (b, 3)):
        own = source.rows(status=None)
        of_c = rows.take((rows.recording >= first) & (rows.recording < first + 3))
        key = np.lexsort((own.tier, own.start_s, own.recording))
        key_c = np.lexsort((of_c.tier, of_c.start_s, of_c.recording))
        for name in ("start_s", "tier", "level_drawn", "status", "score", "valid", "level", "difficulty", "waveform"):
            np.testing.assert_array_equal(getattr(own, name)[key], getattr(of_c, name)[key_c])
        for path in source.features:
            np.testing.assert_array_equal(source.read(path, own.index[key]), c.read(path, of_c.index[key_c]))
        assert names[first : first + 3] == [entry["midi"] for entry in source.recordings]
    segments = rows.segment
    assert len(np.unique(segments)) == c.n_rows // 4
    assert (np.diff(segments.reshape(-1, 4), axis=1) == 0).all(), "the four variants of a segment stay together"


def test_rows_of_a_joined_store_can_be_made_again(sources: tuple[Path, Path], tmp_path: Path) -> None:
    from keybed.extract.run.recompute import recomputer

    out = tmp_path / "joined"
    join(JoinConfig(sources, out))
    report = verify(VerifyConfig(out, recompute_rows=24), recomputer(stores.open(out)))
    assert report.recompute_difference is not None
    assert report.sound


def test_a_stopped_join_goes_on(sources: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, whole = tmp_path / "joined", tmp_path / "whole"
    join(JoinConfig(sources, whole))
    carry, calls = writing.carry_shard, []

    def stopping(*arguments: object) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        carry(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(writing, "carry_shard", stopping)
    with pytest.raises(KeyboardInterrupt):
        join(JoinConfig(sources, out))
    monkeypatch.setattr(writing, "carry_shard", carry)
    assert 0 < len(stores.open(out).committed) < stores.open(out).n_shards
    join(JoinConfig(sources, out))
    assert verify(VerifyConfig(out)).sound
    assert not verify(VerifyConfig(out)).leftovers
    kept = [{k: v for k, v in bytes_of(p).items() if not k.startswith(("logs/", "claims/"))} for p in (out, whole)]
    assert kept[0] == kept[1]
    join(JoinConfig(sources, out))  # nothing is left to do


def test_what_cannot_be_joined_is_refused(sources: tuple[Path, Path], tmp_path: Path) -> None:
    a, b = sources
    with pytest.raises(PlanError, match="two or more different stores"):
        join(JoinConfig((a, a), tmp_path / "out"))
    with pytest.raises(
        PlanError, match=r"12 windows? .*stand in .*store a as well, such as one\.mid at 0 s|windows of .* as well"
    ):
        join(JoinConfig((a, Path(shutil.copytree(a, tmp_path / "copy"))), tmp_path / "out"))
    other = store_of(tmp_path, "b", seed=7)
    with pytest.raises(RecipeMismatch, match=r"degradation\.seed: 0 \| 7"):
        join(JoinConfig((a, other), tmp_path / "out"))
    half = Path(shutil.copytree(b, tmp_path / "half"))
    (half / "commits" / "000001.json").unlink()
    with pytest.raises(Incomplete, match="shards 1 are not committed"):
        join(JoinConfig((a, half), tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    damaged = Path(shutil.copytree(b, tmp_path / "damaged"))
    file = next((damaged / "features.zarr/midi/placeholder-midi/frames").glob("c.0.*"))
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(ShardDamaged, match=r"is not the file that was committed"):
        join(JoinConfig((a, damaged), tmp_path / "out"))


def test_the_recipe_says_what_was_joined(sources: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / 'it\'s "joined"'
    report = join(JoinConfig(sources, out))
    recipe = json.loads((out / "recipe.json").read_text())["recipe"]
    assert [part["n_rows"] for part in recipe["corpus"]["joined"]] == [stores.open(path).n_rows for path in sources]
    assert recipe["corpus"]["n_recordings"] == 6
    assert report.lines()[-1].startswith("next: keybed verify '")


def test_added_encoders_are_joined_and_can_be_added_to_a_joined_store(
    sources: tuple[Path, Path], tmp_path: Path
) -> None:
    extended = tuple(Path(shutil.copytree(source, tmp_path / source.name)) for source in sources)
    for store in extended:
        extend(ExtendConfig(store, ("expressive",)))
        extract(ExtractConfig(store, workers=0))
    with pytest.raises(RecipeMismatch, match=r"expressive: \(absent\) \| \(present\)"):
        join(JoinConfig((sources[0], extended[1]), tmp_path / "no"))
    join(JoinConfig(extended, tmp_path / "before"))
    join(JoinConfig(sources, tmp_path / "after"))
    extend(ExtendConfig(tmp_path / "after", ("expressive",)))
    extract(ExtractConfig(tmp_path / "after", workers=0))
    one, other = (stores.open(tmp_path / name) for name in ("before", "after"))
    assert [spec.name for spec in one.recipe.encoders] == [*PLACEHOLDERS, "expressive"]
    assert (list(one.layers), list(other.layers)) == ([], ["expressive"])
    for name in ("before", "after"):
        assert verify(VerifyConfig(tmp_path / name)).sound
    everything = np.arange(one.n_rows)
    for path in ("midi/expressive/frames", "midi/expressive/layers"):
        np.testing.assert_array_equal(one.read(path, everything), other.read(path, everything))
