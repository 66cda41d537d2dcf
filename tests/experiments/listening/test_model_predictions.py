import numpy as np
import pytest

from keybed.experiments.evaluation.model_names import BEST_FUSION
from keybed.experiments.evaluation.saved_predictions import TRUTH
from keybed.experiments.listening.model_predictions import read_model_predictions
from keybed.store.errors import KeybedError


def test_predictions_are_those_of_the_asked_rows(tmp_path) -> None:
    index = np.array([30, 10, 20])
    saved = np.arange(2 * 3 * 8, dtype=np.float32).reshape(2, 3, 8)
    truth = {f"truth/{name}": np.zeros(3) for name in TRUTH}
    np.savez(
        tmp_path / "predictions.npz", **{"index": index, "fold": np.zeros(3), f"said/{BEST_FUSION}": saved, **truth}
    )
    of_rows = read_model_predictions(tmp_path, np.array([10, 30]))
    assert of_rows.prediction == pytest.approx(saved[:, [1, 0]].mean(axis=0))
    assert of_rows.spread == pytest.approx([12, 12])  # two seeds 24 apart
    with pytest.raises(KeybedError, match="lacks some test rows"):
        read_model_predictions(tmp_path, np.array([11]))
    with pytest.raises(KeybedError, match="absent"):
        read_model_predictions(tmp_path / "nowhere", np.array([10]))
