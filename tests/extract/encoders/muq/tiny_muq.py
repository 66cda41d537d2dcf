"""MuQ with the tiny golden checkpoint or with random weights, and its states of a waveform."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from keybed.extract.encoders.muq.model import Muq
from tests.extract.encoders.encoders_built import build_as

STYLE = "muq-tiny"


def build_muq(weights: Path | str, window_s: float = 2.0, n_bins: int = 4, **options: str) -> Muq:
    return build_as(Muq, "muq", weights, window_s, n_bins, **options)


def waveforms_of(expected: Any) -> np.ndarray:
    return expected["waveform_int16"].astype(np.float32) / 32768


def states_of(encoder: Muq, waveforms: np.ndarray) -> list[np.ndarray]:
    with torch.inference_mode():
        on_device = torch.from_numpy(waveforms).to(encoder._device)
        return [state.float().cpu().numpy().copy() for state in encoder._model(on_device)]
