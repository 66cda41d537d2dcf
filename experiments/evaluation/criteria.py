"""Criteria of a gate: a value with its interval, the conditions that it must meet, and the outcome.

The conditions are one text, such as "≥ 0.1, lower bound > 0". The outcome is computed from that text, when a criterion is made
and again when it is read from a file.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from keybed.experiments.evaluation.intervals import Interval, finite

Outcome = Literal["pass", "fail", "undefined"]

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "≥": operator.ge,
    ">": operator.gt,
    "≤": operator.le,
    "<": operator.lt,
}
_LOWER = "lower bound "
_MOST_DIGITS = 9


@dataclass(frozen=True)
class Condition:
    """A comparison of the value, or of the interval's lower bound, with a number."""

    of_lower_bound: bool
    sign: str
    number: float

    def holds(self, criterion: Criterion) -> bool | None:
        """None where the value (or the lower bound) is not defined."""
        value = self._compared(criterion)
        return None if value is None else _COMPARE[self.sign](value, self.number)

    def why_not(self, criterion: Criterion, percent: bool) -> str:
        """What is wrong, in words: "lower bound −0.020 is not > 0", "no interval"."""
        value = self._compared(criterion)
        if value is None:
            return "no interval" if self.of_lower_bound and criterion.value is not None else "no value"
        words = _LOWER if self.of_lower_bound else ""
        return f"{words}{_apart(value, self.number, percent)} is not {self.sign} {_text(self.number, percent)}"

    def _compared(self, criterion: Criterion) -> float | None:
        return None if criterion.value is None else criterion.low if self.of_lower_bound else criterion.value


@dataclass(frozen=True)
class Criterion:
    """One requirement. threshold: its conditions. required false: it is shown and counts in no verdict."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    threshold: str
    outcome: Outcome
    arithmetic: str
    required: bool = True

    @property
    def bound(self) -> float:
        """The number in `threshold`, e.g. 0.1 of "≥ 0.1, lower bound > 0"."""
        first = self.conditions[0]
        if first.of_lower_bound:
            raise ValueError(f"criterion {self.name!r}: no number in its threshold {self.threshold!r}")
        return first.number

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The parts of `threshold`. Raises ValueError for text that is no condition."""
        parsed = []
        for part in self.threshold.split(", "):
            match = re.fullmatch(rf"({_LOWER})?([≥>≤<]) (−?\d+(?:\.\d+)?)", part)
            if match is None:
                raise ValueError(f"criterion {self.name!r}: {part!r} is no condition")
            parsed.append(Condition(match[1] is not None, match[2], float(match[3].replace("−", "-"))))
        return tuple(parsed)

    @property
    def computed_outcome(self) -> Outcome:
        """The outcome that follows from value, lower bound and threshold: undefined where a condition is."""
        held = [condition.holds(self) for condition in self.conditions]
        if None in held:
            return "undefined"
        return "pass" if all(held) else "fail"

    def why(self, *, percent: bool = False) -> str:
        """Each condition that does not hold, in words; empty where all do."""
        wrong = [c.why_not(self, percent) for c in self.conditions if c.holds(self) is not True]
        return " and ".join(dict.fromkeys(wrong))

    def asked(self, *, percent: bool = False, outcome: Outcome | None = None) -> str:
        """The conditions and the outcome for people: "≥ 10 %, lower bound > 0 %: fail (lower bound −2.0 % is not > 0 %)"."""
        conditions = ", ".join(
            f"{_LOWER if c.of_lower_bound else ''}{c.sign} {_text(c.number, percent)}" for c in self.conditions
        )
        why = self.why(percent=percent)
        return f"{conditions}: {outcome or self.outcome}{f' ({why})' if why else ''}"


def _text(number: float, percent: bool) -> str:
    return (f"{100 * number:g} %" if percent else f"{number:g}").replace("-", "−")


def _apart(value: float, bound: float, percent: bool) -> str:
    """The value with at least three digits after the point (one in percent), and so many that it does not read as the bound."""
    if not percent and bound and value.is_integer() and bound.is_integer():
        return _text(value, False)
    factor, digits, unit = (100.0, 1, " %") if percent else (1.0, 3, "")
    while digits < _MOST_DIGITS and value != bound and round(factor * value, digits) == round(factor * bound, digits):
        digits += 1
    return f"{factor * value:.{digits}f}{unit}".replace("-", "−")


def at_least(
    name: str, interval: Interval, threshold: float, arithmetic: str, *, above_zero: bool = False, required: bool = True
) -> Criterion:
    """value ≥ threshold; with above_zero also the interval's lower bound > 0. NaN is undefined."""
    words = f"≥ {_text(threshold, False)}" + (f", {_LOWER}> 0" if above_zero else "")
    return _criterion(name, interval, words, arithmetic, required)


def above_zero(name: str, interval: Interval, arithmetic: str, *, required: bool = True) -> Criterion:
    """The whole interval above zero."""
    return _criterion(name, interval, f"{_LOWER}> 0", arithmetic, required)


def more_than(name: str, interval: Interval, threshold: float, arithmetic: str, *, required: bool = True) -> Criterion:
    """value > threshold, as the plan writes its later targets."""
    return _criterion(name, interval, f"> {_text(threshold, False)}", arithmetic, required)


def below(name: str, interval: Interval, threshold: float, arithmetic: str, *, required: bool = True) -> Criterion:
    """value < threshold."""
    return _criterion(name, interval, f"< {_text(threshold, False)}", arithmetic, required)


def at_most(name: str, interval: Interval, threshold: float, arithmetic: str, *, required: bool = True) -> Criterion:
    """value ≤ threshold."""
    return _criterion(name, interval, f"≤ {_text(threshold, False)}", arithmetic, required)


def _criterion(name: str, interval: Interval, threshold: str, arithmetic: str, required: bool) -> Criterion:
    value, low, high = finite(interval.value), finite(interval.low), finite(interval.high)
    undecided = Criterion(name, value, low, high, threshold, "undefined", arithmetic, required)
    return Criterion(name, value, low, high, threshold, undecided.computed_outcome, arithmetic, required)
