from keybed.experiments.evaluation.decimals import number, signed_percent


def test_numbers_have_a_true_minus_sign() -> None:
    assert [number(-0.0174), number(0.5, 1), number(-12.0, 0)] == ["−0.017", "0.5", "−12"]
    assert [signed_percent(-0.125), signed_percent(0.1)] == ["−12.5 %", "+10.0 %"]


def test_what_is_not_known_is_a_dash() -> None:
    assert [number(None), number(float("nan")), number(float("inf"))] == ["–"] * 3
