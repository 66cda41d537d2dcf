"""What the encoders say of every performance: windows by the store's own recipe, and one row of numbers a performance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

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
    """Windows of every performance, by the store's encoders and those named beside; None where there are none.

    Without a store and names: the two baselines. Raises KeybedError where the store's audio is recorded.
    """
    from keybed.extract import encoders as known

    built: list[Encoder] = []
    soundfont, window_s, n_bins = None, 10.0, 20
    wanted = ("logmel", "expressive") if names is None and store is None else names or ()
    if store is not None:
        from keybed.extract.run.check_recipe import planned_encoders, render_config
        from keybed.store import open as open_store

        opened = open_store(store)
        config = render_config(opened, opened.machine_paths)
        if config.soundfont is None:
            raise KeybedError(
                f"{store}: its audio is recorded, and PercePiano has no recordings; give a rendered store"
            )
        built = planned_encoders(opened.recipe, opened.machine_paths)
        soundfont, window_s, n_bins = config.soundfont, config.window_s, built[0].spec.n_bins
    for name in wanted:
        if name in {e.spec.name for e in built}:
            continue
        given = weights if name in known.PRETRAINED else None
        built.append(known.build(*known.describe(name, weights=given, n_bins=n_bins, window_s=window_s)))
    if not built:
        return None, []
    found = encode(
        ratings.performances,
        built,
        soundfont,
        window_s=window_s,
        hop_s=hop_s,
        cache=cache,
        console=console,
    )
    return found, [e.spec for e in built]


def pooled_features(windows: Windows, specs: Sequence[EncoderSpec]) -> tuple[dict[str, Floats], str | None]:
    """A row's name → (n, channels): mean and sd over time, states averaged, then the mean over a performance's windows.

    Every encoder by itself and all together; those with random weights once, all together and marked. Also the name of
    the row with all that are not random.
    """
    each = {
        name: np.nan_to_num(by_item(a.mean(axis=2).reshape(len(a), -1), windows.item))
        for name, a in windows.layers.items()
    }
    trusted = [s.name for s in specs if not s.random_weights]
    noise = [s.name for s in specs if s.random_weights]
    found = {name: each[name] for name in trusted}
    together = " + ".join(trusted)
    if len(trusted) > 1:
        found[together] = np.hstack([each[name] for name in trusted])
    if noise:
        found[f"{' + '.join(noise)} (random weights)"] = np.hstack([each[name] for name in noise])
    return found, together or None
