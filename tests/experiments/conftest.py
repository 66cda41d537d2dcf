"""A small synthetic store whose features carry known signals."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from keybed import store
from keybed.extract.music.notes_file import save_notes
from keybed.extract.music.performance import Performance
from keybed.store.format.array_specs import shard_rows_for
from keybed.store.format.recipe import EncoderSpec, Recipe
from keybed.store.format.vocabulary import DIMENSIONS
from keybed.store.write.claims import claim
from keybed.store.write.commit import commit_shard

N_BINS = 4
AUDIO_CARRIES = {"tone": 1.0, "dynamics": 0.7, "pedal": 0.8, "expression": 0.6, "timing": 0.3}
MIDI_CARRIES = {"notes": 1.0, "timing": 0.8, "articulation": 0.9, "dynamics": 0.7, "expression": 0.5}
AXES = ("notes", "timing", "articulation", "pedal", "tone", "dynamics", "expression")


def _encoder(name: str, modality: str, source: str) -> EncoderSpec:
    return EncoderSpec(
        name=name,
        modality=modality,  # type: ignore[arg-type]
        source=source,
        revision="1",
        weights_sha256="0" * 64,
        code_version=1,
        preprocessing={},
        n_states=2,
        width=10,
        n_bins=N_BINS,
        frame_states=(1,),
        frame_stats=("mean",),
        has_mask=modality == "midi",
    )


def _scores(rng: np.random.Generator, tier: np.ndarray, profile: str) -> np.ndarray:
    middle = np.array([97.5, 87.5, 72.5, 57.5])
    own = np.repeat(tier[:, None], 7, axis=1)
    if profile == "mixed":
        drawn = rng.choice(4, size=own.shape, p=(0.3, 0.3, 0.25, 0.15))
        own = np.where((rng.random(own.shape) < 0.25) | (tier[:, None] == 0), own, drawn)
    score = middle[own] + np.where(tier[:, None] == 0, 0, rng.uniform(-7, 2, own.shape))
    return np.concatenate([score, score.mean(1, keepdims=True)], axis=1).astype(np.float32)


@pytest.fixture(scope="session")
def make_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """make_store(n_pieces, segments_a_piece, profile=…, source=…, noise=…, window_s=…) -> path of a filled store."""

    def make(
        n_pieces: int = 10,
        segments_a_piece: int = 8,
        *,
        profile: str = "mixed",
        source: str = "none",
        noise: float = 0.5,
        window_s: float = 10.0,
        seed: int = 0,
    ) -> Path:
        rng = np.random.default_rng(seed)
        n_segments = n_pieces * segments_a_piece
        n_rows = 4 * n_segments
        piece_of = np.repeat(np.arange(n_pieces), segments_a_piece)
        n_test, n_val = max(1, n_pieces // 4), max(1, n_pieces // 8)
        split_of_piece = np.array([0] * (n_pieces - n_test - n_val) + [1] * n_val + [2] * n_test)
        segment = np.repeat(np.arange(n_segments), 4)
        piece = piece_of[segment]
        tier = np.tile(np.arange(4), n_segments)
        encoders = (_encoder("test-audio", "audio", source), _encoder("test-midi", "midi", "none"))
        recipe = Recipe(
            corpus={"sha256": "0", "n_recordings": n_pieces},
            segments={"window_s": window_s, "hop_s": 6.2, "limit": None, "n_segments": n_segments, "split_repair": 1},
            degradation={"profile": profile, "seed": seed},
            audio={"source": "rendered", "sample_rate_hz": 24000},
            encoders=encoders,
            n_rows=n_rows,
            shard_rows=shard_rows_for(n_rows),
        )
        score = _scores(rng, tier, profile)
        split = split_of_piece[piece]
        bounds = [0, *np.cumsum([(split == i).sum() for i in range(3)]).tolist()]
        planned = {
            "recording": piece.astype(np.int32),
            "segment": segment.astype(np.int32),
            "piece": piece.astype(np.int32),
            "split": split.astype(np.uint8),
            "tier": tier.astype(np.uint8),
            "start_s": np.tile(np.arange(segments_a_piece).repeat(4) * 6.2, n_pieces),
            "level_drawn": np.zeros((n_rows, 8), np.float32),
        }
        path = tmp_path_factory.mktemp("store") / "synthetic"
        ranges = {name: (bounds[i], bounds[i + 1]) for i, name in enumerate(("train", "validation", "test"))}
        recordings = [{"title": f"Piece {p}", "piece": p} for p in range(n_pieces)]

        def write_notes(folder: Path) -> None:
            for p in range(n_pieces):
                drawn = np.random.default_rng([seed, p])
                onset_s = np.sort(drawn.uniform(0, 6.2 * segments_a_piece + 10, 60 * segments_a_piece))
                notes = Performance(
                    onset_s,
                    onset_s + drawn.uniform(0.05, 1.0, onset_s.size),
                    drawn.integers(21, 109, onset_s.size).astype(np.int16),
                    drawn.integers(30, 100, onset_s.size).astype(np.int16),
                )
                save_notes(folder / f"{p:05d}.npz", notes, "")

        store.create(path, recipe, planned, ranges, recordings, {}, write_notes=write_notes)
        z = (score - 75) / 15
        difficulty = rng.normal(size=(n_segments, 6))[segment].astype(np.float32)
        level = np.zeros((n_rows, 8), np.float32)
        level[:, :7] = 97.5 - score[:, :7]
        valid = rng.random((n_rows, len(DIMENSIONS))) < 0.95
        arrays: dict[str, np.ndarray] = {
            "row/status": np.zeros(n_rows, np.uint8),
            "row/n_notes": rng.integers(20, 90, n_rows).astype(np.int32),
            "row/score": score,
            "row/valid": valid,
            "row/level": level,
            "row/difficulty": difficulty,
            "row/waveform": rng.normal(size=(n_rows, 3)).astype(np.float32),
            "midi/test-midi/mask": np.ones((n_rows, N_BINS), bool),
        }
        for group, carried in (("audio/test-audio", AUDIO_CARRIES), ("midi/test-midi", MIDI_CARRIES)):
            clean = np.zeros((n_rows, 10))
            for i, (axis, strength) in enumerate(carried.items()):
                clean[:, i] = strength * z[:, AXES.index(axis)]
            clean[:, 8] = 0.5 * difficulty[:, 0]
            wobble = rng.normal(size=(n_rows, 10)) * noise
            frames = clean[:, None] + wobble[:, None] + 0.3 * rng.normal(size=(n_rows, N_BINS, 10))
            arrays[f"{group}/frames"] = frames[:, :, None].astype(np.float32)
            states = np.stack([rng.normal(size=(n_rows, 10)), clean + wobble], axis=1)
            arrays[f"{group}/layers"] = np.stack([states, np.abs(states)], axis=1).astype(np.float32)
        opened = store.open(path)
        for shard in range(opened.n_shards):
            start, stop = opened.shard_range(shard)
            with claim(opened, shard) as held:
                part = {name: values[start:stop] for name, values in arrays.items()}
                commit_shard(opened, shard, part, claim=held, failures={}, facts={})
        return path

    return make


@pytest.fixture(scope="module")
def chromium():
    """A headless Chromium; where there is none, skipped with the reason, or failed in CI.

    Closed after a module's tests: while it is open, Playwright keeps an event loop running in this thread, and other
    tests could run none.
    """
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("chromium is absent in CI")
        pytest.skip("chromium is absent")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=program,
            args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--mute-audio"],
            timeout=1_800_000,  # ms
        )
        yield browser
        browser.close()
