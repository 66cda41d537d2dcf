from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from keybed.extract.encoders import describe
from keybed.extract.encoders.mert.model import Mert
from keybed.extract.encoders.torch import compiling
from keybed.extract.encoders.torch.compiling import NotCompiled, compiled


@pytest.fixture(autouse=True)
def _forget() -> Any:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def _tiny(weights: str = "random:tiny", **options: Any) -> Mert:
    spec, path = describe("mert", weights=weights, n_bins=4, window_s=1.0)
    return Mert(spec, None if path is None else Path(path), batch_rows=2, **options)


class Counting:
    """A backend that runs each graph as it was traced and counts the graphs and their calls."""

    def __init__(self) -> None:
        self.graphs = self.calls = 0

    def __call__(self, module: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        self.graphs += 1

        def run(*given: Any) -> Any:
            self.calls += 1
            return module(*given)

        return run


@pytest.mark.parametrize("style", ["post-norm", "pre-norm"])
def test_one_shape_is_compiled_once_and_serves_every_layer_and_batch(
    make_clip: Any, request: pytest.FixtureRequest, style: str
) -> None:
    weights = "random:tiny"
    if style == "pre-norm":
        weights = str(request.getfixturevalue("goldens") / "mert-tiny-330m-style")
    clips = [make_clip(seed, window_s=1.0) for seed in range(5)]
    written = _tiny(weights, compile=False)
    expected = written.encode(clips)
    assert written.execution == "as written"
    encoder, backend = _tiny(weights, compile=False), Counting()
    encoder.compile(backend)
    n_states = encoder.spec.n_states
    a_batch = (n_states - 1) + n_states + len(encoder.spec.frame_states) - 1
    assert encoder.execution == "compiled"
    # A layer, its moments, the sum: once each, however many layers there are.
    assert (backend.graphs, backend.calls) == (3, a_batch)
    pooled = encoder.encode(clips)
    # 5 clips are 3 batches of 2, the last one padded.
    assert (backend.graphs, backend.calls) == (3, 4 * a_batch)
    np.testing.assert_array_equal(pooled.layers, expected.layers)
    np.testing.assert_array_equal(pooled.frames, expected.frames)


@pytest.mark.slow
def test_compiled_by_inductor_says_the_same(make_clip: Any) -> None:
    clips = [make_clip(seed, window_s=1.0) for seed in range(3)]
    expected = _tiny(compile=False).encode(clips)
    with warnings.catch_warnings():
        # torch's own, about itself and about a machine that is busy.
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", NotCompiled)
        encoder = _tiny(compile=True)
    assert encoder.execution == "compiled"
    pooled = encoder.encode(clips)
    np.testing.assert_allclose(pooled.layers, expected.layers, atol=1e-5)
    np.testing.assert_allclose(pooled.frames, expected.frames, atol=1e-5)
    again = encoder.encode(clips)
    assert again.layers.tobytes() == pooled.layers.tobytes()


def test_where_compiling_fails_one_line_says_so_and_the_model_runs_as_written(make_clip: Any) -> None:
    def no_compiler(module: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        raise RuntimeError("Failed to find C compiler.\nPlease specify via CC environment variable.")

    clips = [make_clip(0, window_s=1.0)]
    expected = _tiny(compile=False).encode(clips)
    encoder = _tiny(compile=False)
    with pytest.warns(NotCompiled, match=r"mert is not compiled .*Failed to find C compiler") as caught:
        encoder.compile(no_compiler)
    assert len(caught) == 1
    assert "\n" not in str(caught[0].message)
    assert encoder.execution == "as written"
    np.testing.assert_array_equal(encoder.encode(clips).layers, expected.layers)


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="on a GPU it is Triton that compiles")
def test_a_machine_without_a_c_compiler(tmp_path: Path) -> None:
    """Inductor itself, where it finds nothing to compile with."""
    script = (
        "import warnings\n"
        "from keybed.extract.encoders import describe\n"
        "from keybed.extract.encoders.torch.compiling import NotCompiled\n"
        "from keybed.extract.encoders.mert.model import Mert\n"
        "spec, _ = describe('mert', weights='random:tiny', n_bins=4, window_s=1.0)\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    encoder = Mert(spec, None, batch_rows=2, compile=True)\n"
        "print(encoder.execution, [str(w.message) for w in caught if w.category is NotCompiled])\n"
    )
    environment = os.environ | {"CXX": str(tmp_path / "no-such-compiler"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.startswith("as written [")
    assert "mert is not compiled on this machine and runs slower (" in done.stdout
    assert "No working C++ compiler found" in done.stdout


def test_a_graph_break_is_a_failure_and_not_a_slow_success() -> None:
    def broken(state: torch.Tensor) -> torch.Tensor:
        torch._dynamo.graph_break()
        return state

    with pytest.warns(NotCompiled):
        assert compiled("it", [broken], lambda steps: steps[0](torch.ones(2)), Counting()) is None


def test_an_option_that_torch_no_longer_has_is_a_failure_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(compiling.OPTIONS, "triton.no_such_option", False)
    with pytest.warns(NotCompiled, match="no_such_option"):
        assert compiled("it", [torch.sin], lambda steps: steps[0](torch.ones(2))) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_two_processes_that_compile_anew_say_the_same_bytes(tmp_path: Path) -> None:
    """Each with a cache of its own: a kernel chosen by timing in one of them could be another in the other."""
    script = (
        "import hashlib\n"
        "import numpy as np\n"
        "from keybed.extract.encoders import build, describe\n"
        "from keybed.extract.encoders.base import Clip\n"
        "from keybed.extract.music.performance import Performance\n"
        "none = Performance(*(np.zeros(0) for _ in range(4)))\n"
        "audio = np.random.default_rng(0).normal(size=(70, 240_000)).astype(np.float32)\n"
        "encoder = build(*describe('mert', weights='random', n_bins=20, window_s=10.0, compute_dtype='bfloat16'))\n"
        "pooled = encoder.encode([Clip(a, none, 10.0) for a in audio])\n"
        "print(encoder.execution, hashlib.sha256(pooled.layers.tobytes() + pooled.frames.tobytes()).hexdigest())\n"
    )
    digests = []
    for number in range(2):
        environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / str(number))}
        environment["TRITON_CACHE_DIR"] = str(tmp_path / f"triton-{number}")
        command = [sys.executable, "-W", "ignore", "-c", script]
        digests.append(subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout)
    assert digests[0].startswith("compiled ")
    assert digests[0] == digests[1]


def test_running_out_of_memory_is_not_taken_for_a_missing_compiler() -> None:
    def rehearse(steps: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        compiled("it", [torch.sin], rehearse, Counting())


def test_nothing_is_chosen_by_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(torch, "compile", lambda step, **options: asked.update(options) or step)
    assert compiled("it", [torch.sin], lambda steps: steps) == [torch.sin]
    assert asked["dynamic"] is False
    assert asked["fullgraph"] is True
    assert asked["options"] == {"deterministic": True, "triton.autotune_pointwise": False}
    known = dict(torch._inductor.config.get_config_copy())
    assert set(compiling.OPTIONS) <= set(known)
    assert not known["max_autotune"]
    assert not known["max_autotune_gemm"]


def test_a_torch_that_must_time_is_not_asked_to_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch._inductor.config", object())
    with pytest.warns(NotCompiled, match="compiles by timing"):
        assert compiled("it", [torch.sin], lambda steps: None) is None
