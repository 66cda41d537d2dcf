from __future__ import annotations

from typing import Any

import pytest

from keybed.extract.encoders import describe
from keybed.extract.encoders.errors import UnknownEncoder
from keybed.extract.planning.speeds import MEASURED_RATES, Rates, TaskSpeed, speed
from keybed.store.format.recipe import EncoderSpec

RATES = Rates(
    machine="none",
    render_rows_per_core_s={"bank": 100.0, "fluidsynth": 20.0, "recorded": 50.0},
    cpu_encoder_rows_per_core_s={"mert": 0.5, "midibert": 1.0, "logmel": 200.0},
    gpu_encoder_rows_per_s={"mert": 1000.0, "midibert": 1000.0},
    gpu_float32_share=0.1,
    gpu_large_share={"mert": 0.5},
    task_rows_per_core_s=1000.0,
    written_rows_per_s=800.0,
)


def _spec(name: str, weights: str | None = None, compute_dtype: str = "bfloat16") -> EncoderSpec:
    return describe(name, weights=weights, n_bins=20, window_s=10.0, compute_dtype=compute_dtype)[0]


class _Recipe:
    def __init__(self, *names: str, renderer: str = "bank", compute_dtype: str = "bfloat16") -> None:
        self.audio = {"source": "rendered", "renderer": renderer}
        random = {"mert", "midibert"}
        self.encoders = tuple(_spec(n, "random" if n in random else None, compute_dtype) for n in names)


def speed_of(recipe: Any, cores: int, *, gpu: bool) -> TaskSpeed:
    return speed(recipe, RATES, cores, gpu=gpu)


def test_few_cores_bind_and_the_gpu_waits() -> None:
    # 10 ms to render, 5 of logmel, 1 of the task: 16 ms of a core; 2 ms of the GPU.
    task = speed_of(_Recipe("mert", "midibert", "logmel"), 4, gpu=True)
    assert task.core_s == pytest.approx(0.016)
    assert 1 / task.row_s == pytest.approx(250)
    assert task.gpu_share == pytest.approx(0.5)
    assert task.line() == (
        "one task with a GPU and 4 cores: 250 rows/s, bound by the 4 cores (rendering most; 16 ms of a core per row: "
        "rendering 10, logmel 5, the task itself 1); the GPU will wait and compute 50% of the time, 8 cores would keep it busy"
    )


def test_many_cores_leave_the_gpu_to_bind() -> None:
    task = speed_of(_Recipe("mert", "midibert", "logmel"), 64, gpu=True)
    assert 1 / task.row_s == pytest.approx(500)
    assert "500 rows/s, bound by the encoders on the GPU; the cores have time left" in task.line()


def test_the_writer_binds_last() -> None:
    assert "800 rows/s, bound by writing" in speed_of(_Recipe("logmel"), 64, gpu=False).line()


def test_without_a_gpu_networks_run_on_the_cores() -> None:
    task = speed_of(_Recipe("mert", "logmel"), 2, gpu=False)
    assert 1 / task.row_s == pytest.approx(2 / 2.016)
    assert "one task without a GPU, 2 cores: 0.992 rows/s, bound by the 2 cores (mert most" in task.line()


def test_float32_large_checkpoints_and_fluidsynth_are_slower() -> None:
    assert RATES.on_gpu(_spec("mert", "random", "float32")) == pytest.approx(100)
    assert RATES.on_gpu(_spec("mert", "random:330M")) == pytest.approx(500)
    assert RATES.with_measured({"gpu:mert": 70}).on_gpu(_spec("mert", "random:330M", "float32")) == 70
    assert RATES.on_gpu(_spec("logmel")) is None
    assert RATES.render(_Recipe(renderer="fluidsynth").audio) == 20
    assert RATES.render({"source": "rendered"}) == 20, "recipes from before note banks name no renderer"
    assert RATES.render({"source": "recorded"}) == 50


def test_rates_that_somebody_measured_replace_ours_and_are_named() -> None:
    rates = MEASURED_RATES.with_measured({"render": 20.0, "gpu:mert": 900.0, "logmel": 50.0})
    assert set(rates.render_rows_per_core_s.values()) == {20}
    assert rates.gpu_encoder_rows_per_s == {**MEASURED_RATES.gpu_encoder_rows_per_s, "mert": 900.0}
    assert rates.cpu_encoder_rows_per_core_s == {**MEASURED_RATES.cpu_encoder_rows_per_core_s, "logmel": 50.0}
    assert rates.machine.startswith("given: render 20, gpu:mert 900, logmel 50; the rest: CPU: ")
    assert MEASURED_RATES.with_measured({}) is MEASURED_RATES
    with pytest.raises(UnknownEncoder, match="no rate 'gpu:mrt'"):
        MEASURED_RATES.with_measured({"gpu:mrt": 900.0})
