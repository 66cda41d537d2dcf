from __future__ import annotations

import pytest

from keybed.extract.encoders import PRETRAINED, describe
from keybed.extract.planning.estimate import COMPUTING_BYTES, PROCESS_BYTES, TORCH_BYTES, encoders_ram
from keybed.store.format.recipe import EncoderSpec

WITHOUT_WEIGHTS = TORCH_BYTES + COMPUTING_BYTES


def _spec(name: str, weights: str | None = None, compute_dtype: str = "float32") -> EncoderSpec:
    return describe(name, weights=weights, n_bins=20, window_s=10.0, compute_dtype=compute_dtype)[0]


def test_baselines_need_no_memory_of_their_own() -> None:
    assert encoders_ram([_spec("logmel"), _spec("expressive")]) == 0


@pytest.mark.parametrize(
    ("weights", "parameters", "n_layers"),
    [
        ("random", 94_371_712, 12),
        ("random:330M", 315_438_720, 24),
    ],  # hubert-base and hubert-large, which differ from MERT by some biases
)
def test_float32_weights_take_four_bytes_a_parameter_and_a_layer_of_the_self_check_eight(
    weights: str, parameters: int, n_layers: int
) -> None:
    expected = (4 + 8 / n_layers) * parameters
    assert encoders_ram([_spec("mert", weights)]) - WITHOUT_WEIGHTS == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(("name", "parameters", "n_layers"), [("muq", 316_343_296, 12), ("aria", 631_309_824, 17)])
def test_larger_encoders_take_four_bytes_a_parameter_too(name: str, parameters: int, n_layers: int) -> None:
    expected = (4 + 8 / n_layers) * parameters
    assert encoders_ram([_spec(name, "random")]) - WITHOUT_WEIGHTS == pytest.approx(expected, rel=0.005)


def test_the_peak_that_was_measured_with_a_self_check_is_within_the_estimate() -> None:
    """A process that builds MERT-330M with random weights and encodes four clips: 2.32 GB at most (VmHWM)."""
    assert 2.32e9 < PROCESS_BYTES + encoders_ram([_spec("mert", "random:330M")]) < 1.1 * 2.32e9


def test_bfloat16_keeps_half_but_passes_through_float32() -> None:
    one, both = ([_spec(name, "random", "bfloat16") for name in names] for names in (["mert"], ["mert", "midibert"]))
    assert encoders_ram(one) - TORCH_BYTES == pytest.approx((6 + 8 / 12) * 94_371_712, rel=0.02)
    # The second is loaded after the first has shed its float32.
    assert encoders_ram(both) - encoders_ram(one) == pytest.approx(2 * 94_371_712, rel=0.02)


@pytest.mark.parametrize("name", PRETRAINED)
def test_every_encoder_with_weights_has_an_estimate(name: str) -> None:
    """`transcribed` has one state, those of its network are not stored."""
    assert encoders_ram([_spec(name, "random")]) > WITHOUT_WEIGHTS
