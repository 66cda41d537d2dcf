"""A scoring model whose heads are untrained and whose calibration is wide, made without a store, and music to score."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest

from keybed.experiments.data.run_facts import EncoderFacts
from keybed.experiments.data.view import View
from keybed.experiments.scoring.calibration import Calibration
from keybed.experiments.scoring.comparing import Comparing
from keybed.experiments.scoring.distance import fit_distance
from keybed.experiments.scoring.model import ScoringModel
from keybed.experiments.scoring.results import DimensionCard, DistanceCard, ModelCard
from keybed.experiments.scoring.scorer import Scorer
from keybed.experiments.scoring.source import Source, read_source
from keybed.experiments.scoring.windows import WindowEncoder, window_starts
from keybed.extract import degrade, encoders
from keybed.extract.audio.render import Renderer, default_soundfont, describe
from keybed.extract.music.midi_writer import write_midi
from keybed.extract.music.performance import Performance, playable
from keybed.heads.fit_config import FitConfig
from keybed.heads.fitted import FitResult
from keybed.heads.inputs import HeadInput, concatenate
from keybed.heads.models import HeadConfig, init
from keybed.heads.normalisation import measure
from keybed.store.format.recipe import Recipe
from keybed.store.format.vocabulary import DIMENSIONS

SEEDS = 2
VIEW = View("logmel", "expressive")


def piece(seconds: float = 20.0, seed: int = 0, *, first_s: float = 0.0) -> Performance:
    """A tune over chords with pedal, 8 notes per second; it ends a moment before `seconds` are over, or with them."""
    rng = np.random.default_rng(seed)
    beats = np.arange(first_s, first_s + seconds, 0.5)
    onset = np.concatenate([np.repeat(beats, 3) + np.tile([0, 0.004, 0.008], len(beats)), beats + 0.25])
    pitch = np.concatenate([rng.integers(40, 60, 3 * len(beats)), rng.integers(65, 85, len(beats))])
    velocity = rng.integers(40, 100, len(onset))
    pedal_s = np.sort(np.concatenate([beats + 0.1, beats + 0.45]))
    return playable(
        onset,
        np.minimum(onset + rng.uniform(0.15, 0.4, len(onset)), first_s + seconds),
        pitch,
        velocity,
        pedal_s,
        np.tile([100, 0], len(beats)),
    )


@pytest.fixture(scope="session")
def midi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A MIDI file of 20 s."""
    path = tmp_path_factory.mktemp("music") / 'it\'s a "piece" of mine.mid'
    write_midi(path, piece())
    return path


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """The baselines on sound that FluidSynth renders."""
    specs = [encoders.describe(name, n_bins=20, window_s=10.0)[0] for name in ("logmel", "expressive")]
    return Recipe(
        corpus={"midi_sha256": "0"},
        segments={"window_s": 10.0, "hop_s": 6.2},
        degradation={**degrade.parameters(), "profile": "mixed", "seed": 0},
        audio={**describe(default_soundfont()), "source": "rendered"},
        encoders=tuple(specs),
        n_rows=128,
        shard_rows=32,
    )


def features(recipe: Recipe, source: Source) -> HeadInput:
    """The features of every window of a recording, every 2 s."""
    built = [encoders.build_unchecked(spec) for spec in recipe.encoders]
    maker = WindowEncoder(VIEW, built, Renderer(default_soundfont()), 10.0, 0)
    batches = maker.batches(source, window_starts(source.duration_s, 10.0, 2.0), 16)
    return concatenate([b.inputs for b in batches if b.inputs is not None])


@pytest.fixture(scope="session")
def model(recipe: Recipe, midi: Path) -> ScoringModel:
    """Untrained cross-attention, two seeds; distances from the windows of the piece itself."""
    source = read_source(midi, None, recorded=False, transcribe=lambda path: Performance.empty())
    return untrained(recipe, VIEW, features(recipe, source))


def untrained(recipe: Recipe, view: View, batch: HeadInput) -> ScoringModel:
    """Untrained cross-attention for the features of a batch, from which distances are measured."""
    labelled = batch._replace(valid_BxK=np.ones_like(batch.valid_BxK))
    config = FitConfig(epochs=1, batch_rows=16, seeds=tuple(range(SEEDS)))
    normalisation = measure([labelled], batch_rows=16, max_rows=None)._replace(
        score_mean_K=np.full(8, 80, np.float32), score_sd_K=np.full(8, 10, np.float32)
    )
    head = HeadConfig("cross", hidden=8)
    sample = batch._replace(audio_BxTxC=np.asarray(batch.audio_BxTxC, np.float32))
    params = [jax.tree.map(np.asarray, init(head, jax.random.key(seed), sample)) for seed in range(SEEDS)]
    fit = FitResult(
        {"cross": head}, {"cross": jax.tree.map(lambda *a: np.stack(a), *params)}, normalisation, config, [], {}, "f", 0
    )
    facts = tuple(EncoderFacts(e.name, e.modality, e.source, e.random_weights, e.revision) for e in recipe.encoders)
    card = ModelCard(
        run="untrained",
        phase=2,
        verdict="NO-GO",
        head="cross",
        features="raw",
        n_seeds=SEEDS,
        store="f",
        encoders=facts,
        audio_source="rendered",
        window_s=10.0,
        degradation_version=3,
        train_pieces=1,
        validation_pieces=1,
        test_pieces=0,
        coverage=0.9,
        dimensions=dict.fromkeys(DIMENSIONS, DimensionCard(None, None, None, 40.0, None)),
        distance=DistanceCard("Mahalanobis", 0.01, {"audio": 1.0, "midi": 1.0}),
        keybed_version="0",
    )
    k = len(DIMENSIONS)
    calibration = Calibration(np.full(k, 3.0), np.ones(k), np.full(k, 40.0), np.full(k, 50.0), np.full(k, 97.5))
    distance = fit_distance([batch], [batch], np.zeros(batch.n_rows, int))
    width = sum(f.reshape(*f.shape[:2], -1).shape[-1] for f in (batch.audio_BxTxC, batch.midi_BxTxC))
    slope = np.random.default_rng(0).normal(size=(2 * width, k)) / width
    comparing = Comparing(slope, np.append(np.full(k - 1, 12.0), np.inf))
    return ScoringModel(card, recipe, view, fit, None, calibration, distance, frozenset(), comparing=comparing)


@pytest.fixture(scope="session")
def scorer(model: ScoringModel) -> Scorer:
    """The model, ready."""
    return Scorer(model)
