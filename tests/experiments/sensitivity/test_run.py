from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from keybed.experiments.sensitivity import run
from keybed.experiments.sensitivity.config import SensitivityConfig
from keybed.store.errors import KeybedError


def test_too_few_pieces_are_refused_before_anything_is_rendered(
    planned_placeholder_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four pieces are in the train split; one segment is of one of them."""

    def rendered(*arguments: object, **options: object) -> None:
        raise AssertionError("twins were rendered")

    monkeypatch.setattr(run, "render_families", rendered)
    for segments, folds, pieces in ((20, 5, "4 pieces for 5 folds"), (1, 2, "1 piece for 2 folds")):
        config = SensitivityConfig(planned_placeholder_store, tmp_path / "out", segments=segments, folds=folds)
        with pytest.raises(KeybedError, match=f"{pieces} by piece; take more segments or fewer folds"):
            run.run_sensitivity(config, Console(quiet=True))
    assert not (tmp_path / "out").exists()
