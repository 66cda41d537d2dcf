"""The audit of what audio tells of rows whose sound was left alone: which rows it takes, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from keybed.experiments.audits.fingerprints import NotEnoughRows
from keybed.experiments.audits.sound_traces import Config, measure
from keybed.store.errors import NoSuchFeature


def test_an_encoder_that_the_store_lacks_and_too_few_rows_are_refused(finished_placeholder_store: Path) -> None:
    with pytest.raises(NoSuchFeature, match="no encoder 'mert' in it; choose one of"):
        measure(Config(finished_placeholder_store, "mert"))
    with pytest.raises(NotEnoughRows, match="tone left alone"):
        measure(Config(finished_placeholder_store, "placeholder-audio", folds=50))
