"""What of the GPU benchmark needs no GPU."""

from __future__ import annotations

import numpy as np
import pytest

from keybed.experiments.benchmarks.encoders_on_gpu import bfloat16_error, flops_per_row, kind_of_kernel, measure
from keybed.extract.encoders.base import Pooled
from keybed.extract.encoders.mert.spec import ARCHITECTURES


def test_a_row_of_mert_95m_is_about_230_gflop() -> None:
    assert flops_per_row(ARCHITECTURES["95M"], 10.0) == pytest.approx(230e9, rel=0.03)
    # The transformer's share alone grows with width and depth.
    assert (
        3 < (flops_per_row(ARCHITECTURES["330M"], 10.0) - 74e9) / (flops_per_row(ARCHITECTURES["95M"], 10.0) - 74e9) < 4
    )


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [
        ("nvjet_tst_128x256_64x4_2x1_v_bz_coopA_bias_TNT", "matrix products"),
        ("sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64", "matrix products"),
        (
            "void cutlass::Kernel2<cutlass_80_wmma_tensorop_bf16_s161616gemm_bf16_32x32_128x2_tn_align8>",
            "matrix products",
        ),
        ("void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<64, 128, 128, 4>>", "attention"),
        ("fmha_cutlassF_bf16_aligned_64x64_rf_sm80", "attention"),
        ("void cudnn::ops::implicit_convolve_sgemm<__nv_bfloat16>", "convolutions"),
        ("sm80_xmma_fprop_implicit_gemm_bf16", "convolutions"),
        ("void conv_depthwise2d_forward_kernel<5>", "convolutions"),
        ("Memcpy HtoD (Pinned -> Device)", "copies from and to the host"),
        ("Memcpy DtoH (Device -> Pinned)", "copies from and to the host"),
        ("Memcpy DtoD (Device -> Device)", "memory traffic (activations, norms, sums, layouts)"),
        ("triton_per_fused_add_native_layer_norm_1", "memory traffic (activations, norms, sums, layouts)"),
        (
            "void at::native::vectorized_elementwise_kernel<4, GeluCUDAKernelImpl>",
            "memory traffic (activations, norms, sums, layouts)",
        ),
    ],
)
def test_kernels_by_kind(kernel: str, kind: str) -> None:
    assert kind_of_kernel(kernel) == kind


def test_the_error_is_that_of_the_row_and_of_the_state_that_are_worst() -> None:
    """Three rows, two states: row 1 is off by 0.5 %, all of it in state 1."""
    random = np.random.default_rng(0)
    layers, frames = random.normal(size=(3, 2, 2, 5)), random.normal(size=(3, 4, 2, 5))
    layers[1, 0] = [[3.0, 0, 0, 0, 0], [4.0, 0, 0, 0, 0]]
    exact = Pooled(layers, frames, np.ones((3, 4), bool))
    off = layers.copy()
    off[1, 0, 1, 0] += 0.025  # of a row whose norm is 5
    lines = list(bfloat16_error("it", exact, Pooled(off, frames * 1.02, np.ones((3, 4), bool))))
    assert "layers, mean: error against float32 mean 0.167%, max 0.500%, worst state (1)" in lines[0]
    assert lines[1] == "GOAL it_layers_mean_error measured=0.005 target=0.01 PASS"
    assert lines[5] == "GOAL it_frames_mean_error measured=0.02 target=0.01 FAIL"
    assert len(lines) == 8


def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    measure([], 20)
    assert "no GPU on this machine: nothing measured" in capsys.readouterr().out
