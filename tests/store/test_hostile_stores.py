"""A store from a stranger: its names and numbers are checked when it is opened, and a repair stays inside it."""

from __future__ import annotations

import json
import os
from contextlib import suppress

import pytest

from keybed import store
from keybed.experiments.cli.verify_view import verify_lines
from keybed.store import errors
from keybed.store.check.verify import VerifyConfig, verify
from keybed.store.disk.durable import canonical
from keybed.store.format.recipe import fingerprint
from keybed.store.write.layers import add_encoders, drop_encoder
from tests.store.conftest import encoder as encoder_spec


def rewrite_recipe(root, change):
    """Change the recipe in every place that holds it, with fingerprints that fit."""
    file, group = root / "recipe.json", root / "features.zarr/zarr.json"
    recipe = json.loads(file.read_bytes())["recipe"]
    change(recipe)
    digest = fingerprint(recipe)
    file.write_bytes(canonical({"recipe": recipe, "fingerprint": digest}))
    metadata = json.loads(group.read_bytes())
    metadata["attributes"]["keybed"] |= {"recipe": recipe, "fingerprint": digest}
    group.write_text(json.dumps(metadata))
    plan = json.loads((root / "commits/plan.json").read_bytes())
    (root / "commits/plan.json").write_bytes(canonical({"objects": plan["objects"], "recipe": digest}))


def encoder(key, value):
    return lambda recipe: recipe["encoders"][0].__setitem__(key, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (encoder("name", "../../evil"), "encoder '../../evil': a name has letters"),
        (encoder("name", "/etc"), "a name has letters"),
        (encoder("name", ".."), "a name has letters"),
        (encoder("name", "a\n"), "a name has letters"),
        (encoder("name", 7), "a name has letters"),
        (encoder("modality", "../midi"), "is neither audio nor midi"),
        (encoder("width", -1), "width is -1"),
        (encoder("width", 10**30), "width is a number of 31 digits"),
        (encoder("n_bins", 0), "n_bins is 0"),
        (encoder("n_states", True), "n_states is True"),
        (encoder("frame_states", [99]), "are not among its 2 states"),
        (encoder("layer_stats", "mean"), "layer_stats is no list of names"),
        (lambda recipe: recipe.__setitem__("shard_rows", 0), "shard_rows is 0"),
        (lambda recipe: recipe.__setitem__("shard_rows", -8), "shard_rows is -8"),
        (lambda recipe: recipe.__setitem__("n_rows", -1), "n_rows is -1"),
        (lambda recipe: recipe.__setitem__("n_rows", 10**15), "n_rows is 1000000000000000"),
        (lambda recipe: recipe.update(n_rows=10**8, shard_rows=1), "more than 1000000 shards"),
        (lambda recipe: recipe["encoders"].append(recipe["encoders"][0]), "two encoders have one name: a, m, a"),
        (lambda recipe: recipe["encoders"][0].update(n_bins=10**6, width=10**6), "are too many for shards"),
        (lambda recipe: recipe.__setitem__("encoders", None), "encoders is no list"),
        (lambda recipe: recipe.__setitem__("audio", []), "audio is no JSON object"),
    ],
)
def test_names_and_numbers_of_a_recipe_are_checked_at_opening(filled, tmp_path, change, message):
    rewrite_recipe(filled.path, change)
    outside = tmp_path / "evil"
    outside.mkdir()
    (outside / "c.0.0.0.0").write_bytes(b"mine")
    with pytest.raises(errors.NotAStore) as refused:
        store.open(filled.path)
    assert message in str(refused.value)
    for repair in (False, True):
        with pytest.raises(errors.NotAStore):
            verify(VerifyConfig(filled.path, repair=repair))
    assert (outside / "c.0.0.0.0").read_bytes() == b"mine"


@pytest.mark.parametrize(
    "splits", [None, {}, {"train": [0, 150]}, {"train": [0, 9], "validation": [5, 9], "test": [9, 150]}]
)
def test_splits_that_do_not_cover_the_rows_are_refused(filled, splits):
    file = filled.path / "features.zarr/zarr.json"
    metadata = json.loads(file.read_bytes())
    metadata["attributes"]["keybed"]["splits"] = splits
    file.write_text(json.dumps(metadata))
    with pytest.raises(errors.NotAStore, match="wrong splits"):
        store.open(filled.path)
    assert verify(VerifyConfig(filled.path, repair=True)).sound, "the splits follow from the column row/split"


@pytest.mark.parametrize("name", ["../../outside.txt", "/etc/hostname", "", "notes/\0"])
def test_a_plan_that_lists_files_outside_the_store_is_refused(filled, name):
    plan = json.loads((filled.path / "commits/plan.json").read_bytes())
    del plan["sha256"]
    plan["objects"][name] = {"bytes": 1, "sha256": "0" * 64}
    (filled.path / "commits/plan.json").write_bytes(canonical(plan))
    with pytest.raises(errors.NotAStore, match="is no path and checksum"):
        store.open(filled.path)


@pytest.mark.parametrize(
    "folder", ["claims", "features.zarr/audio/a/frames", "features.zarr/derived", "logs", "commits"]
)
def test_a_repair_deletes_nothing_behind_a_link(filled, tmp_path, folder):
    outside = tmp_path / "outside"
    inside = filled.path / folder
    if inside.exists():
        inside.rename(outside)
    else:
        outside.mkdir()
    inside.symlink_to(outside)
    for name in ("000001.json.partial", "thesis.txt", "000001.0123.stale", "000007.json", "c.2.0.0.0"):
        (outside / name).write_bytes(b"mine")
        os.utime(outside / name, (0, 0))
    (outside / "a").mkdir()
    (outside / "a/frames_mean").mkdir()
    before = sorted(outside.rglob("*"))
    with suppress(errors.StoreError):
        verify(VerifyConfig(filled.path, repair=True))
    left = sorted(outside.rglob("*"))
    assert [path for path in before if path not in left] == []


def test_files_of_others_in_the_claims_folder_are_left_alone(filled):
    (filled.path / "claims").mkdir(exist_ok=True)
    mine = filled.path / "claims/thesis.txt"
    mine.write_bytes(b"mine")
    report = verify(VerifyConfig(filled.path, repair=True))
    assert report.leftovers == ()
    assert mine.read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: record["encoder"].update(name="m"), "it is the record of m"),
        (lambda record: record["encoder"].update(width=1 << 80), "width is a number of 25 digits"),
        (lambda record: record["encoder"].update(modality="../.."), "modality '../..' is neither audio nor midi"),
        (lambda record: record["encoder"].pop("threads"), r"missing fields ['threads']"),
        (lambda record: record.update(rows="0" * 64), "it belongs to other rows (000000000000…"),
        (lambda record: record.update(layer_version=2), "it has layer_version 2, this Keybed reads 1"),
        (lambda record: record["encoder"].update(width=1_000_000, n_states=1_000), "numbers a row are too many"),
    ],
)
def test_the_record_of_an_added_encoder_is_checked_at_opening(filled, change, message):
    add_encoders(filled.path, (encoder_spec("b", "audio", 5),), {})
    file = filled.path / "layers/b.json"
    record = json.loads(file.read_bytes())
    del record["sha256"]
    change(record)
    file.write_bytes(canonical(record))
    with pytest.raises(errors.NotAStore) as refused:
        store.open(filled.path)
    assert f"{filled.path}: layers/b.json cannot be read (" in str(refused.value)
    assert message in str(refused.value)
    assert f"keybed drop {filled.path} --encoder b" in str(refused.value)
    drop_encoder(filled.path, "b")
    assert verify(VerifyConfig(filled.path)).sound


@pytest.mark.parametrize("folder", ["claims/b", "features.zarr/audio/b", "logs/b", "commits/b", "layers"])
def test_extend_drop_and_repair_change_nothing_behind_a_link(filled, tmp_path, folder):
    add_encoders(filled.path, (encoder_spec("b", "audio", 5),), {})
    outside, inside = tmp_path / "outside", filled.path / folder
    if inside.exists():
        inside.rename(outside)
    else:
        outside.mkdir()
    inside.parent.mkdir(exist_ok=True)
    inside.symlink_to(outside)
    for name in ("000001.json.partial", "thesis.txt", "000007.json", "c.2.0.0.0", "n.json"):
        (outside / name).write_bytes(b"mine")
        os.utime(outside / name, (0, 0))
    before = {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()}
    for change in (
        lambda: verify(VerifyConfig(filled.path, repair=True)),
        lambda: add_encoders(filled.path, (encoder_spec("n", "midi", 2),), {}),
        lambda: drop_encoder(filled.path, "b"),
    ):
        with suppress(errors.StoreError):
            change()
    assert {path: path.read_bytes() for path in outside.rglob("*") if path.is_file()} == before


DEEP = b'{"a":' * 100_000
SMALL_FILES = [
    "recipe.json",
    "recordings.json",
    "places.json",
    "commits/plan.json",
    "commits/000001.json",
    "logs/000001.json",
    "features.zarr/zarr.json",
    "features.zarr/audio/zarr.json",
    "features.zarr/audio/a/frames/zarr.json",
    "features.zarr/row/status/zarr.json",
    "features.zarr/row/recording/zarr.json",
]


def what_verify_says(root) -> str:
    try:
        return "\n".join(verify_lines(verify(VerifyConfig(root))))
    except errors.NotAStore as error:
        return str(error)


@pytest.mark.parametrize("name", SMALL_FILES)
def test_a_damaged_small_file_is_named_and_repaired_where_the_rest_holds_it(tmp_path, synthetic, snapshot, name):
    """Never a traceback; everything but recordings.json comes back, what a task makes by making its shard again."""
    synthetic = type(synthetic)(n_rows=16, shard_rows=8)
    filled = synthetic.fill(synthetic.create(tmp_path / "S"))
    before = snapshot(filled.path)
    file = filled.path / name
    sound = file.read_bytes()
    for data in (b"", b"null", b'{"a": NaN}', sound[:-9], DEEP, None):
        file.unlink()
        if data is not None:
            file.write_bytes(data)
        named = what_verify_says(filled.path)
        if data is not None or not name.startswith(("logs/", "commits/0")):  # a log is missed by nobody
            assert name in named, (data, named)
            assert "--repair" in named or name == "recordings.json", (data, named)
        report = verify(VerifyConfig(filled.path, repair=True))
        if name == "recordings.json":
            assert not report.sound
            with pytest.raises(errors.NotAStore, match=r"recordings\.json"):
                store.open(filled.path)
            file.write_bytes(sound)
        synthetic.fill(store.open(filled.path), report.redo)
        assert snapshot(filled.path) == before, (name, data)
        if not file.exists():
            file.write_bytes(sound)


def test_a_plan_that_no_commit_confirms_is_not_made_up(tmp_path, synthetic):
    """Without commits nothing says that the columns on the disk are those that were planned."""
    opened = synthetic.create(tmp_path / "S")
    (opened.path / "commits/plan.json").write_bytes(b"")
    report = verify(VerifyConfig(opened.path, repair=True))
    assert "commits/plan.json cannot be read" in str(report.problems[0])
    with pytest.raises(errors.NotAStore, match=r"plan\.json cannot be read"):
        store.open(opened.path)


def test_a_recipe_of_another_store_is_put_right(filled, tmp_path, synthetic):
    other = type(synthetic)(seed=1).create(tmp_path / "B")
    (filled.path / "recipe.json").write_bytes((other.path / "recipe.json").read_bytes())
    with pytest.raises(errors.NotAStore, match="belong to different stores"):
        store.open(filled.path)
    assert verify(VerifyConfig(filled.path, repair=True)).restorable == ("recipe.json",)
    assert store.open(filled.path).recipe == synthetic.recipe


def test_files_that_may_not_be_read_are_named(filled):
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    (filled.path / "recipe.json").chmod(0)
    with pytest.raises(errors.NotAStore, match="Permission denied"):
        store.open(filled.path)
