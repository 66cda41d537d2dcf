from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from keybed.extract.encoders.errors import EncoderError
from keybed.extract.encoders.transkun import events
from keybed.extract.encoders.transkun.events import _intervals, _scores
from keybed.extract.encoders.transkun.intervals import best_intervals
from keybed.extract.encoders.transkun.transcribe import Transcriber, contexts


@pytest.fixture(scope="module")
def transcriber(trained: Path) -> Transcriber:
    return Transcriber(trained)


def test_notes_are_the_authors(
    transcriber: Transcriber,
    states_of_clip: list[torch.Tensor],
    golden: Any,
    make_golden: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From the clip to its notes; the states, which test_model.py compares with the authors', are computed once for both."""
    clip, asked = make_golden.clip(), []

    def states(clips_BxS: torch.Tensor) -> Iterator[torch.Tensor]:
        asked.append(clips_BxS)
        return iter(states_of_clip)

    monkeypatch.setattr(transcriber._network, "states", states)
    heard = transcriber(clip, 44_100)
    np.testing.assert_array_equal(torch.cat(asked).numpy(), clip[None])
    before_s = 128 * 1024 / 44_100
    events = golden["notes"]
    start_s, end_s, pitch, velocity, *_ = events[events[:, 2] > 0].T
    assert heard.n_notes == pitch.size > 40
    order = np.lexsort((pitch, start_s))
    np.testing.assert_array_equal(heard.pitch, pitch[order])
    np.testing.assert_array_equal(heard.velocity, velocity[order])
    np.testing.assert_allclose(heard.onset_s, start_s[order] - before_s, atol=1e-4)
    np.testing.assert_allclose(heard.offset_s, end_s[order] - before_s, atol=1e-4)


@pytest.mark.slow
def test_long_audio_is_joined_to_the_notes_of_its_parts(transcriber: Transcriber, make_golden: ModuleType) -> None:
    """A clip of 10 s, 4 s of silence, and the clip again, against the clip alone."""
    clip = make_golden.clip()
    alone = transcriber(clip, 44_100)
    both = transcriber(np.concatenate([clip, np.zeros(4 * 44_100, np.float32), clip]), 44_100)
    assert not ((both.onset_s > 10.1) & (both.onset_s < 13.9)).any(), "silence has no notes"
    assert both.n_notes == pytest.approx(2 * alone.n_notes, abs=4)
    late = both.onset_s > 12
    assert late.sum() == pytest.approx(alone.n_notes, abs=2)
    # Notes that both found begin at the same times.
    apart_s = np.abs(both.onset_s[late][:, None] - 14 - alone.onset_s).min(1)
    assert np.median(apart_s) < 0.003


@pytest.mark.parametrize("audio", [np.zeros(0), np.zeros((2, 100)), np.full(44_100, np.nan)])
def test_audio_that_is_none_is_refused(audio: np.ndarray) -> None:
    with pytest.raises(EncoderError, match="cannot be transcribed; give finite mono samples"):
        Transcriber("random:tiny")(audio, 44_100)


def test_silence_has_no_notes(transcriber: Transcriber) -> None:
    heard = transcriber(np.zeros(22_050, np.float32), 22_050)
    assert heard.n_notes == 0
    assert heard.pedal_s.size == 0


@pytest.mark.parametrize("n_samples", [1, 40, 100, 101, 167])
@pytest.mark.parametrize("block", [7, 30, 1000])
def test_contexts_of_blocks_are_those_of_the_whole(n_samples: int, block: int) -> None:
    """Against slices of the whole audio between zeros, as the authors cut it."""
    audio = np.arange(1, n_samples + 1, dtype=np.float32)
    n_before, n_context, step = 24, 48, 24
    padded = np.pad(audio, (n_before, n_before + n_context))
    expected = [(s, padded[s : s + n_context]) for s in range(0, n_before + n_samples + n_before, step)]
    blocks = (audio[i : i + block] for i in range(0, n_samples, block))
    made = list(contexts(blocks, n_before, n_context, step))
    assert [start for start, _ in made] == [start for start, _ in expected]
    for (_, ours), (_, theirs) in zip(made, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("n_tracks", [1, 7, 90])
def test_intervals_do_not_depend_on_how_many_tracks_are_scored_at_once(
    n_tracks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network = Transcriber("random:tiny")._network
    network.scorer.bias[-1] = 0.0
    width = network.scorer.in_features
    context_PxTxC = torch.randn(90, 50, width)
    first_frames = [k % 5 for k in range(90)]
    expected = best_intervals(_scores(network.scorer(context_PxTxC), width), first_frames)
    monkeypatch.setattr(events, "TRACKS_AT_ONCE", n_tracks)
    found = _intervals(network, context_PxTxC, first_frames)
    assert sum(map(len, found)) > 90
    assert found == expected
