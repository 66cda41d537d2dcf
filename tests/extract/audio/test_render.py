from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keybed.extract.audio import fluidsynth
from keybed.extract.audio.fluidsynth import NotASoundfont
from keybed.extract.audio.render import (
    Renderer,
    check_soundfont,
    default_soundfont,
    describe,
    opened_soundfont,
    synthesise,
)
from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.degrade import CURVES, UNTOUCHED, Variant, draw_levels, make_variant, prepare
from keybed.extract.music.midi import read_midi
from keybed.extract.music.performance import Performance
from keybed.store.format.vocabulary import LEVELS, Status
from tests.extract.examples import WINDOW_S, steady

N = 240_000
ROOT = Path(__file__).resolve().parents[3]


def variant(p: Performance, level: np.ndarray = UNTOUCHED, *, start_s: float = 0.0, tier: int = 3) -> Variant:
    return make_variant(prepare(p), start_s, WINDOW_S, level, seed=0, recording_id=1, tier=tier)


def notes(
    onset: list[float], offset: list[float], pitch: list[int], pedal: list[tuple[float, int]] = ()
) -> Performance:
    return Performance(
        np.array(onset, float),
        np.array(offset, float),
        np.array(pitch, np.int16),
        np.full(len(onset), 90, np.int16),
        np.array([t for t, _ in pedal], float),
        np.array([v for _, v in pedal], np.int16),
    )


def window(p: Performance) -> np.ndarray:
    sound, lead = synthesise(p, WINDOW_S, opened_soundfont(None))
    return sound[lead:]


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.asarray(x, float) ** 2)))


def digest(tier: int) -> str:
    import hashlib

    v = variant(steady(n=300), draw_levels(0, 1, 3.1, tier, "mixed"), start_s=3.1, tier=tier)
    return hashlib.sha256(Renderer().render(v, WINDOW_S).audio.tobytes()).hexdigest()


def test_a_b_a_gives_the_same_bytes_here_and_in_another_process() -> None:
    a, b, again = digest(1), digest(3), digest(1)
    assert a == again != b
    code = "from tests.extract.audio.test_render import digest; print(digest(1))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == a


def test_a_lent_soundfont_sounds_as_one_freshly_read() -> None:
    v = variant(steady(n=200), start_s=3.0)
    first = Renderer().render(v, WINDOW_S).audio
    for _ in range(2):
        fluidsynth.open_soundfont.cache_clear()
        np.testing.assert_array_equal(Renderer().render(v, WINDOW_S).audio, first)


@pytest.mark.parametrize("pitch", [36, 60, 84, 100])
def test_audio_and_notes_are_in_step_to_the_end_of_the_window(pitch: int) -> None:
    rng = np.random.default_rng(pitch)
    onset = np.append(np.arange(0.3, 9.5, 0.6) + rng.uniform(-0.1, 0.1, 16), 9.93)
    x = np.abs(window(notes(onset.tolist(), (onset + 0.25).tolist(), [pitch] * onset.size)))
    late_s = []
    for at in onset:
        around = x[int((at - 0.02) * SAMPLE_RATE_HZ) : int((at + 0.06) * SAMPLE_RATE_HZ)]
        floor = around[: int(0.016 * SAMPLE_RATE_HZ)].max()
        heard = np.argmax(around > max(1.5 * floor, 0.03 * around.max()))
        late_s.append(heard / SAMPLE_RATE_HZ - 0.02)
    assert np.median(np.abs(late_s)) < 0.003
    assert abs(late_s[-1]) < 0.005


def test_notes_and_pedal_from_before_the_window_sound_in_it() -> None:
    held = notes([5.0], [12.0], [48])
    by_pedal = notes([5.0], [5.2], [48], [(4.0, 127)])
    let_go = notes([5.0], [5.2], [48], [(4.0, 127), (7.5, 0)])
    later = notes([15.9], [16.0], [100])
    heard = []
    for p in (held, by_pedal, let_go):
        both = Performance(
            *(np.append(getattr(p, k), getattr(later, k)) for k in list(Performance.__dataclass_fields__)[:4]),
            p.pedal_s,
            p.pedal_value,
        )
        v = variant(both, start_s=10.0, tier=0)
        heard.append(rms(window(v.performance)[:24_000]))
    assert heard[0] > 1e-4
    assert heard[1] == pytest.approx(heard[0], rel=0.2)
    assert heard[2] < 0.01 * heard[0]


def test_the_pedal_of_the_window_is_heard() -> None:
    short = [0.5], [0.7], [60]
    dry = window(notes(*short))[24_000:48_000]
    wet = window(notes(*short, [(0.1, 127)]))[24_000:48_000]
    half = window(notes(*short, [(0.1, 63)]))[24_000:48_000]
    assert rms(wet) > 30 * rms(dry)
    np.testing.assert_array_equal(half, dry)


def test_every_row_has_one_loudness_and_none_clips(shared_data: Path) -> None:
    renderer, measures = Renderer(), []
    for r, path in enumerate(sorted(shared_data.glob("maestro-mini/*/*.midi"))[::28]):
        prepared = prepare(read_midi(path))
        for tier in range(4):
            aim = draw_levels(0, r, 31.0, tier, "tiered")
            v = make_variant(prepared, 31.0, WINDOW_S, aim, seed=0, recording_id=r, tier=tier)
            made = renderer.render(v, WINDOW_S)
            assert made.status == Status.OK
            assert made.audio.shape == (N,)
            assert made.audio.dtype == np.float32
            assert np.abs(made.audio).max() < 1
            assert made.waveform[0] == pytest.approx(20 * np.log10(rms(made.audio)), abs=1e-3)
            assert made.waveform[1] == pytest.approx(20 * np.log10(np.abs(made.audio).max()), abs=1e-3)
            measures.append(made.waveform[0])
    np.testing.assert_allclose(measures, -26.0, atol=1e-3)


def test_one_short_note_stays_below_the_ceiling() -> None:
    p = notes([3.0], [3.05], [108])
    made = Renderer().render(variant(p), WINDOW_S)
    assert made.status == Status.OK
    assert np.abs(made.audio).max() <= 10 ** (-0.5 / 20) + 1e-6


@pytest.mark.parametrize("snr_db", [35, 20])
def test_the_finished_wave_has_its_snr(snr_db: int) -> None:
    p, level = steady(n=300), UNTOUCHED.copy()
    level[LEVELS.index("tone")] = 10 ** (-snr_db / 20)
    v = variant(p, level, start_s=3.0)
    made = Renderer().render(v, WINDOW_S)
    from dataclasses import replace

    from keybed.extract.degrade.tone import add_noise

    sound, lead = synthesise(v.performance, WINDOW_S, opened_soundfont(None))
    signal = add_noise(sound, lead, replace(v.noise, ratio=0.0), SAMPLE_RATE_HZ) * 10 ** (made.waveform[2] / 20)
    measured = 20 * np.log10(rms(signal) / rms(made.audio - signal))
    assert measured == pytest.approx(snr_db, abs=0.3)
    assert v.score[4] == pytest.approx(float(CURVES["tone"].score(10 ** (-snr_db / 20))), abs=1e-3)


def test_a_failed_variant_stays_failed() -> None:
    made = Renderer().render(variant(steady(n=20), start_s=60.0), WINDOW_S)
    assert made.status == Status.NO_NOTES
    assert made.audio.shape == (N,)
    assert np.isnan(made.waveform).all()


def test_the_default_soundfont_is_described_by_hash_and_version() -> None:
    about = describe()
    assert about["soundfont"] == "TimGM6mb.sf2"
    assert about["soundfont_sha256"] == "82475b91a76de15cb28a104707d3247ba932e228bada3f47bba63c6b31aaf7a1"
    assert about["synthesiser_version"].count(".") == 2
    assert str(default_soundfont().parent) not in str(about)


def test_what_is_not_a_soundfont_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(NotASoundfont, match=r"gone\.sf2"):
        Renderer(tmp_path / "gone.sf2")
    text = tmp_path / "text.sf2"
    text.write_text("hello, I am a text file")
    with pytest.raises(NotASoundfont, match=r"text\.sf2: not a soundfont"):
        describe(text)
    hollow = tmp_path / "hollow.sf2"
    hollow.write_bytes(default_soundfont().read_bytes()[:4000])
    for look in (Renderer, check_soundfont):
        with pytest.raises(NotASoundfont, match=r"hollow\.sf2: not a soundfont with a piano"):
            look(hollow)


def run_without_library(code: str, **environment: str) -> str:
    """Another process in which the system's linker knows no libfluidsynth."""
    hide = "from ctypes import util; find = util.find_library; util.find_library = lambda n: None if 'fluid' in n else find(n); "
    env = {k: v for k, v in os.environ.items() if k not in ("CONDA_PREFIX", "HOMEBREW_PREFIX")} | environment
    done = subprocess.run([sys.executable, "-c", hide + code], capture_output=True, text=True, cwd=ROOT, env=env)
    return done.stdout + done.stderr


def test_a_missing_library_is_one_clear_sentence() -> None:
    said = run_without_library(
        "from keybed.extract.audio import render, fluidsynth\n"
        "try: render.describe()\n"
        "except fluidsynth.SynthesiserMissing as error: print('SAID', error)"
    )
    assert "SAID libfluidsynth was not found" in said
    assert "apt install libfluidsynth3" in said
    assert "conda-forge fluidsynth" in said
    assert "Traceback" not in said


def test_a_library_in_a_conda_environment_is_found(tmp_path: Path) -> None:
    from ctypes.util import find_library

    library = fluidsynth.bindings()._fl._name
    real = next((p for p in Path("/usr/lib").glob(f"*/{library}")), None) or Path(library)
    if not real.exists():
        pytest.skip(f"cannot tell where {find_library('fluidsynth')} lies")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libfluidsynth.so.3").symlink_to(real)
    said = run_without_library(
        "from keybed.extract.audio import render; print(render.describe()['synthesiser_version'])",
        CONDA_PREFIX=str(tmp_path),
    )
    assert said.strip() == fluidsynth.version()
