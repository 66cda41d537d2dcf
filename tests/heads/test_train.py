from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest

from keybed.heads import checkpoint, fitted, metrics
from keybed.heads import step as steps
from keybed.heads.data import ArrayData
from keybed.heads.errors import BadInput, CheckpointMismatch, NotFinite
from keybed.heads.fit_config import FitConfig
from keybed.heads.fitted import predict
from keybed.heads.inputs import HeadInput
from keybed.heads.losses import LossWeights
from keybed.heads.normalisation import measure
from keybed.heads.train import fit
from tests.heads.small_heads import CONFIG, SHORT, SMALL, mean_r


def test_heads_learn_what_is_there_to_learn(result, small_data):
    """Half of the variance is in each modality: r is at most √½ for one and 1 for both."""
    predicted = predict(result, small_data.validation())
    assert {n: p.shape for n, p in predicted.items()} == dict.fromkeys(SMALL, (2, 100, 8))
    assert predicted["concat"].dtype == np.float32
    rows = small_data.validation_rows
    for seed in range(2):
        assert 0.55 < mean_r(predicted["audio"][seed], rows) < 0.8
        assert 0.55 < mean_r(predicted["midi"][seed], rows) < 0.8
        assert mean_r(predicted["concat"][seed], rows) > 0.9
    assert 60 < predicted["concat"].mean() < 90  # in score units
    assert not np.array_equal(predicted["concat"][0], predicted["concat"][1])


def test_history_is_readable(result):
    assert [h["epoch"] for h in result.history] == list(range(12))
    last = result.history[-1]
    assert last["loss"]["concat"][0] < result.history[0]["loss"]["concat"][0]
    assert last["validation"]["concat"][0] > 0.9
    assert last["rows_per_s"] > 0
    assert all(0 <= e < 12 for row in result.best_epoch.values() for e in row)
    assert repr(result).startswith(f"<FitResult: {', '.join(SMALL)}; seeds 0, 1; best epochs ")
    assert repr(result).endswith(" of 12>")


def test_shuffled_pairs_lose_the_gain(shuffled, shuffled_data):
    """With MIDI of other rows no fusion has anything over audio alone."""
    predicted = predict(shuffled, shuffled_data.validation())
    r = {n: mean_r(p[0], shuffled_data.validation_rows) for n, p in predicted.items()}
    assert r["audio"] > 0.55
    assert r["midi"] < 0.25
    assert max(r[fusion] for fusion in ("concat", "cross", "gated")) < r["audio"] + 0.02


def test_one_shape_one_compilation(result, small_data, make_world):
    """240 rows in batches of 32 (the last of 16), another number of rows, another rate, other seeds: all one program."""
    before, predicting = steps.compiled(), fitted._forward.n_compiled()
    again = fit(SMALL, small_data, replace(SHORT, learning_rate=1e-3, seeds=(4, 9)))
    fewer = fit(SMALL, ArrayData(make_world(30, 7), make_world(9, 8), 32), SHORT)
    assert (again.compiled_steps, fewer.compiled_steps) == (0, 0)
    assert steps.compiled() == before
    assert fitted._forward.n_compiled() == predicting
    assert result.compiled_steps <= 1


def test_more_seeds_change_no_seed(small_data, result):
    one = fit(SMALL, small_data, replace(CONFIG, epochs=2, seeds=(1,)))
    two = fit(SMALL, small_data, replace(CONFIG, epochs=2))
    a, b = predict(one, small_data.validation()), predict(two, small_data.validation())
    np.testing.assert_allclose(a["concat"][0], b["concat"][1], atol=2e-2)


def test_killed_and_resumed_is_the_same(small_data, tmp_path, monkeypatch):
    whole = fit(SMALL, small_data, SHORT, store="a1")
    config = replace(SHORT, checkpoint_dir=tmp_path / "run")
    save_one, saved = checkpoint.save, []

    def save_then_die(*args, **kwargs):
        save_one(*args, **kwargs)
        saved.append(1)
        if len(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save", save_then_die)
    with pytest.raises(KeyboardInterrupt):
        fit(SMALL, small_data, config, store="a1")
    monkeypatch.undo()
    (tmp_path / "run" / "state-000003.npz.partial").write_bytes(b"half")  # what a kill leaves behind
    resumed = fit(SMALL, small_data, config, store="a1")
    for a, b in zip(jax.tree.leaves(whole.params), jax.tree.leaves(resumed.params), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [h["loss"] for h in whole.history] == [h["loss"] for h in resumed.history]
    assert whole.best_epoch == resumed.best_epoch

    with pytest.raises(CheckpointMismatch, match=r"'a1'.*'b2'"):
        fit(SMALL, small_data, config, store="b2")
    with pytest.raises(CheckpointMismatch, match=r"learning_rate.*another checkpoint_dir"):
        fit(SMALL, small_data, replace(config, learning_rate=0.5), store="a1")
    rows = small_data.train_rows
    louder = ArrayData(rows._replace(audio_BxTxC=100 * rows.audio_BxTxC), small_data.validation_rows, 32)
    with pytest.raises(CheckpointMismatch, match=r"began on other data .*: audio_BxTxC differ"):
        fit(SMALL, louder, config, store="a1")
    other = {**SMALL, "audio": replace(SMALL["audio"], hidden=32)}
    with pytest.raises(CheckpointMismatch, match="another configuration"):
        fit(other, small_data, config, store="a1")


def test_resident_epochs_learn_too(small_data):
    fitted_heads = fit(SMALL, small_data, replace(CONFIG, epochs=8, resident_bytes=10**8))
    assert fitted_heads.history[-1]["validation"]["concat"][0] > 0.85
    assert len(fitted_heads.history) == 8


def test_early_stopping_keeps_the_best(small_data):
    """Validation labels that nothing can learn: the score wanders, training stops, each seed keeps its own best epoch."""
    order = np.random.default_rng(0).permutation(100)
    rows = small_data.validation_rows
    rows = rows._replace(score_BxK=rows.score_BxK[order], valid_BxK=rows.valid_BxK[order])
    data = ArrayData(small_data.train_rows, rows, 32)
    reports = []
    fitted_heads = fit(SMALL, data, replace(CONFIG, epochs=60, patience=2), progress=reports.append)
    assert [r.ended for r in reports if r.ended is not None] == fitted_heads.history
    last = len(fitted_heads.history) - 1
    assert last < 59
    assert max(e for row in fitted_heads.best_epoch.values() for e in row) == last - 2
    for name, row in fitted_heads.best_epoch.items():
        for s, epoch in enumerate(row):
            assert epoch == int(np.argmax([h["validation"][name][s] for h in fitted_heads.history]))
    prediction = predict(fitted_heads, data.validation())["concat"][1]
    best = np.mean(metrics.per_dimension("ccc", prediction, rows.score_BxK, rows.valid_BxK))
    assert best == pytest.approx(max(h["validation"]["concat"][1] for h in fitted_heads.history), abs=1e-5)


def test_a_nan_is_named(small_data):
    rows = small_data.train_rows
    audio = rows.audio_BxTxC.copy()
    audio[37] = np.nan
    bad = ArrayData(rows._replace(audio_BxTxC=audio), small_data.validation_rows, 32)
    given = measure(small_data.train(0), batch_rows=32, max_rows=None)
    with pytest.raises(
        NotFinite, match=r"epoch 1, step \d, a batch of \d+ rows .*audio \(seeds 0, 1\); concat"
    ) as error:
        fit(SMALL, bad, SHORT, normalisation=given)
    assert "midi" not in str(error.value)
    with pytest.raises(NotFinite, match=r"epoch 1, step"):
        fit(SMALL, bad, replace(SHORT, resident_bytes=10**8), normalisation=given)


def test_a_nan_is_named_where_statistics_are_measured(small_data):
    rows = small_data.train_rows
    audio = rows.audio_BxTxC.copy()
    audio[37] = np.nan
    bad = ArrayData(rows._replace(audio_BxTxC=audio), small_data.validation_rows, 32)
    with pytest.raises(NotFinite, match=r"audio_BxTxC is not finite in 1 of the rows to be trained on: rows 37\."):
        fit(SMALL, bad, SHORT)


def test_validation_rows_that_cannot_judge_are_an_error(small_data):
    """Otherwise no epoch would ever be better than the first, which would come back as the best."""
    rows = small_data.validation_rows
    midi = rows.midi_BxTxC.copy()
    midi[41, 0] = np.nan
    with pytest.raises(NotFinite, match=r"midi, concat: .* 1 validation rows is not finite, rows 41\."):
        fit(SMALL, ArrayData(small_data.train_rows, rows._replace(midi_BxTxC=midi), 32), SHORT)
    flat = rows._replace(score_BxK=np.full_like(rows.score_BxK, 97.5))
    with pytest.raises(BadInput, match=r"validation split \(100 rows\): in every dimension its labels are constant"):
        fit(SMALL, ArrayData(small_data.train_rows, flat, 32), SHORT)


def test_bad_input_is_refused(small_data, make_world):
    with pytest.raises(
        BadInput, match=r"batch_rows=512 but the training split has 240 rows; use batch_rows of at most 240"
    ):
        fit(SMALL, small_data, replace(SHORT, batch_rows=512))
    with pytest.raises(BadInput, match="a batch of 32 rows came where at most 16 fit"):
        fit(SMALL, small_data, replace(SHORT, batch_rows=16))
    nothing = jax.tree.map(lambda a: a[:0], small_data.validation_rows)
    with pytest.raises(BadInput, match="validation split has no rows"):
        fit(SMALL, ArrayData(small_data.train_rows, nothing, 32), SHORT)
    with pytest.raises(BadInput, match="no head"):
        fit({}, small_data, SHORT)
    without_midi = ArrayData(make_world(8, 0)._replace(midi_BxTxC=None), make_world(8, 0), 32)
    with pytest.raises(BadInput, match="needs midi_BxTxC"):
        fit({"midi": SMALL["midi"]}, without_midi, SHORT)
    for change in ({"epochs": 0}, {"seeds": ()}, {"seeds": (1, 1)}, {"compute_dtype": "float16"}):
        with pytest.raises(BadInput):
            replace(CONFIG, **change)
    with pytest.raises(BadInput, match="keep huber or ccc"):
        FitConfig(losses=LossWeights(huber=0, ccc=0, ranking=1))


def test_a_dimension_with_constant_labels_trains_and_stays_undefined(small_data):
    def flat(rows: HeadInput) -> HeadInput:
        score = rows.score_BxK.copy()
        score[:, 2] = 97.5
        return rows._replace(score_BxK=score)

    data = ArrayData(flat(small_data.train_rows), flat(small_data.validation_rows), 32)
    fitted_heads = fit(SMALL, data, SHORT)
    prediction = predict(fitted_heads, data.validation())["concat"][0]
    assert np.isfinite(prediction).all()
    rows = data.validation_rows
    r = metrics.per_dimension("pearson", prediction, rows.score_BxK, rows.valid_BxK)
    assert r[2] is None
    assert all(x is not None for k, x in enumerate(r) if k != 2)


def test_bfloat16_comes_close(result, small_data):
    half = fit({"concat": SMALL["concat"]}, small_data, replace(CONFIG, compute_dtype="bfloat16"))
    assert jax.tree.leaves(half.params)[0].dtype == np.float32
    a, b = (predict(x, small_data.validation())["concat"][0] for x in (result, half))
    rows = small_data.validation_rows
    assert abs(mean_r(a, rows) - mean_r(b, rows)) < 0.02
