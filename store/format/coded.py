"""Columns of small numbers that stand for words: tier, split and status."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keybed.store.format.vocabulary import SPLITS, TIERS, Status

WORDS: Mapping[str, Mapping[int, str]] = MappingProxyType(
    {
        "tier": MappingProxyType(dict(enumerate(TIERS))),
        "split": MappingProxyType(dict(enumerate(SPLITS))),
        "status": MappingProxyType({int(status): status.name.lower() for status in Status}),
    }
)
"""Column → number → word."""


class Coded(np.ndarray):
    """An array of such numbers that can also be compared with words: `rows.tier == 3` and `rows.tier == "poor"` are equal.

    what: the column, a key of `WORDS`. Results of arithmetic are plain arrays.
    """

    what: str

    def __new__(cls, numbers: ArrayLike, what: str) -> Coded:
        """A view of `numbers` as the column `what`."""
        coded = np.asarray(numbers).view(cls)
        coded.what = what
        return coded

    def __array_finalize__(self, source: Any) -> None:
        self.what = getattr(source, "what", "")

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return array[()] if return_scalar else np.asarray(array)

    def __reduce__(self) -> Any:
        return (Coded, (np.asarray(self), self.what))

    @property
    def words(self) -> NDArray[np.str_]:
        """The word of each number."""
        table = WORDS[self.what]
        values, inverse = np.unique(np.asarray(self), return_inverse=True)
        return np.array([table.get(int(value), str(value)) for value in values], dtype=np.str_)[inverse]

    def isin(self, *words: str) -> NDArray[np.bool_]:
        """Where the word is one of these: `rows.tier.isin("good", "poor")`. Raises ValueError for another word."""
        return np.isin(np.asarray(self), self._numbers(list(words)))

    def __eq__(self, other: Any) -> Any:
        return np.asarray(self) == self._numbers(other)

    def __ne__(self, other: Any) -> Any:
        return np.asarray(self) != self._numbers(other)

    __hash__ = None  # type: ignore[assignment]

    def _numbers(self, other: Any) -> Any:
        """The numbers of words; anything that is no word stays."""
        values = np.asarray(other)
        if values.dtype.kind not in "UO" or self.what not in WORDS:
            return values
        numbers = {word: number for number, word in WORDS[self.what].items()}
        unknown = sorted({str(word) for word in values.ravel().tolist()} - set(numbers))
        if unknown:
            raise ValueError(f"{self.what} {', '.join(unknown)}: there are {', '.join(numbers)}")
        return np.array([numbers[word] for word in values.ravel().tolist()], np.int64).reshape(values.shape)
