"""`keybed info`: print what a store holds; everything is read from the store itself."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from keybed.experiments.cli.store_documents import mean_scores
from keybed.store.command import command
from keybed.store.counted import counted
from keybed.store.disk.commits import AUDIO_DRIFT
from keybed.store.format.array_specs import array_specs
from keybed.store.format.rows import Rows
from keybed.store.format.vocabulary import LEVELS, SPLITS, TIERS, Status
from keybed.store.read.store import Store


def describe_store(store: Store, console: Console) -> None:
    """Print the recipe, the rows, the arrays, the curves with their units and sources, and every other parameter."""
    from keybed.extract.degrade.parameters import traces_of

    recipe = store.recipe
    made = f"  recipe {store.fingerprint[:12]}, format {recipe.format_version}"
    console.print(Text.assemble((str(store.path), "bold"), made))
    for spec in recipe.encoders:
        if spec.random_weights:
            console.print(
                f"RANDOM WEIGHTS: {spec.name} holds features of seeded random weights, not of a trained encoder",
                style="bold red",
            )
    segments, audio, degradation = recipe.segments, recipe.audio, recipe.degradation
    console.print(
        f"{counted(segments['n_segments'], 'segment')} of {segments['window_s']:g} s (hop {segments['hop_s']:g} s), {counted(recipe.n_rows, 'row')}; "
        f"profile {degradation['profile']}, seed {degradation['seed']}, audio {audio['source']}"
    )
    if traces := traces_of(degradation.get("code_version")):
        console.print(f"[bold red]{traces}[/]")
    if "audible" in audio:
        console.print(f"in the audio: {audio['audible']}")
    _print_rows(store, console)
    _print_encoders(store, console)
    if recipe.labels is None:
        _print_curves(degradation, console)
        _print_parameters(degradation, console)
    else:
        console.print("no row is degraded: the labels are the ratings")
    console.print("audio", style="bold")
    for line in _flat(audio):
        console.print("  " + line, markup=False)


def _print_rows(store: Store, console: Console) -> None:
    done = len(store.committed)
    splits = ", ".join(f"{name} {stop - start:,}" for name in SPLITS for start, stop in [store.splits[name]])
    console.print(
        f"rows by split: {splits}; shards of {counted(store.shard_rows, 'row')}: {done} of {store.n_shards} committed"
    )
    if done:
        rows = store.rows(status=None, allow_missing=True)
        console.print(_scores(rows) if store.recipe.labels is None else _ratings(store, rows, store.recipe.labels))
        statuses = Counter(Status(int(s)).name for s in rows.status)
        console.print("status: " + ", ".join(f"{name} {n:,}" for name, n in statuses.most_common()))


def _scores(rows: Rows) -> Table:
    table = Table("mean score (rows)", *TIERS, box=None, header_style="bold")
    for dimension, by_tier in mean_scores(rows).items():
        means = (f"{m['mean']:.1f} ({m['rows']:,})" if m["rows"] else "–" for m in by_tier.values())
        table.add_row(dimension, *means)
    return table


def _ratings(store: Store, rows: Rows, labels: Mapping[str, Any]) -> Table:
    """Rows, mean and sd of each rated dimension, in the raters' own scale."""
    worst, best = labels["scale"]
    heads = (f"rating, {worst:g} (worst) to {best:g} (best)", "rows", "mean", "sd over rows")
    table = Table(*heads, box=None, header_style="bold")
    rating = store.read("row/rating", rows.index)
    for name, column in zip(labels["dimensions"], rating.T, strict=True):
        known = column[np.isfinite(column)]
        numbers = (f"{known.mean():.2f}", f"{known.std():.2f}") if known.size else ("–", "–")
        table.add_row(name, f"{known.size:,}", *numbers)
    return table


def _print_encoders(store: Store, console: Console) -> None:
    table = Table("array", "shape", "dtype", "MB, uncompressed", box=None, header_style="bold")
    for array in array_specs(store.recipe):
        if not array.path.startswith("row/"):
            size = np.dtype(array.dtype).itemsize * math.prod(array.shape)
            table.add_row(array.path, " × ".join(map(str, array.shape)), array.dtype, f"{size / 1e6:,.1f}")
    console.print(table)
    for spec in store.recipe.encoders:
        console.print(
            f"{spec.name}: {spec.source} {spec.revision} weights {spec.weights_sha256[:12]}, {spec.compute_dtype}, "
            f"{spec.threads} threads, frames from states {', '.join(map(str, spec.frame_states))}{_added(store, spec.name)}",
            markup=False,
        )
    if store.dropped:
        console.print(f"dropped since the plan: {', '.join(sorted(store.dropped))}", markup=False)
    derived = [path for path in store.features if path.startswith("derived/")]
    console.print("derived views: " + (", ".join(derived) or f"none yet; {command('derive', store.path)}"))


def _added(store: Store, name: str) -> str:
    """Where an encoder was added to the store: how much of it is there, and from which audio."""
    if name not in store.layers:
        return ""
    commits = [store.commit(shard, name) for shard in sorted(store.shards_of_layer(name).numbers)]
    drifted = sum(AUDIO_DRIFT in commit.facts for commit in commits)
    drift = f", {counted(drifted, 'shard')} of audio that differs by rounding from the rows'" if drifted else ""
    fingerprint = store.layers[name].fingerprint[:12]
    return f"; added as layer {fingerprint}: {len(commits)} of {counted(store.n_shards, 'shard')} committed{drift}"


def _print_curves(degradation: Mapping[str, Any], console: Console) -> None:
    anchors = degradation["score_anchors"]
    table = Table("axis", *(f"{score:g}" for score in anchors), "unit (source)", box=None, header_style="bold")
    for axis in LEVELS:
        curve = degradation["curves"][axis]
        table.add_row(axis, *(f"{level:.3g}" for level in curve["levels"]), f"{curve['unit']} ({curve['source']})")
    console.print("score → level", style="bold")
    console.print(table)


def _print_parameters(degradation: Mapping[str, Any], console: Console) -> None:
    """Print every number with its meaning, which is taken from the code; without meanings where another version made the store."""
    from keybed.extract.degrade.parameters import CODE_VERSION, explain

    console.print("every other parameter of the degradation", style="bold")
    made_by = degradation.get("code_version")
    words = explain() if made_by == CODE_VERSION else {}
    if not words:
        console.print(
            f"  (without words: version {made_by} of the degradation made this store, {CODE_VERSION} is here)"
        )
    for name, value in degradation.items():
        if name == "curves":
            continue
        if not isinstance(value, Mapping):
            console.print(f"  {name} = {value}", markup=False)
            continue
        explanation = words.get(name, "").removeprefix(f"{name.capitalize()}: ")
        console.print(f"  {name}: {explanation}".rstrip(), markup=False)
        for constant, number in value.items():
            meaning = words.get(f"{name}.{constant}")
            for line in _flat(number, constant):
                console.print(f"    {line}" + (f"   ({meaning})" if meaning else ""), markup=False)


def _flat(data: Any, path: str = "") -> list[str]:
    if isinstance(data, Mapping):
        return [line for key, value in data.items() for line in _flat(value, f"{path}.{key}" if path else str(key))]
    if isinstance(data, list) and data and all(isinstance(item, Mapping) for item in data):
        return [line for i, item in enumerate(data) for line in _flat(item, f"{path}[{i}]")]
    return [f"{path} = {data}"]
