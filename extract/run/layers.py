"""Which encoders a task makes, and whether the rows that it makes again for an added one are those that the store holds."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keybed.store import Store
from keybed.store.command import command
from keybed.store.disk.commits import AUDIO, AUDIO_DRIFT
from keybed.store.errors import KeybedError
from keybed.store.format.array_specs import task_written
from keybed.store.format.layout import Layout
from keybed.store.format.recipe import differences
from keybed.store.format.vocabulary import WAVEFORM_MEASURES
from keybed.store.write.logs import read_log

Parts = tuple[str | None, ...]
"""None: the rows and the encoders planned with them; a name: an added encoder. Each is committed on its own."""

MOST_DRIFT_DB = 0.01
"""Most that a level of a row's audio may differ between kinds of machine; rounding alone differs by less than a hundredth of it."""


class OtherRows(KeybedError):
    """Rows made again for an added encoder are not those that the store holds."""


class AudioDrift(OtherRows):
    """Labels are equal and the audio differs by rounding, as between two kinds of machine."""


def chosen_parts(store: Store, encoders: Collection[str] | None) -> Parts:
    """The parts to which these encoders belong, in the order in which they are made; None: all of the store."""
    if encoders is None:
        return store.parts
    wanted = {store.part_of(name) for name in encoders}
    return tuple(part for part in store.parts if part in wanted)


def encoders_of(store: Store, parts: Collection[str | None]) -> tuple[str, ...]:
    """Names of the encoders of these parts."""
    return tuple(spec.name for spec in store.recipe.encoders if store.part_of(spec.name) in parts)


def arrays_of(store: Store, part: str | None, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Those of a shard's arrays that one part commits."""
    return {spec.path: arrays[spec.path] for spec in task_written(store.shards_of_layer(part).specs)}


def facts_of_layer(
    store: Store,
    shard: int,
    arrays: Mapping[str, np.ndarray],
    facts: Mapping[str, Any],
    machine: Mapping[str, str],
    *,
    allow_drift: bool,
) -> dict[str, Any]:
    """The facts of an added encoder's commit, after the rows made again were compared with the committed ones.

    arrays, facts: of the whole shard, made now. machine: the kind of this machine, as in logs. Raises OtherRows, AudioDrift.
    """
    commit = store.commit(shard)
    rows = np.arange(commit.start, commit.stop)
    stored = {path: store.read(path, rows) for path in arrays if path.startswith("row/")}
    where = f"shard {shard} (rows {commit.start}–{commit.stop - 1}) of {store.path}"
    for path in sorted(set(stored) - {"row/waveform"}):
        differing = _differing(stored[path], np.asarray(arrays[path]))
        if differing.any():
            raise OtherRows(
                f"{where}: {path} of rows {(commit.start + np.flatnonzero(differing))[:8].tolist()} is not what the store holds. "
                f"Nothing was added; `{command('verify', store.path, '--recompute', 8)}` compares more"
            )
    if commit.facts.get(AUDIO) == facts[AUDIO]:
        return dict(facts)
    levels, levels_now = stored["row/waveform"].astype(np.float64), arrays["row/waveform"].astype(np.float64)
    difference = np.nan_to_num(np.abs(levels_now - levels), nan=0.0)
    largest = dict(zip(WAVEFORM_MEASURES, difference.max(axis=0, initial=0.0).round(9).tolist(), strict=True))
    if AUDIO not in commit.facts and difference.max(initial=0.0) == 0:  # rows of several shards, in a joined store
        return {**facts, AUDIO_DRIFT: {"of": None, **largest}}
    kinds = _machines(store, shard, machine)
    if difference.max(initial=0.0) > MOST_DRIFT_DB:
        loudest = (commit.start + np.flatnonzero(difference.max(axis=1) > MOST_DRIFT_DB))[:8].tolist()
        raise OtherRows(
            f"{where}: the audio of rows {loudest} is not what the store's features were made from (its levels differ by "
            f"{difference.max():.3g} dB). {kinds} Nothing was added; check the soundfont or the recordings"
        )
    if not allow_drift:
        raise AudioDrift(
            f"{where}: labels are equal, and the audio differs by rounding from what the store's features were made from "
            f"(its levels by {difference.max():.1e} dB). {kinds} Extract on the kind of machine that made the rows, or add "
            "--allow-drift, which records the difference in the commits"
        )
    return {**facts, AUDIO_DRIFT: {"of": commit.facts.get(AUDIO), **largest}}


def _differing(stored: NDArray[Any], made: NDArray[Any]) -> NDArray[np.bool_]:
    """Rows that differ at all; NaN equals NaN."""
    flat_stored, flat_made = stored.reshape(len(stored), -1), made.reshape(len(made), -1)
    same = (flat_stored == flat_made) | ((flat_stored != flat_stored) & (flat_made != flat_made))
    differing: NDArray[np.bool_] = ~same.all(axis=1)
    return differing


def _machines(store: Store, shard: int, machine: Mapping[str, str]) -> str:
    log = read_log(Layout(store.path), shard)
    if log is None or log.machine is None:
        return "The log of the shard names no machine."
    stored, this = (
        {name: value for name, value in kind.items() if not name.endswith(" runs")} for kind in (log.machine, machine)
    )
    lines = differences(stored, this)
    return f"The machines differ (stored | this): {'; '.join(lines)}." if lines else "Both machines are of one kind."


def missing_parts(store: Store, shards: Sequence[int], parts: Parts) -> dict[int, Parts]:
    """Shard → the parts of it that are not committed, for every shard that lacks one."""
    done = {part: store.shards_of_layer(part).numbers for part in parts}
    missing = {shard: tuple(part for part in parts if shard not in done[part]) for shard in shards}
    return {shard: lacking for shard, lacking in missing.items() if lacking}
