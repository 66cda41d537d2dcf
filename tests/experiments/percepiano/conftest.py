import json
from pathlib import Path

import mido
import numpy as np
import pytest

from keybed.experiments.percepiano.reader import Ratings
from keybed.extract.music.performance import Performance


def play(rng, *, tempo=1.0, loud=60, n=40, uneven=0.0) -> Performance:
    """The same little piece, chords and a tune, in somebody's manner."""
    onset, pitch, velocity = [], [], []
    t = 0.0
    for i in range(n):
        keys = [48 + i % 5, 60 + (7 * i) % 12] + ([55] if i % 4 == 0 else [])
        for j, key in enumerate(keys):
            onset.append(t + 0.002 * j)
            pitch.append(key)
            velocity.append(int(np.clip(loud + 10 * np.sin(i / 6) + 3 * j, 1, 127)))
        t += (0.3 + uneven * rng.random()) / tempo
    order = np.lexsort((pitch, onset))
    on = np.array(onset)[order]
    return Performance(
        on,
        on + 0.25 / tempo,
        np.array(pitch, np.int16)[order],
        np.array(velocity, np.int16)[order],
        np.array([0.0, 1.0, 2.0]),
        np.array([127, 0, 127], np.int16),
    )


@pytest.fixture(scope="session")
def ratings() -> Ratings:
    """Three compositions × 5 passages × 6 players and a score; ratings follow tempo and loudness, plus noise."""
    rng = np.random.default_rng(0)
    names, performances, rated, composition, passage, player = [], [], [], [], [], []
    for c in "ABC":
        for s in range(5):
            base = rng.normal(0, 0.05)
            for p in ("score", *"uvwxyz"):
                tempo, loud = (1.0, 64) if p == "score" else (rng.uniform(0.8, 1.25), int(rng.integers(45, 85)))
                performances.append(play(rng, tempo=tempo, loud=loud, n=30 + s, uneven=0 if p == "score" else 0.02))
                value = 0.5 + base + 0.4 * (tempo - 1) + 0.006 * (loud - 64) + rng.normal(0, 0.04, 19)
                rated.append(np.clip(value, 0, 1))
                names.append(f"{c}_8bars_{p}_{s}")
                composition.append(c)
                passage.append(f"{c}|8bars|{s}")
                player.append(p)
    human = np.array([p != "score" for p in player])
    return Ratings(
        tuple(names),
        tuple(performances),
        np.array(rated),
        np.full((len(names), 19), 0.1),
        np.array(composition),
        np.array(passage),
        np.array(player),
        human,
    )


def write_midi(path: Path, performance: Performance) -> None:
    midi = mido.MidiFile(ticks_per_beat=480)
    track = mido.MidiTrack()
    midi.tracks.append(track)
    events = [
        (round(t * 960), 1, k, v)
        for t, k, v in zip(performance.onset_s, performance.pitch, performance.velocity, strict=True)
    ]
    events += [(round(t * 960), 0, k, 0) for t, k in zip(performance.offset_s, performance.pitch, strict=True)]
    now = 0
    for tick, _, key, velocity in sorted(events):
        track.append(mido.Message("note_on", note=int(key), velocity=int(velocity), time=tick - now))
        now = tick
    midi.save(path)


@pytest.fixture(scope="session")
def write():
    return write_midi


@pytest.fixture
def published(tmp_path) -> Path:
    """A small folder in PercePiano's own layout, with its flaws."""
    (tmp_path / "labels").mkdir()
    (tmp_path / "midi").mkdir()
    rng = np.random.default_rng(0)
    names = [f"Mozart_K331_4bars_{p}_{s}" for p in ("1", "2", "Score") for s in ("01", "02")]
    mean = {name: [0.5] * 19 + [3] for name in names}
    sd = {name: [0.1] * 19 for name in names}
    for name in names:
        write_midi(tmp_path / "midi" / f"{name}.mid", play(rng, n=12))
    (tmp_path / "midi" / f"{names[0]}.mid").rename(tmp_path / "midi" / f" {names[0]}.mid")
    mean["Mozart_K331_4bars_9_01"] = [0.5] * 20
    write_midi(tmp_path / "midi" / "Nobody_1.mid", play(rng, n=12))
    mean[names[1]] = [0.5] * 7
    (tmp_path / "midi" / f"{names[2]}.mid").write_bytes(b"MThd no")
    (tmp_path / "labels" / "label_2round_mean_reg_highstd0.json").write_text(json.dumps(mean))
    (tmp_path / "labels" / "label_2round_std_reg_highstd0.json").write_text(json.dumps(sd))
    return tmp_path
