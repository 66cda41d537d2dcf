from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from keybed.experiments.cli.render_any import render_any
from keybed.experiments.data.json_codec import from_json, plain
from keybed.experiments.data.run_folder import write_json
from keybed.experiments.sensitivity.config import SensitivityConfig
from keybed.experiments.sensitivity.counterfactuals import LEVEL_SCORES, Counterfactual
from keybed.experiments.sensitivity.probes import LARGEST_MOVEMENT, ProbeResult, movement_by_level, probe
from keybed.experiments.sensitivity.report import write_report
from keybed.experiments.sensitivity.results import SensitivityResults
from keybed.experiments.sensitivity.run import _over_bins, next_command
from keybed.extract.degrade import CURVES, UNTOUCHED
from keybed.store.format.vocabulary import AXES, LEVELS

TWIN = Counterfactual(Path("notes.npz"), 0, 0, 0.0, None, 97.5)


def test_only_the_one_axis_leaves_zero():
    for axis, name in enumerate(AXES):
        levels = replace(TWIN, axis=axis, score=57.5).levels
        changed = {LEVELS[i] for i in np.flatnonzero(levels != UNTOUCHED)}
        assert changed == ({"expression", "tempo"} if name == "expression" else {name})
        assert levels[LEVELS.index(name)] == np.float32(CURVES[name].levels[3])
    assert np.array_equal(TWIN.levels, UNTOUCHED)


def test_movement_is_one_when_a_twin_moves_as_far_as_another_segment_lies():
    rng = np.random.default_rng(0)
    untouched = rng.normal(5.0, 3.0, (4000, 6))
    elsewhere = rng.normal(5.0, 3.0, (4000, 6))
    (moved,) = movement_by_level(np.stack([untouched, elsewhere], 1))
    assert moved == pytest.approx(1.0, rel=0.02)
    assert movement_by_level(np.stack([untouched, untouched], 1)) == (0.0,)


def test_one_nearly_constant_feature_does_not_drown_the_others():
    rng = np.random.default_rng(0)
    untouched = np.c_[rng.normal(size=(50, 3)), rng.normal(0, 1e-3, 50) + 7]
    (moved,) = movement_by_level(np.stack([untouched, untouched + np.array([0, 0, 0, 100.0])], 1))
    assert moved == pytest.approx(LARGEST_MOVEMENT / 2)


def test_masked_bins_change_nothing():
    rng = np.random.default_rng(0)
    frames, mask = rng.normal(size=(3, 5, 2, 4)), np.ones((3, 5), bool)
    mask[:, 3:] = False
    garbage = frames.copy()
    garbage[:, 3:] = 1e6
    np.testing.assert_array_equal(_over_bins(frames, mask), _over_bins(garbage, mask))
    expected = np.concatenate([frames[:, :3].mean(1), frames[:, :3].std(1)], 1).reshape(3, -1)
    np.testing.assert_allclose(_over_bins(frames, mask), expected)


def _family(n, seen, rng):
    level = np.tile([0.0, 10.0, 30.0, 60.0], (n, 1))
    vectors = rng.normal(size=(n, 4, 8))
    vectors[..., 0] += seen * level / 10
    return vectors, level


@pytest.mark.parametrize("sign", [1, -1])
def test_a_visible_mistake_is_told_and_an_invisible_one_is_not(sign):
    rng = np.random.default_rng(0)
    piece = np.arange(60) // 3
    vectors, level = _family(60, 1.0, rng)
    cell = probe(("e", "0", "p", "timing"), vectors, sign * level, piece, 5)
    assert cell.r > 0.85
    assert cell.auc_by_level[-1] > 0.97
    assert list(cell.auc_by_level) == sorted(cell.auc_by_level)
    vectors, level = _family(60, 0.0, rng)
    cell = probe(("e", "0", "p", "timing"), vectors, sign * level, piece, 5)
    assert abs(cell.r) < 0.25


def test_unmoved_features_tell_nothing():
    rng = np.random.default_rng(0)
    vectors = np.repeat(rng.normal(size=(30, 1, 8)), 4, axis=1)
    cell = probe(("e", "0", "p", "tone"), vectors, np.tile([0, 1.0, 2, 3], (30, 1)), np.arange(30), 5)
    assert cell.movement == 0.0
    assert cell.r == 0.0
    assert cell.auc_by_level == (0.5, 0.5, 0.5)
    assert len(LEVEL_SCORES) == 3


@pytest.mark.parametrize(("n_segments", "warned"), [(12, True), (50, False)])
def test_few_segments_are_warned_of(n_segments, warned, tmp_path):
    auc = (0.5, 0.5, 0.5)
    cells = [ProbeResult("e", "0", "p", axis, 0.1, (0.0, 0.1, 0.1), 0.4, auc, n_segments) for axis in AXES]
    config = SensitivityConfig(Path("store"), Path("run"), segments=n_segments, states=(1, 2))
    results = SensitivityResults(config, "0" * 64, (), n_segments, 10, 0, LEVEL_SCORES, tuple(cells), 1.0)
    page = write_report(results, tmp_path / "report.html").read_text()
    assert ("Few segments." in page) == warned
    assert from_json(SensitivityResults, plain(results), Path("run/results.json")) == results
    write_json(tmp_path / "results.json", results)
    assert render_any(tmp_path, None).read_text() == page


def test_the_next_command_fills_a_store_or_uses_a_full_one():
    planned = SimpleNamespace(path=Path("/my store"), committed={0}, n_shards=2)
    assert next_command(planned) == "keybed extract '/my store'"
    planned.committed = {0, 1}
    assert next_command(planned) == "keybed phase2 '/my store' --out '/my store-phase2'"
