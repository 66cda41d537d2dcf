"""Windows of a recording: their places, and that their rows are those of a store."""

from __future__ import annotations

import numpy as np
import pytest

from keybed.experiments.scoring.source import Source
from keybed.experiments.scoring.windows import WindowEncoder, window_starts
from keybed.extract import encoders
from keybed.extract.audio.render import Renderer, default_soundfont
from keybed.extract.encoders.base import Encoder, Music
from keybed.extract.music.notes_file import save_notes
from keybed.extract.run.row_maker import Instrument, RenderConfig, RowMaker, SegmentJob
from keybed.store.format.layout import Layout
from tests.experiments.scoring.conftest import VIEW, piece


@pytest.mark.parametrize(
    ("duration_s", "hop_s", "expected"),
    [
        (20.0, 2.0, [0, 2, 4, 6, 8, 10]),
        (21.0, 5.0, [0, 5, 10, 11]),
        (10.0, 2.0, [0]),
        (6.0, 2.0, [0]),
        (10.5, 2.0, [0, 0.5]),
    ],
)
def test_windows_begin_every_hop_and_the_last_ends_with_the_recording(duration_s, hop_s, expected):
    assert window_starts(duration_s, 10.0, hop_s).tolist() == expected


def test_a_window_is_the_pristine_row_that_a_store_would_hold(recipe, tmp_path, monkeypatch):
    """With the recording's number in the row key, sound and features are those of extraction, bit by bit."""
    p = piece()
    layout = Layout(tmp_path)
    layout.notes_of(7).parent.mkdir(parents=True)
    save_notes(layout.notes_of(7), p, "0" * 64)
    config = RenderConfig(tmp_path, 0, 10.0, (Instrument(default_soundfont()),), None, (), {}, None)
    (row,) = RowMaker(config).make(SegmentJob(7, 4.0, (0,), np.zeros((1, 8), np.float32)))
    monkeypatch.setattr(Source, "sha256", f"{7:015x}" + "0" * 49)
    built = [encoders.build_unchecked(spec) for spec in recipe.encoders]
    maker = WindowEncoder(VIEW, built, Renderer(default_soundfont()), 10.0, 0)
    (batch,) = maker.batches(Source("x", None, None, "midi", p, 20.0), np.array([4.0]), 16)
    assert np.array_equal(batch.rows[0].audio, row.audio)
    assert np.array_equal(batch.rows[0].variant.performance.onset_s, row.variant.performance.onset_s)
    assert batch.inputs is not None
    assert batch.inputs.audio_BxTxC.dtype == np.float16


@pytest.mark.parametrize("sha256", ["ab12", None])
def test_windows_say_which_file_they_are_from(recipe, sha256):
    """So that an encoder whose models were fitted to the file can take the one that was not."""

    class Listening(Encoder):
        def __init__(self, encoder: Encoder) -> None:
            self.spec, self._encoder, self.heard = encoder.spec, encoder, []

        def encode(self, clips):
            self.heard += [clip.music for clip in clips]
            return self._encoder.encode(clips)

    listening = [Listening(encoders.build_unchecked(spec)) for spec in recipe.encoders]
    maker = WindowEncoder(VIEW, listening, Renderer(default_soundfont()), 10.0, 0)
    source = Source("x", None, None, "midi", piece(), 20.0, midi_sha256=sha256)
    assert len(list(maker.batches(source, np.array([0.0, 4.0]), 16))) == 1
    for encoder in listening:
        assert encoder.heard == [Music(sha256) if sha256 else None] * 2
