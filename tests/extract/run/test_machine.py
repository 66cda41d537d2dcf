from __future__ import annotations

import platform

from keybed.extract.encoders import build, describe
from keybed.extract.run.machine import machine_kind


def test_the_kind_of_machine_names_what_moves_the_last_bits() -> None:
    encoder = build(*describe("placeholder-audio", n_bins=4, window_s=2.0))
    kind = machine_kind([encoder])
    assert kind["python"] == platform.python_version()
    assert {"processor", "instructions", "gpu", "numpy", "torch", "triton", "transformers"} <= set(kind)
    assert kind["placeholder-audio runs"] == "as written"
    encoder.execution = "compiled"
    assert machine_kind([encoder])["placeholder-audio runs"] == "compiled"
