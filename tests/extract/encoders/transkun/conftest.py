"""The trained weights, and what the authors' package gives for one clip (tests/golden/make_transkun.py)."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from keybed.extract.encoders import describe
from keybed.extract.encoders.errors import WeightsUnreachable
from keybed.extract.encoders.transkun.model import Network, load_transkun
from keybed.extract.encoders.wheel import TRANSKUN, find

GOLDEN = Path(__file__).resolve().parents[3] / "golden"


@pytest.fixture(scope="session")
def trained() -> Path:
    """The checkpoint of transkun 2.0.1; `make` fetches it. Skipped where it is absent, a failure in CI."""
    try:
        return find(TRANSKUN)
    except WeightsUnreachable as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def golden() -> Any:
    return np.load(GOLDEN / "transkun.npz")


@pytest.fixture(scope="session")
def make_golden() -> ModuleType:
    """The script that made the golden: its clip, and which values of each state it kept."""
    spec = importlib.util.spec_from_file_location("make_transkun", GOLDEN / "make_transkun.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def network(trained: Path) -> Network:
    spec, path = describe("transkun", n_bins=20, window_s=10.0)
    assert path == str(trained)
    assert (spec.source, spec.n_states, spec.width, spec.frame_states) == ("transkun==2.0.1", 7, 1536, (3, 4, 5))
    return load_transkun(spec, trained)


@pytest.fixture(scope="session")
def states_of_clip(network: Network, make_golden: ModuleType) -> list[torch.Tensor]:
    """The network's states of the golden's clip, 5 s of processor time."""
    with torch.inference_mode():
        return list(network.states(torch.from_numpy(make_golden.clip())[None]))
