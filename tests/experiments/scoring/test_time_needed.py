"""The line that says how long scoring will take, against counts and products made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from keybed.experiments.scoring import time_needed as module
from keybed.experiments.scoring.time_needed import in_words, time_needed


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


def test_baselines_on_notes_are_quick_and_not_announced() -> None:
    assert time_needed("a.mid", 10_800, 2.0, 10.0, 0.0, transcribed=False) is None


def test_a_minute_of_notes_with_a_network() -> None:
    """26 windows of 6 s, every 5 s 11 of them."""
    line = time_needed("a.mid", 60.0, 2.0, 10.0, 6.0, transcribed=False)
    assert line == (
        "a.mid takes about 3 minutes here (26 windows, one every 2 s, at 6.0 s each); --hop 5 takes about 70 s"
    )


def test_sound_alone_is_transcribed_first() -> None:
    """Five minutes: 40 contexts of 6.5 s, 146 windows of 6 s, every 5 s 59."""
    line = time_needed("a.wav", 300.0, 2.0, 10.0, 6.0, transcribed=True)
    assert line is not None
    assert line.startswith("a.wav takes about 19 minutes here (4 minutes for the transcription; 146 windows")
    assert line.endswith("--hop 5 takes about 10 minutes")
    baselines = time_needed("a.wav", 300.0, 2.0, 10.0, 0.0, transcribed=True)
    assert baselines == "a.wav takes about 4 minutes here (4 minutes for the transcription)"


def test_a_hop_that_is_wide_already_is_doubled() -> None:
    line = time_needed("a.mid", 610.0, 10.0, 10.0, 6.0, transcribed=False)
    assert line is not None
    assert line.endswith("--hop 20 takes about 3 minutes")


def test_short_work_is_not_announced() -> None:
    assert time_needed("a.mid", 20.0, 2.0, 10.0, 6.0, transcribed=False) is None


@pytest.mark.parametrize("duration_s", [5.0, 13.0, 14.0, 40.0, 41.0])
def test_contexts_are_those_that_are_read(duration_s: float) -> None:
    from keybed.extract.encoders.transkun.transcribe import contexts, n_contexts

    rate = 10
    read = list(contexts([np.zeros(round(duration_s * rate), np.float32)], 8 * rate, 16 * rate, 8 * rate))
    assert n_contexts(duration_s) == (len(read) if duration_s > 13 else 1)


def test_times_in_words() -> None:
    assert [in_words(s) for s in (64, 99, 100, 5399, 7200)] == ["60 s", "100 s", "2 minutes", "90 minutes", "2.0 hours"]


def test_the_module_says_nothing_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    module.unheard("line")
    assert capsys.readouterr() == ("", "")
