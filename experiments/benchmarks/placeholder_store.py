"""A store of any size, with synthetic features of two or four 768-wide encoders; see `synthetic_features`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from keybed import store
from keybed.experiments.benchmarks import synthetic_features
from keybed.store.format.array_specs import shard_rows_for
from keybed.store.format.recipe import EncoderSpec, Recipe
from keybed.store.format.vocabulary import LEVELS
from keybed.store.write.claims import claim
from keybed.store.write.commit import commit_shard


def recipe(n_rows: int, shard_rows: int | None = None, n_encoders: int = 2) -> Recipe:
    """A recipe with the shapes of MERT-95M and MIDIBert, each twice where n_encoders is 4; sources are "none"."""
    shapes = [("audio-1", "audio", 2, False), ("midi-1", "midi", 1, True), ("audio-2", "audio", 2, False)]
    shapes.append(("midi-2", "midi", 1, True))
    encoders = [
        EncoderSpec(
            name=name,
            modality="audio" if modality == "audio" else "midi",
            source="none",
            revision="made up",
            weights_sha256="0" * 64,
            code_version=1,
            preprocessing={},
            n_states=13,
            width=768,
            n_bins=20,
            frame_states=(6, 7, 8, 9),
            frame_stats=("mean", "sd")[:n_stats],
            has_mask=has_mask,
        )
        for name, modality, n_stats, has_mask in shapes[:n_encoders]
    ]
    nothing: dict[str, object] = {"made_up": True}
    return Recipe(nothing, nothing, nothing, nothing, tuple(encoders), n_rows, shard_rows or shard_rows_for(n_rows))


def create(path: Path, recipe: Recipe) -> store.Store:
    """An empty placeholder store."""
    row = np.arange(recipe.n_rows)
    edges = (0, int(recipe.n_rows * 0.8) // 4 * 4, int(recipe.n_rows * 0.9) // 4 * 4, recipe.n_rows)
    planned = {
        "recording": row // 400,
        "segment": row // 4,
        "piece": row // 400,
        "split": np.searchsorted(edges[1:], row, side="right"),
        "tier": row % 4,
        "start_s": row // 4 * 6.2,
        "level_drawn": np.zeros((recipe.n_rows, len(LEVELS))),
    }
    ranges = {name: (edges[i], edges[i + 1]) for i, name in enumerate(("train", "validation", "test"))}
    store.create(path, recipe, planned, ranges, [{"id": i} for i in range(-(-recipe.n_rows // 400))], {})
    return store.open(path)


def arrays(opened: store.Store, shard: int) -> dict[str, np.ndarray]:
    """Every task-written array of one shard."""
    start, stop = opened.shard_range(shard)
    n = stop - start
    values: dict[str, np.ndarray] = {}
    for number, spec in enumerate(spec for spec in opened.specs if spec.writer == "task"):
        rest = spec.shape[1:]
        if spec.path.endswith("/frames"):
            values[spec.path] = synthetic_features.frames(1000 * shard + number, n, *rest)
        elif spec.path.endswith("/layers"):
            values[spec.path] = synthetic_features.layers(1000 * shard + number, n, rest[1], rest[0], rest[2])
        else:
            values[spec.path] = np.ones((n, *rest), spec.dtype)
    values["row/status"][:] = 0
    return values


def fill(opened: store.Store, shards: Iterable[int]) -> None:
    """Commit these shards."""
    for shard in shards:
        with claim(opened, shard) as held:
            commit_shard(opened, shard, arrays(opened, shard), claim=held, failures={}, facts={})
