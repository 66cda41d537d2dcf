"""A synthetic store of the real shape with a known best r: scores are linear in hidden audio and MIDI variables, plus noise.

    python -m keybed.experiments.benchmarks.synthetic_store STORE --rows 28480           1/16 of MAESTRO, 2.6 GB, 1 minute
    python -m keybed.experiments.benchmarks.synthetic_store STORE --rows 455736          all of it, 42 GB

The frames of each modality are a random linear map of 64 hidden variables per row, with an offset and a scale per channel and
noise in every bin. Of a score's variance 36 % is linear in the audio variables, 28 % in the MIDI variables, the rest is
independent noise: the best possible r is 0.60 from audio, 0.53 from MIDI and 0.80 from both, for every dimension.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keybed import store
from keybed.extract.music.notes_file import save_notes
from keybed.extract.music.performance import Performance
from keybed.store.format.array_specs import shard_rows_for
from keybed.store.format.recipe import EncoderSpec, Recipe
from keybed.store.format.vocabulary import COVARIATES, DIMENSIONS, LEVELS, WAVEFORM_MEASURES, Status
from keybed.store.write.claims import claim
from keybed.store.write.commit import commit_shard

FULL_ROWS = 455_736
TRAIN_SHARE, VALIDATION_SHARE = 0.8022, 0.0978
HIDDEN = 64
AUDIO_SHARE, MIDI_SHARE = 0.36, 0.28
BEST_R = {"audio": AUDIO_SHARE**0.5, "midi": MIDI_SHARE**0.5, "both": (AUDIO_SHARE + MIDI_SHARE) ** 0.5}
MEAN, SD = 75.0, 10.0


@dataclass(frozen=True)
class SyntheticConfig:
    """n_rows: rounded down to whole segments. width: channels per statistic of either encoder."""

    path: Path
    n_rows: int = FULL_ROWS // 16
    width: int = 768
    n_bins: int = 20
    seed: int = 0
    audio_stats: tuple[str, ...] = ("mean", "sd")


def encoders(config: SyntheticConfig) -> tuple[EncoderSpec, ...]:
    """Two encoders with the shapes of MERT and MIDIBert, with one state each in `layers`."""
    specs = []
    for name, modality, stats in (
        ("synthetic-audio", "audio", config.audio_stats),
        ("synthetic-midi", "midi", ("mean",)),
    ):
        spec = EncoderSpec(
            name=name,
            modality=modality,  # type: ignore[arg-type]
            source="none",
            revision="1",
            weights_sha256="",
            code_version=1,
            preprocessing={"hidden": HIDDEN, "seed": config.seed},
            n_states=1,
            width=config.width,
            n_bins=config.n_bins,
            frame_states=(0,),
            frame_stats=stats,
            has_mask=modality == "midi",
        )
        specs.append(spec)
    return tuple(specs)


def make(config: SyntheticConfig) -> store.Store:
    """Make the store, or complete it; the same configuration gives the same bytes."""
    n = config.n_rows // 4 * 4
    recipe = Recipe(
        corpus={"synthetic": True, "best_r": BEST_R},
        segments={"window_s": 10.0, "hop_s": 6.2},
        degradation={"profile": "synthetic", "seed": config.seed},
        audio={"source": "synthetic"},
        encoders=encoders(config),
        n_rows=n,
        shard_rows=shard_rows_for(n),
    )
    train = int(n * TRAIN_SHARE) // 4 * 4
    validation = train + int(n * VALIDATION_SHARE) // 4 * 4
    ranges = {"train": (0, train), "validation": (train, validation), "test": (validation, n)}
    row = np.arange(n)
    segment = row // 4
    piece = segment // 100
    planned = {
        "recording": piece,
        "segment": segment,
        "piece": piece,
        "split": np.searchsorted([train, validation], row, side="right"),
        "tier": row % 4,
        "start_s": 6.2 * (segment % 100),
        "level_drawn": np.zeros((n, len(LEVELS))),
    }
    recordings = [{"id": int(i), "piece": int(i), "title": f"Synthetic {i}"} for i in range(piece.max() + 1)]
    notes = partial(_write_notes, len(recordings))
    store.create(config.path, recipe, planned, ranges, recordings, {}, write_notes=notes)
    opened = store.open(config.path)
    for shard in range(opened.n_shards):
        if shard not in opened.committed:
            with claim(opened, shard) as held:
                arrays = _shard(config, *opened.shard_range(shard))
                commit_shard(opened, shard, arrays, claim=held, failures={}, facts={"synthetic": True})
    return store.open(config.path)


def _write_notes(n_recordings: int, folder: Path) -> None:
    """Nine equal notes per second throughout, so that durations carry no information."""
    onset_s = np.arange(0, 100 * 6.2 + 10, 1 / 9)
    n = len(onset_s)
    pitch, velocity = (21 + np.arange(n) % 88).astype(np.int16), np.full(n, 64, np.int16)
    even = Performance(onset_s, onset_s + 0.1, pitch, velocity)
    for recording in range(n_recordings):
        save_notes(folder / f"{recording:05d}.npz", even, "")


def _shard(config: SyntheticConfig, start: int, stop: int) -> dict[str, NDArray]:
    n, rng = stop - start, np.random.default_rng([config.seed, start])
    k = len(DIMENSIONS)
    arrays: dict[str, NDArray] = {}
    signal = np.zeros((n, k), np.float32)
    for spec, share in zip(encoders(config), (AUDIO_SHARE, MIDI_SHARE), strict=True):
        world = np.random.default_rng([config.seed, len(spec.frame_stats)])
        hidden = rng.standard_normal((n, HIDDEN), dtype=np.float32)
        direction = world.normal(size=(HIDDEN, k))
        signal += np.sqrt(share) * (hidden @ (direction / np.linalg.norm(direction, axis=0))).astype(np.float32)
        n_stats, width = len(spec.frame_stats), config.width
        shown = world.normal(size=(HIDDEN, n_stats * width)).astype(np.float32) / np.sqrt(HIDDEN)
        offset = world.normal(size=n_stats * width).astype(np.float32)
        scale = np.exp(world.normal(-1.0, 0.5, n_stats * width)).astype(np.float32)
        level = (hidden @ shown) * scale + offset
        frames = _noise(rng, (n, config.n_bins, n_stats * width)) * (0.5 * scale) + level[:, None]
        if spec.has_mask:
            mask = rng.random((n, config.n_bins)) > 0.1
            mask[:, 0] = True
            frames[~mask] = 0
            arrays[f"{spec.group}/mask"] = mask
        arrays[f"{spec.group}/frames"] = frames.reshape(n, config.n_bins, n_stats, width).astype(np.float16)
        mean = level[:, :width] + (0.5 * scale[:width] / np.sqrt(config.n_bins)) * _noise(rng, (n, width))
        arrays[f"{spec.group}/layers"] = np.stack([mean, np.abs(mean)], axis=1)[:, :, None].astype(np.float16)
    noise = rng.standard_normal((n, k), dtype=np.float32)
    score = MEAN + SD * (signal + np.sqrt(1 - AUDIO_SHARE - MIDI_SHARE) * noise)
    arrays |= {
        "row/status": np.full(n, Status.OK, np.uint8),
        "row/n_notes": np.full(n, 90, np.int32),
        "row/score": score.astype(np.float32),
        "row/valid": np.ones((n, k), bool),
        "row/level": np.zeros((n, len(LEVELS)), np.float32),
        "row/difficulty": np.zeros((n, len(COVARIATES)), np.float32),
        "row/waveform": np.zeros((n, len(WAVEFORM_MEASURES)), np.float32),
    }
    return arrays


def _noise(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Standard normal numbers: each row is a random slice of one drawn strip, because drawing all would take hours."""
    strip = rng.standard_normal(1 << 20, dtype=np.float32)
    size = int(np.prod(shape[1:]))
    starts = rng.integers(0, len(strip) - size, shape[0])
    return np.stack([strip[s : s + size] for s in starts]).reshape(shape)


def main() -> None:
    """Run the command of the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("store", type=Path)
    parser.add_argument("--rows", type=int, default=FULL_ROWS // 16)
    arguments = parser.parse_args()
    opened = make(SyntheticConfig(arguments.store, arguments.rows))
    print(f"{opened.path}: {opened.n_rows:,} rows, {opened.n_shards} shards; best r {BEST_R}")


if __name__ == "__main__":
    main()
