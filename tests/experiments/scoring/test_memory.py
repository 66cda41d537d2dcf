"""How much memory a process takes that scores sound without its notes, with Transkun's trained weights."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from keybed.experiments.data.view import View
from keybed.experiments.scoring.model import ScoringModel
from keybed.experiments.scoring.pack import write_pack
from keybed.experiments.scoring.source import read_source
from keybed.experiments.scoring.write import read_record
from keybed.extract import encoders
from keybed.extract.encoders.errors import WeightsUnreachable
from keybed.extract.encoders.self_check import example_clip
from keybed.extract.music.performance import Performance
from tests.experiments.scoring.conftest import features, untrained

MOST_BYTES = 10**9
RATE_HZ = 24_000
_SCORE = """
import sys
from keybed.experiments.cli.main import main
status = main(sys.argv[1:])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
sys.exit(status)
"""


@pytest.fixture
def with_transkun(model: ScoringModel, midi: Path) -> ScoringModel:
    """An untrained head on Transkun and the MIDI baseline. The audio features that it was measured on are random."""
    try:
        spec, path = encoders.describe("transkun", n_bins=20, window_s=10.0)
    except WeightsUnreachable as error:
        pytest.skip(str(error))
    source = read_source(midi, None, recorded=False, transcribe=lambda path: Performance.empty())
    batch = features(model.recipe, source)
    shape = (batch.n_rows, spec.n_bins, len(spec.frame_stats) * spec.width)
    batch = batch._replace(audio_BxTxC=np.random.default_rng(0).standard_normal(shape).astype(np.float16))
    recipe = replace(model.recipe, encoders=(spec, model.recipe.encoder("expressive")))
    return replace(untrained(recipe, View("transkun", "expressive"), batch), paths={"weights/transkun": str(path)})


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_sound_without_notes_is_scored_within_a_gigabyte(with_transkun: ScoringModel, tmp_path: Path) -> None:
    """Longer than what Transkun reads at once: several contexts, and two windows."""
    pack = tmp_path / "model.keybed"
    write_pack(pack, with_transkun)
    sound = tmp_path / "tones.wav"
    soundfile.write(sound, np.tile(example_clip(7.0).audio, 2), RATE_HZ)
    command = [sys.executable, "-c", _SCORE, "score", str(sound), "--run", str(pack), "--hop", "4"]
    done = subprocess.run([*command, "--out", str(tmp_path / "out")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (file,) = read_record(tmp_path / "out").files
    assert len(file.windows) == 2
    assert file.n_notes > 20
    # Not ru_maxrss: a child is born with its parent's.
    assert int(done.stdout.split()[-1]) * 1024 < MOST_BYTES
