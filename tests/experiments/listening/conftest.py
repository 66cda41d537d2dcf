"""Rows as a mixed store draws them, and raters whose accuracy and habits are known."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from rich.console import Console

from keybed.experiments.listening.answer_key import Provenance
from keybed.experiments.listening.app.database import Database
from keybed.experiments.listening.app.limits import RateLimit
from keybed.experiments.listening.app.rating_set import RatingSet, write_set
from keybed.experiments.listening.app.server import build_app
from keybed.experiments.listening.config import IngestConfig, SelectConfig
from keybed.experiments.listening.ingest import ingest
from keybed.experiments.listening.practice import practice_clips
from keybed.experiments.listening.selection import Design, _candidates, make_rating_set
from keybed.experiments.listening.stratified_sample import draw
from keybed.experiments.listening.volume_check import write_volume_check
from keybed.store.format.rows import Rows
from keybed.store.format.vocabulary import DIMENSIONS

BANDS = ((97.5, 97.5), (80.0, 95.0), (65.0, 80.0), (50.0, 65.0))
SHARES = (0.30, 0.30, 0.25, 0.15)


def mixed_rows(n_segments: int = 400, n_pieces: int = 40, seed: int = 0) -> Rows:
    """Four variants a segment; outside pristine rows a dimension follows the row's tier with probability 1/4."""
    rng = np.random.default_rng(seed)
    n = 4 * n_segments
    tier = np.tile(np.arange(4), n_segments)
    own = rng.random((n, 7)) < 0.25
    drawn = np.where(own, tier[:, None], rng.choice(4, (n, 7), p=SHARES))
    drawn[tier == 0] = 0
    low, high = np.array(BANDS).T
    score = low[drawn] + rng.random((n, 7)) * (high - low)[drawn]
    score = np.hstack([score, score.mean(axis=1, keepdims=True)]).astype(np.float32)
    segment = np.repeat(np.arange(n_segments), 4)
    values = {
        "index": np.arange(n, dtype=np.int64),
        "recording": segment.astype(np.int32),
        "segment": segment.astype(np.int32),
        "piece": (segment % n_pieces).astype(np.int32),
        "split": np.full(n, 2, np.uint8),
        "tier": tier.astype(np.uint8),
        "start_s": np.zeros(n),
        "level_drawn": np.zeros((n, 8), np.float32),
        "status": np.zeros(n, np.uint8),
        "n_notes": np.full(n, 50, np.int32),
        "score": score,
        "valid": rng.random((n, 8)) < 0.95,
        "level": np.zeros((n, 8), np.float32),
        "difficulty": np.zeros((n, 6), np.float32),
        "waveform": np.zeros((n, 3), np.float32),
        "soundfont": np.zeros(n, np.uint8),
        "held_out": np.zeros(n, bool),
    }
    return Rows(**{name: values[name] for name in Rows.__dataclass_fields__})


@dataclass(frozen=True)
class Rater:
    bias: float = 0.0
    drift: float = 0.0
    gain: float = 1.0
    noise: float = 8.0


HABITS = (
    Rater(),
    Rater(bias=12, drift=-8, noise=10),
    Rater(bias=-10, gain=0.7, noise=6),
    Rater(drift=6, gain=1.2, noise=14),
)
PLANTED = np.array([0.8, 0.65, 0.55, 0.4, 0.7, 0.3, 0.2, 0.6])


@dataclass(frozen=True)
class Simulation:
    folder: Path
    design: Design
    rating_set: RatingSet
    planted: np.ndarray = field(default_factory=lambda: PLANTED)


def simulate(folder: Path, seed: int, *, n: int = 120, planted: np.ndarray = PLANTED, habits=HABITS) -> Simulation:
    """Draw clips, then rate every presentation through the web application as the raters would."""
    rng = np.random.default_rng(1000 + seed)
    rows = mixed_rows(seed=seed)
    names = tuple(f"rater {i}" for i in range(len(habits)))
    config = SelectConfig(Path("store"), folder, n=n, raters=names, repeats=n // 10, seed=seed)
    candidates = _candidates(rows, None)
    chosen = draw(candidates, n, np.random.default_rng(seed))
    provenance = Provenance(store="0" * 64, audio_source="recorded", window_s=10.0, random_encoders=(), overrides=())
    design = make_rating_set(
        config, rows, chosen, practice_clips(candidates, chosen, 4), np.random.default_rng(seed), None, provenance
    )
    (folder / "audio").mkdir()
    for code in design.rating_set.seconds:
        soundfile.write(folder / "audio" / f"{code}.flac", np.zeros(240), 24_000)
    write_volume_check(design.rating_set, next(iter(design.codes)))
    write_set(design.rating_set)

    label, valid = rows.score[chosen].astype(float), rows.valid[chosen]
    z = np.where(valid, label, np.nan)
    z = np.nan_to_num((z - np.nanmean(z, axis=0)) / np.nanstd(z, axis=0))
    perceived = planted * z + np.sqrt(1 - planted**2) * rng.normal(size=z.shape)
    quality = dict(zip(design.codes, perceived, strict=True))
    database = Database(design.rating_set.database)
    app = build_app(design.rating_set, database, per_rater=RateLimit(1e6, 10**6))
    sends = []
    for name, habit in zip(names, habits, strict=True):
        order = design.rating_set.orders[name]
        link = f"/r/{design.rating_set.tokens[name]}/ratings/"
        for position, presentation in enumerate(order, start=1):
            q = quality.get(presentation.clip, np.zeros(8))
            t = (position - 1) / (len(order) - 1)
            rating = 60 + habit.bias + habit.drift * (t - 0.5) + 11 * habit.gain * q + habit.noise * rng.normal(size=8)
            scores = dict(zip(DIMENSIONS, np.clip(np.round(rating), 0, 100).astype(int).tolist(), strict=True))
            body = {
                "save_id": f"save-{position:05d}",
                "edit": 1,
                "scores": scores,
                "done": True,
                "listened_s": 10.0,
                "plays": 1,
            }
            sends.append((f"{link}{position}", body))
    # In a thread of its own: where Playwright has run before, this one has an event loop that never stops.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, _send(app, sends)).result()
    return Simulation(folder, design, design.rating_set, planted)


async def _send(app, sends) -> None:
    transport = httpx.ASGITransport(app=app, client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        for address, body in sends:
            assert (await client.put(address, json=body)).status_code == 200


@pytest.fixture(scope="session")
def simulated(tmp_path_factory) -> Simulation:
    """One simulation, with its ingest done."""
    simulation = simulate(tmp_path_factory.mktemp("simulation") / "set", 0)
    ingest(IngestConfig(simulation.folder, replicates=400), Console(quiet=True))
    return simulation


@pytest.fixture(scope="session")
def run_simulation():
    return simulate


@pytest.fixture(scope="session")
def make_rows():
    return mixed_rows
