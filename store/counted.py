"""A count with its noun in the right number, for every message and page: `1 row`, `2,000 rows`."""

from __future__ import annotations


def counted(n: int, noun: str, plural: str | None = None) -> str:
    """`n` with thousands separators and the noun: `counted(1, "row")` is "1 row". plural: where it is not noun + "s"."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"
