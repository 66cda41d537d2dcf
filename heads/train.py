"""`fit`: train all heads × all seeds to predict scores, in one pass over the data per epoch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from keybed.heads import metrics
from keybed.heads.data import Data
from keybed.heads.errors import BadInput, NotFinite
from keybed.heads.fit_config import FitConfig
from keybed.heads.fitted import FitResult, Head, apply_heads, cast, describe, init_head, predict_scores
from keybed.heads.inputs import HeadInput
from keybed.heads.losses import LossWeights, combined
from keybed.heads.normalisation import Normalisation
from keybed.heads.progress import Listener
from keybed.heads.train_loop import Trained, train

Array = Any
Tree = Any


@dataclass(frozen=True)
class ScoreRegression:
    """The objective of `fit`: predict scores. Hashable, so that fits of the same heads share compiled steps."""

    named: tuple[tuple[str, Head], ...]
    weights: LossWeights
    scannable: bool = True

    @property
    def heads(self) -> dict[str, Head]:
        """{name: head}."""
        return dict(self.named)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the heads."""
        return tuple(name for name, _ in self.named)

    def to_json(self) -> dict[str, Any]:
        """The description that a checkpoint compares."""
        return {name: describe(head) for name, head in self.named}

    def init(self, key: Array, sample: HeadInput) -> dict[str, Tree]:
        """Initial parameters of all heads for one seed."""
        keys = jax.random.split(key, len(self.named))
        return {name: init_head(head, keys[i], sample) for i, (name, head) in enumerate(self.named)}

    def prepare(self, batch: HeadInput) -> Tree:
        """The batch as it is."""
        return {"rows": batch}

    def losses(self, params: Mapping[str, Tree], batch: Tree, key: Array, dtype: Any) -> dict[str, Array]:
        """Loss of each head for one seed on a standardised batch."""
        rows: HeadInput = batch["rows"]
        outputs = apply_heads(self.heads, cast(params, dtype), rows, True, key)
        labels = (rows.score_BxK, rows.valid_BxK, rows.weight_B, rows.segment_B)
        scores_PxBxK = jnp.stack([outputs[n].score_BxK for n in self.names])
        loss_P = jax.vmap(lambda score_BxK: combined(score_BxK, *labels, self.weights))(scores_PxBxK)
        return {name: loss_P[i] for i, name in enumerate(self.names)}

    def evaluate(
        self, params: Mapping[str, Tree], data: Data, normalisation: Normalisation, config: FitConfig
    ) -> dict[str, NDArray]:
        """Mean concordance (CCC) over the dimensions whose scores vary, (S,) per head; row weights are not used."""
        score, valid, row = [], [], []

        def with_labels(batches: Iterable[HeadInput]) -> Iterable[HeadInput]:
            for batch in batches:
                real = np.asarray(batch.row_B) >= 0
                score.append(np.asarray(batch.score_BxK)[real])
                valid.append(np.asarray(batch.valid_BxK)[real])
                row.append(np.asarray(batch.row_B)[real])
                yield batch

        predictions = predict_scores(self.heads, params, normalisation, with_labels(data.validation()), config)
        if not score:
            raise BadInput("the validation split has no rows; early stopping and the best epoch need some")
        scores, valids = np.concatenate(score), np.concatenate(valid)
        self._guard(predictions, np.concatenate(row))
        quality = {n: np.array([_mean_ccc(p, scores, valids) for p in predictions[n]]) for n in self.heads}
        if not np.isfinite(np.concatenate(list(quality.values()))).all():
            raise BadInput(
                f"no concordance is defined on the validation split ({len(scores)} rows): in every dimension its "
                "labels are constant or too few, so no epoch can be the best. Give it more rows or pieces"
            )
        return quality

    def _guard(self, predictions: Mapping[str, NDArray], row_N: NDArray) -> None:
        bad = {name: np.flatnonzero(~np.isfinite(p).all(axis=(0, 2))) for name, p in predictions.items()}
        names = ", ".join(name for name, rows in bad.items() if len(rows))
        if names:
            rows = row_N[np.unique(np.concatenate(list(bad.values())))]
            raise NotFinite(
                f"{names}: the prediction of {len(rows)} validation rows is not finite, rows {', '.join(map(str, rows[:8]))}"
                f"{' …' if len(rows) > 8 else ''}. Look for NaN in these rows' features (status other than OK?)"
            )


def _mean_ccc(prediction_NxK: NDArray, score_NxK: NDArray, valid_NxK: NDArray) -> float:
    values = [metrics.ccc(prediction_NxK[:, k], score_NxK[:, k], valid_NxK[:, k]) for k in range(score_NxK.shape[1])]
    defined = [v for v in values if v is not None]
    return float(np.mean(defined)) if defined else float("-inf")


def fit(
    heads: Mapping[str, Head],
    data: Data,
    config: FitConfig,
    *,
    store: str = "",
    normalisation: Normalisation | None = None,
    progress: Listener | None = None,
) -> FitResult:
    """Train all heads × all seeds together: every batch is read once and trains all of them.

    store: fingerprint of the store, which checkpoints keep and compare. normalisation: measured on the first training rows
    where None. progress: called with a `Report`. Raises BadInput, NotFinite, CheckpointMismatch.
    """
    if not heads:
        raise BadInput("no head to fit")
    objective = ScoreRegression(tuple(heads.items()), config.losses)
    trained: Trained = train(objective, data, config, store=store, normalisation=normalisation, progress=progress)
    return FitResult(
        dict(heads),
        trained.params,
        trained.normalisation,
        config,
        trained.history,
        trained.best_epoch,
        store,
        trained.compiled_steps,
    )
