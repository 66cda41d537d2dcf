"""Try an idea: your own small Flax head on stored features, compared with a fusion head and the ridge probe.

python -m keybed.experiments.quick_probe STORE               the store of `make demo`: under a minute on 2 cores
"""

from __future__ import annotations

import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from keybed import heads, store
from keybed.experiments.data.features import Features
from keybed.experiments.data.fold_data import FoldData, batch_rows_for
from keybed.experiments.data.view import View, pair_of
from keybed.heads import metrics
from keybed.heads.ridge import RidgeProbe, both_frames
from keybed.store.format.vocabulary import DIMENSIONS


class MyHead(nn.Module):
    """Your idea. This one reads the mean and the maximum over bins of each modality."""

    @nn.compact  # type: ignore[untyped-decorator]
    def __call__(self, batch: heads.HeadInput, train: bool) -> jnp.ndarray:
        """Standardised features in, standardised scores (B, 8) out."""
        both = [x for frames in (batch.audio_BxTxC, batch.midi_BxTxC) for x in (frames.mean(1), frames.max(1))]
        hidden = nn.gelu(nn.Dense(32)(jnp.concatenate(both, axis=-1)))
        return nn.Dense(len(DIMENSIONS))(nn.Dropout(0.2, deterministic=not train)(hidden))


def probe(path: Path, epochs: int = 20, seeds: tuple[int, ...] = (0, 1, 2)) -> dict[str, list[float | None]]:
    """r on the test split per dimension for your head, concatenation and ridge; None where labels are constant."""
    opened = store.open(path)
    rows = opened.rows()  # raises Incomplete where shards are missing; failed rows are left out
    features = Features(opened, View(*pair_of(opened, None, None)), rows)
    train, validation, test = (np.flatnonzero(rows.split == i) for i in range(3))
    size = batch_rows_for(len(train))
    config = heads.FitConfig(epochs=epochs, batch_rows=size, seeds=seeds, learning_rate=3e-3)
    models = {"my head": MyHead(), "concat": heads.HeadConfig("concat")}
    fitted = heads.fit(models, FoldData(features, train, validation, size, len(train)), config)
    predictions = {name: p.mean(axis=0) for name, p in heads.predict(fitted, features.batches(test, size)).items()}
    ridge = RidgeProbe()
    for part, positions in (("train", train), ("validation", validation)):
        for b in features.batches(positions, 1024):
            ridge.add(part, both_frames(b), b.score_BxK, b.valid_BxK)
    solved = ridge.solve([(["train"], ["validation"])])
    predictions["ridge"] = np.concatenate([solved.predict(both_frames(b)) for b in features.batches(test, 1024)])
    return {n: metrics.per_dimension("pearson", p, rows.score[test], rows.valid[test]) for n, p in predictions.items()}


if __name__ == "__main__":
    table = probe(Path(sys.argv[1]))
    print(f"{'r on the test split':24s}" + "".join(f"{name:>10s}" for name in table))
    for k, dimension in enumerate(DIMENSIONS):
        cells = ("undefined" if r[k] is None else f"{r[k]:.3f}" for r in table.values())
        print(f"{dimension:24s}" + "".join(f"{cell:>10s}" for cell in cells))
