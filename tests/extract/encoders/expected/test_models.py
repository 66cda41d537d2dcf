"""The file of models: what it keeps, which model judges which music, and files that are refused."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from keybed.extract.encoders.base import Music
from keybed.extract.encoders.errors import WeightsRefused
from keybed.extract.encoders.expected.models import ExpectedModels, PlayingModel, load


@pytest.fixture
def models() -> ExpectedModels:
    rng = np.random.default_rng(3)
    drawn = [PlayingModel.drawn(rng) for _ in range(3)]
    return ExpectedModels(
        of_all=drawn[0],
        of_others=tuple(drawn[1:]),
        group_of_midi={"aa": 0, "bb": 1},
        group_of_piece={"Étude": 0, "Fugue": 1},
        fitted_to={"windows": 12, "held_out": {"length_r2": 0.5}},
    )


def written(models: ExpectedModels, file: Path) -> Path:
    with file.open("wb") as opened:
        models.save(opened)
    return file


def same(one: PlayingModel, other: PlayingModel) -> bool:
    first, second = one.arrays("x"), other.arrays("x")
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def test_a_piece_is_judged_by_the_model_of_the_others(models: ExpectedModels) -> None:
    assert models.judging(Music("aa", "Sonata")) is models.of_others[0]
    assert models.judging(Music("zz", "Fugue")) is models.of_others[1]
    assert models.judging(Music("bb", "Étude")) is models.of_others[1]  # the file itself counts before its name
    assert models.judging(Music("zz", "Sonata")) is models.of_all
    assert models.judging(None) is models.of_all


def test_a_file_keeps_everything(models: ExpectedModels, tmp_path: Path) -> None:
    again = load(written(models, tmp_path / "models.npz"))
    assert same(again.of_all, models.of_all)
    assert all(same(a, b) for a, b in zip(again.of_others, models.of_others, strict=True))
    assert (again.group_of_midi, again.group_of_piece, again.fitted_to) == (
        models.group_of_midi,
        models.group_of_piece,
        models.fitted_to,
    )
    bytes_of = [io.BytesIO(), io.BytesIO()]
    models.save(bytes_of[0])
    again.save(bytes_of[1])
    assert bytes_of[0].getvalue() == bytes_of[1].getvalue()


def test_files_that_are_refused(models: ExpectedModels, tmp_path: Path) -> None:
    file = written(models, tmp_path / "models.npz")
    with pytest.raises(WeightsRefused, match="is not the file that was planned"):
        load(file, "0" * 64)
    with pytest.raises(WeightsRefused, match=r"cannot be read .*keybed expect STORE"):
        load(tmp_path / "absent.npz")
    cut = tmp_path / "cut.npz"
    cut.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(WeightsRefused, match=r"holds no models .*keybed expect STORE"):
        load(cut)
    with np.load(file) as archive:
        arrays = {name: archive[name] for name in archive.files}
    for name, wrong, said in (
        ("all/lift/weight0", arrays["all/lift/weight0"][:-1], "inputs"),
        ("all/length/value/bias1", np.array([np.nan], np.float32), "not finite"),
        ("all/length/value/weight1", arrays["all/length/value/weight1"][:-1], "do not fit together"),
        ("group1/velocity/scale", -arrays["group1/velocity/scale"], "not above 0"),
        ("about", np.frombuffer(b"{}", np.uint8), "format"),
        ("about", np.frombuffer(b'{"format": 1, "groups": 2, "group_of_midi": []}', np.uint8), "holds no models"),
        ("all/length/least", np.zeros(0, np.float32), "holds no models"),
        ("all/length/value/weight0", arrays["all/length/value/weight0"][:-1], "inputs, and networks that read"),
    ):
        np.savez(tmp_path / "wrong.npz", **{**arrays, name: wrong})
        with pytest.raises(WeightsRefused, match=said):
            load(tmp_path / "wrong.npz")
    np.savez(tmp_path / "pickled.npz", **{**arrays, "about": np.array([{"format": 1}], object)})
    with pytest.raises(WeightsRefused, match="holds no models"):
        load(tmp_path / "pickled.npz")


def test_another_version_of_the_format_is_refused(models: ExpectedModels, tmp_path: Path) -> None:
    file = written(models, tmp_path / "models.npz")
    with np.load(file) as archive:
        arrays = {name: archive[name] for name in archive.files}
    text = arrays["about"].tobytes().decode().replace('"format": 1', '"format": 9')
    np.savez(tmp_path / "later.npz", **{**arrays, "about": np.frombuffer(text.encode(), np.uint8)})
    with pytest.raises(WeightsRefused, match="format 9; this version of Keybed reads 1"):
        load(tmp_path / "later.npz")
    group = arrays["about"].tobytes().decode().replace('"bb": 1', '"bb": 7')
    np.savez(tmp_path / "group.npz", **{**arrays, "about": np.frombuffer(group.encode(), np.uint8)})
    with pytest.raises(WeightsRefused, match="none of the 2"):
        load(tmp_path / "group.npz")
