"""How far an audio encoder tells degraded rows whose sound was left alone (tone level 0) from pristine ones.

    python -m keybed.experiments.audits.sound_traces STORE                     logmel of a filled store; a minute
    python -m keybed.experiments.audits.sound_traces STORE --encoder transkun  another encoder of it

The detectors of `fingerprints` (gradient-boosted trees and a linear model, folds by piece) read mean and standard deviation over
time of the encoder's first state. AUC 0.5 is chance. An encoder that hears mistakes is above chance by right: only for `logmel`,
which hears little of them, does the number speak of traces.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from keybed import store as stores
from keybed.experiments.audits import fingerprints
from keybed.experiments.audits.fingerprints import NotEnoughRows, Table
from keybed.store.counted import counted
from keybed.store.errors import KeybedError, NoSuchFeature
from keybed.store.format.vocabulary import AXES, LEVELS

_TONE = LEVELS.index("tone")


@dataclass(frozen=True)
class Config:
    """encoder: an encoder of the store that has layers."""

    store: Path
    encoder: str = "logmel"
    folds: int = 5
    seed: int = 0


def measure(config: Config) -> Table:
    """Pooled features of the pristine rows and of the degraded rows with tone level 0. Raises NotEnoughRows, NoSuchFeature."""
    store = stores.open(config.store)
    if config.encoder not in (have := [encoder.name for encoder in store.recipe.encoders]):
        raise NoSuchFeature(f"{config.store}: no encoder {config.encoder!r} in it; choose one of {', '.join(have)}")
    rows = store.rows()
    alike = np.flatnonzero((rows.tier == 0) | (rows.level[:, _TONE] == 0))
    n_degraded = int((rows.tier[alike] > 0).sum())
    n_pieces = len(set(rows.piece[alike].tolist()))
    if n_pieces < config.folds or min(n_degraded, alike.size - n_degraded) < 4 * config.folds:
        raise NotEnoughRows(
            f"{config.store}: {counted(n_degraded, 'degraded row')} with tone left alone, of {counted(n_pieces, 'piece')}; "
            f"{counted(config.folds, 'fold')} by piece need more"
        )
    layers = store.read(f"{store.recipe.encoder(config.encoder).group}/layers", rows.index[alike])
    features = np.asarray(layers[:, :, 0], np.float64).reshape(alike.size, -1)
    score = np.where(rows.valid[alike], rows.score[alike], np.nan)[:, : len(AXES)].astype(np.float64)
    names = tuple(str(k) for k in range(features.shape[1]))
    return Table(
        names, features, features[:, :1], rows.tier[alike].astype(np.int64), rows.piece[alike].astype(np.int64), score
    )


def main() -> None:
    """Print the AUC of both models."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path, metavar="STORE")
    parser.add_argument("--encoder", default="logmel", help="an audio encoder of the store (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    try:
        table = measure(Config(given.store, given.encoder, seed=given.seed))
    except KeybedError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from error
    auc = fingerprints.detect(table, fingerprints.Config(given.store, seed=given.seed), ()).auc
    n_degraded = int((table.tier > 0).sum())
    print(
        f"{given.encoder}, tone left alone: {counted(n_degraded, 'degraded row')} against "
        f"{counted(table.tier.size - n_degraded, 'pristine row')}: "
        + ", ".join(f"AUC of {name} {value:.3f}" for name, value in auc.items())
    )


if __name__ == "__main__":
    main()
