"""Encoder features of every performance: windows made by the store's recipe, and their mean per performance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from keybed.experiments.percepiano.inputs import RANDOM
from keybed.experiments.percepiano.reader import Ratings
from keybed.experiments.percepiano.windows import Windows, by_item, encode
from keybed.extract.encoders.base import Encoder
from keybed.store.errors import KeybedError
from keybed.store.format.recipe import EncoderSpec

Floats = NDArray[np.float64]


def encode_performances(
    ratings: Ratings,
    store: Path | None,
    names: Sequence[str] | None,
    weights: str | None,
    *,
    hop_s: float,
    cache: Path,
    console: Console,
) -> tuple[Windows | None, list[EncoderSpec]]:
    """Encode windows of every performance with the store's encoders and those in `names`; None without any encoder.

    Without a store and names, the two baselines are used. Raises KeybedError where the store's audio is recorded.
    """
    from keybed.extract import encoders

    built: list[Encoder] = []
    soundfont, bank, window_s, n_bins = None, None, 10.0, 20
    wanted = ("logmel", "expressive") if names is None and store is None else names or ()
    if store is not None:
        from keybed.extract.run.check_recipe import planned_encoders, render_config
        from keybed.store import open as open_store

        opened = open_store(store)
        config = render_config(opened, opened.machine_paths)
        if config.maestro is not None:
            raise KeybedError(
                f"{store}: its audio is recorded, and PercePiano has no recordings; give a rendered store"
            )
        built = planned_encoders(opened.recipe, opened.machine_paths)
        soundfont, bank, window_s = config.soundfont, config.bank, config.window_s
        n_bins = built[0].spec.n_bins
    for name in wanted:
        if name in {e.spec.name for e in built}:
            continue
        given = weights if name in encoders.NEED_FILES else None
        built.append(encoders.build(*encoders.describe(name, weights=given, n_bins=n_bins, window_s=window_s)))
    if not built:
        return None, []
    windows = encode(
        ratings.performances,
        built,
        soundfont,
        bank=bank,
        window_s=window_s,
        hop_s=hop_s,
        cache=cache,
        console=console,
    )
    return windows, [e.spec for e in built]


def pooled_features(windows: Windows, specs: Sequence[EncoderSpec]) -> tuple[dict[str, Floats], str | None]:
    """Name → (performance, channel): mean and sd over time, averaged over states and over a performance's windows.

    One entry per encoder, one for all together, and one for those with random weights, marked as such. Also returns the
    name of the entry with all encoders that are not random.
    """
    each = {
        name: np.nan_to_num(by_item(a.mean(axis=2).reshape(len(a), -1), windows.item))
        for name, a in windows.layers.items()
    }
    trusted = [s.name for s in specs if not s.random_weights]
    noise = [s.name for s in specs if s.random_weights]
    pooled = {name: each[name] for name in trusted}
    together = " + ".join(trusted)
    if len(trusted) > 1:
        pooled[together] = np.hstack([each[name] for name in trusted])
    if noise:
        pooled[f"{' + '.join(noise)} ({RANDOM})"] = np.hstack([each[name] for name in noise])
    return pooled, together or None
