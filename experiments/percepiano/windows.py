"""Encoder features of windows of each performance, rendered and encoded with the store's recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from keybed.extract.audio.render import Renderer
from keybed.extract.degrade import Variant, make_variant, prepare
from keybed.extract.encoders.base import Clip, Encoder, Pooled
from keybed.extract.music.performance import Performance
from keybed.heads.errors import FileDamaged
from keybed.heads.npz_file import read_npz
from keybed.store.disk.durable import replace_file, sha256_of
from keybed.store.format.recipe import fingerprint
from keybed.store.format.vocabulary import LEVELS, Status

PARTS = ("layers", "frames", "mask")
"""The fields of `Pooled` that a cache keeps."""
_BATCH_WINDOWS = 64
_SHORTEST_S = 3.0
"""A remainder of a performance this short gets no window of its own."""
CODE_VERSION = 4
_REMEDY = "delete it and run the same command again"


@dataclass(frozen=True, eq=False)
class Windows:
    """item: (window,), the performance of each window. layers, frames, mask: encoder name → array, as encoders pool them."""

    item: NDArray[np.int64]
    layers: dict[str, NDArray[np.float32]]
    frames: dict[str, NDArray[np.float32]]
    mask: dict[str, NDArray[np.bool_]]


def starts(performance: Performance, window_s: float, hop_s: float) -> list[float]:
    """Start times of a performance's windows, from its first onset on; each holds at least 3 s of it; at least one."""
    first, end = float(performance.onset_s[0]), float(performance.offset_s.max())
    times = [max(first - 0.05, 0.0)]
    while end - (times[-1] + hop_s) > max(_SHORTEST_S, window_s - hop_s):
        times.append(times[-1] + hop_s)
    return times


def encode(
    performances: Sequence[Performance],
    encoders: Sequence[Encoder],
    soundfont: Path | None,
    *,
    bank: Path | None = None,
    window_s: float,
    hop_s: float,
    cache: Path,
    console: Console,
) -> Windows:
    """Render undegraded windows, with the note bank where one is given, and encode them.

    `cache` keeps the features of each encoder under its fingerprint. A damaged file of it is named and made again.
    """
    notes = [[p.n_notes, round(float(p.offset_s.max()), 6), int(p.velocity.sum())] for p in performances]
    source = bank or soundfont
    sound = None if source is None else sha256_of(source)
    paths = {
        e.spec.name: cache
        / f"windows-{e.spec.name}-{fingerprint([asdict(e.spec), sound, window_s, hop_s, notes, CODE_VERSION])[:16]}.npz"
        for e in encoders
    }
    kept = {name: _kept(path, console) for name, path in paths.items()}
    missing = [e for e in encoders if kept[e.spec.name] is None]
    if missing:
        _make(performances, missing, Renderer(soundfont, bank), paths, window_s=window_s, hop_s=hop_s, console=console)
    tables: dict[str, dict[str, NDArray]] = {part: {} for part in PARTS}
    item = np.zeros(0, np.int64)
    for name, path in paths.items():
        arrays = kept[name] or read_npz(path, _REMEDY)
        item = arrays["item"]
        for part, table in tables.items():
            table[name] = arrays[part]
    return Windows(item, tables["layers"], tables["frames"], tables["mask"])


def _kept(path: Path, console: Console) -> dict[str, NDArray] | None:
    """The arrays of a file of the cache; None where it is absent or damaged."""
    if not path.is_file():
        return None
    again = "its windows are rendered and encoded again"
    try:
        arrays = read_npz(path, again)
    except FileDamaged as error:
        console.print(str(error), markup=False)
        return None
    if absent := {"item", *PARTS} - arrays.keys():
        console.print(f"{path} lacks the arrays {', '.join(sorted(absent))}; {again}", markup=False)
        return None
    return arrays


def _make(
    performances: Sequence[Performance],
    encoders: Sequence[Encoder],
    renderer: Renderer,
    paths: Mapping[str, Path],
    *,
    window_s: float,
    hop_s: float,
    console: Console,
) -> None:
    """Render every window once, encode it with all encoders, and write one file per encoder.

    Batches are kept beside the file until it is written, so that the same command goes on where it was stopped.
    """
    batches: list[NDArray[np.int64]] = []
    waiting: list[tuple[int, Variant]] = []

    def finish_batch() -> None:
        item = np.array([i for i, _ in waiting], np.int64)
        missing = [e for e in encoders if not _batch_is_kept(_batch(paths[e.spec.name], len(batches)), item, console)]
        if missing:
            clips = [Clip(renderer.render(v, window_s).audio, v.performance, window_s) for _, v in waiting]
            for encoder in missing:
                _write(_batch(paths[encoder.spec.name], len(batches)), item, [encoder.encode(clips)])
        batches.append(item)
        waiting.clear()

    nothing = np.zeros(len(LEVELS), np.float32)
    for i, performance in enumerate(track(performances, "rendering and encoding", console=console, transient=True)):
        prepared = prepare(performance)
        for start in starts(performance, window_s, hop_s):
            variant = make_variant(prepared, start, window_s, nothing, seed=0, recording_id=i, tier=0)
            if variant.status != Status.OK:
                continue  # no note begins in this window; a store leaves such a row out too
            waiting.append((i, variant))
            if len(waiting) == _BATCH_WINDOWS:
                finish_batch()
    if waiting:
        finish_batch()
    for encoder in encoders:
        path = paths[encoder.spec.name]
        files = [_batch(path, number) for number in range(len(batches))]
        arrays = [read_npz(file, _REMEDY) for file in files]
        _write(path, np.concatenate(batches), [Pooled(**{name: a[name] for name in PARTS}) for a in arrays])
        for file in files:
            file.unlink()
        files[0].parent.rmdir()


def _batch(path: Path, number: int) -> Path:
    """The file of one batch of windows, in a folder beside the file of all."""
    return path.with_suffix("") / f"batch-{number:05d}.npz"


def _batch_is_kept(path: Path, item: NDArray[np.int64], console: Console) -> bool:
    kept = _kept(path, console)
    return kept is not None and np.array_equal(kept["item"], item)


def _write(path: Path, item: NDArray[np.int64], pooled: Sequence[Pooled]) -> None:
    parts = {name: np.concatenate([getattr(p, name) for p in pooled]) for name in PARTS}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as file:
        np.savez(file, allow_pickle=False, item=item, **parts)


def by_item(values_WxC: NDArray[np.floating], item: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean over the windows of each performance: (performance, channel)."""
    n = int(item.max()) + 1
    total = np.zeros((n, values_WxC.shape[1]))
    np.add.at(total, item, values_WxC)
    return total / np.bincount(item, minlength=n)[:, None]
