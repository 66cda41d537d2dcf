"""Cost of the int8 and PCA views in ridge r, and what they save in bytes and seconds.

    python -m keybed.experiments.benchmarks.derived_cost STORE                 after `keybed derive STORE`; 2 min for 8,000 rows
    python -m keybed.experiments.benchmarks.derived_cost STORE --rows 2000     fewer rows
    python -m keybed.experiments.benchmarks.derived_cost STORE --quick         1,000 of them

For every encoder of a finished store: bytes on disk per row, seconds to read the chosen rows (the fastest of three turns, warm
page cache, int8 turned back into numbers), and the mean ridge r over the seven axis dimensions from each bin's mean and spread over
the window: fitted on the training split and evaluated on the two others, where the penalty is chosen too, in the same way for
every view. A view's cost is the r of the raw frames minus its own. The views themselves are computed from training rows.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from keybed import store as stores
from keybed.heads.inputs import tier_weights
from keybed.heads.ridge import RidgeProbe, frame_block
from keybed.store.command import command
from keybed.store.errors import KeybedError
from keybed.store.format.layout import Layout
from keybed.store.format.recipe import EncoderSpec
from keybed.store.format.rows import Rows
from keybed.store.format.vocabulary import AXIS_DIMENSIONS, SPLITS, TIER_SHARES
from keybed.store.read.store import Store

TURNS = 3
STEP_ROWS = 1024


class NothingDerived(KeybedError):
    """The store has no derived views to compare with its frames."""


@dataclass(frozen=True)
class Config:
    """rows: at most this many, spread evenly over the store; 0: all."""

    store: Path
    rows: int = 8192


@dataclass(frozen=True)
class Cost:
    """One view of one encoder. r: mean over the axis dimensions; bytes_per_row: compressed, on disk."""

    encoder: str
    view: str
    bytes_per_row: float
    seconds: float
    r: float


def costs(config: Config) -> list[Cost]:
    """Measure every view of every encoder, the raw frames first. Raises NothingDerived and StaleDerived."""
    store = stores.open(config.store)
    rows = store.rows()
    if config.rows and len(rows) > config.rows:
        rows = rows.take(np.linspace(0, len(rows) - 1, config.rows).astype(np.int64))
    results = []
    for encoder in store.recipe.encoders:
        views = views_of(store, encoder)
        if len(views) > 1:
            best = dict.fromkeys(views, float("inf"))
            for _ in range(TURNS):
                for view, path in views.items():
                    best[view] = min(best[view], _reading(store, path, rows))
            for view, path in views.items():
                size = _bytes(store, path) / store.n_rows
                results.append(Cost(encoder.name, view, size, best[view], _ridge_r(store, encoder, path, rows)))
    if not results:
        raise NothingDerived(f"{store.path} holds no int8 or PCA view: run `{command('derive', store.path)}` first")
    return results


def views_of(store: Store, encoder: EncoderSpec) -> dict[str, str]:
    """View → array path: the raw frames, then the views derived from them."""
    paths = {"frames": f"{encoder.group}/frames"}
    prefix = f"derived/{encoder.name}/frames_"
    for path in store.features:
        name = path.removeprefix(prefix)
        if name != path and (name == "int8" or (name.startswith("pca") and name[3:].isdigit())):
            store.check_fresh(path)
            paths[name] = path
    return paths


def _reading(store: Store, path: str, rows: Rows) -> float:
    began = time.perf_counter()
    for start in range(0, len(rows), STEP_ROWS):
        _read(store, path, rows.index[start : start + STEP_ROWS])
    return time.perf_counter() - began


def _read(store: Store, path: str, index: NDArray[np.int64]) -> NDArray:
    values = store.read(path, index)
    return store.from_int8(path, values) if values.dtype == np.int8 else values


def _bytes(store: Store, path: str) -> int:
    return sum(file.stat().st_size for file in Layout(store.path).array(path).glob("c.*"))


def _ridge_r(store: Store, encoder: EncoderSpec, path: str, rows: Rows) -> float:
    part = np.where(rows.split == SPLITS.index("train"), "train", "left out")
    weight = tier_weights(rows.tier, TIER_SHARES)
    probe = RidgeProbe()
    for start in range(0, len(rows), STEP_ROWS):
        step = slice(start, start + STEP_ROWS)
        index = rows.index[step]
        mask = store.read(f"{encoder.group}/mask", index) if encoder.has_mask else None
        block = frame_block("view", _read(store, path, index), mask)
        probe.add(part[step], block, rows.score[step], rows.valid[step], weight[step])
    solved = probe.solve([(["train"], ["left out"])])
    best = [solved.best(k).r for k in range(len(AXIS_DIMENSIONS))]
    return float(np.mean([0.0 if r is None else r for r in best]))


def table(costs: list[Cost]) -> Table:
    """One line per view, compared with the raw frames of its encoder."""
    shown = Table("encoder", "view", "kB per row", "of raw", "read s", "times raw", "ridge r", "cost in r", box=None)
    raw = {c.encoder: c for c in costs if c.view == "frames"}
    for c in costs:
        base = raw[c.encoder]
        shown.add_row(
            c.encoder,
            c.view,
            f"{c.bytes_per_row / 1e3:.2f}",
            f"{c.bytes_per_row / base.bytes_per_row:.0%}",
            f"{c.seconds:.2f}",
            f"{base.seconds / c.seconds:.1f}",
            f"{c.r:.3f}",
            "" if c is base else f"{base.r - c.r:+.4f}",
        )
    return shown


def main() -> None:
    """The command in the docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--rows", type=int, default=Config.rows, help="rows to look at (%(default)s; 0: all)")
    parser.add_argument("--quick", action="store_true", help="1,000 rows")
    given = parser.parse_args()
    console = Console(highlight=False)
    try:
        console.print(table(costs(Config(given.store, 1000 if given.quick else given.rows))))
    except KeybedError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from error


if __name__ == "__main__":
    main()
