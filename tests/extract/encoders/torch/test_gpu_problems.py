"""A GPU whose memory runs out or whose driver is too old: named with the way out. torch's answers are played here."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from keybed.extract.encoders import build, describe, self_check
from keybed.extract.encoders.errors import EncoderError
from keybed.extract.encoders.torch import device
from keybed.extract.run.row_arrays import feature_arrays

OUT_OF_MEMORY = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 7.79 GiB of which 1.10 GiB is free. "
    "Of the allocated memory 5.00 GiB is allocated by PyTorch. If reserved but unallocated memory is large try setting "
    "PYTORCH_ALLOC_CONF=expandable_segments:True"
)
IN_WORDS = (
    r"mert: the GPU's memory ran out \(CUDA out of memory\. Tried to allocate 2\.00 GiB\. GPU 0 has a total capacity of "
    r"7\.79 GiB of which 1\.10 GiB is free\)\. Smaller batches are not tried, because .*the recipe fixes them: end what "
    r"else runs on the GPU, .*CUDA_VISIBLE_DEVICES= before the command"
)


def _mert(compute_dtype: str) -> Any:
    return describe("mert", weights="random:tiny", n_bins=4, window_s=1.0, compute_dtype=compute_dtype)


def _run_out(*values: object, **options: object) -> None:
    raise torch.OutOfMemoryError(OUT_OF_MEMORY)


def test_memory_that_runs_out_while_a_model_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_check, "_done", {})
    monkeypatch.setattr(F, "linear", _run_out)
    with pytest.raises(EncoderError, match=IN_WORDS + r".*; planned with --dtype bfloat16 it needs half$"):
        build(*_mert("float32"))


def test_memory_that_runs_out_in_a_later_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = build(*_mert("bfloat16"))
    clip = self_check.example_clip(1.0)
    monkeypatch.setattr(F, "linear", _run_out)
    with pytest.raises(EncoderError, match=IN_WORDS + r" to compute on the CPU$"):
        feature_arrays(encoder, [clip, None])


def test_another_error_of_torch_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = build(*_mert("bfloat16"))

    def fail(*values: object, **options: object) -> None:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(F, "linear", fail)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        feature_arrays(encoder, [self_check.example_clip(1.0)])


@pytest.fixture
def old_driver(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch._C, "_cuda_isDriverSufficient", lambda: False, raising=False)
    monkeypatch.setattr(torch._C, "_cuda_getDriverVersion", lambda: 11040, raising=False)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    return monkeypatch


def test_a_driver_that_is_too_old_is_refused_and_nothing_runs_on_the_cpu(old_driver: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        EncoderError, match=r"mert: the GPU's driver is too old: it knows CUDA 11\.4, torch .* needs 12\.8"
    ):
        device.prepare(_mert("float32")[0])


def test_a_hidden_gpu_or_none_is_no_old_driver(old_driver: pytest.MonkeyPatch) -> None:
    old_driver.setenv("CUDA_VISIBLE_DEVICES", "")
    assert device.prepare(_mert("float32")[0])[0].type == "cpu"
    old_driver.delenv("CUDA_VISIBLE_DEVICES")
    old_driver.setattr(torch._C, "_cuda_getDriverVersion", lambda: 0, raising=False)
    assert device.prepare(_mert("float32")[0])[0].type == "cpu"
