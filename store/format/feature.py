"""Names of features: an array's path, optionally with a selection along its named axes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_FORM = re.compile(r"(?P<path>[^\[\]]+)(?:\[(?P<axes>[^\[\]]+)\])?")
_AXIS = re.compile(r"\s*(?P<name>\w+)\s*=\s*(?P<start>\d+)(?P<range>:(?P<stop>\d+))?\s*")


@dataclass(frozen=True)
class Feature:
    """An array's path, and (axis name, start, stop) for each selected axis; stop None selects one index and drops the axis."""

    path: str
    axes: tuple[tuple[str, int, int | None], ...] = ()

    def selection(self, dims: Sequence[str], shape: Sequence[int]) -> tuple[tuple[slice, ...], tuple[int, ...]]:
        """(a slice for every axis after the rows, axes to drop afterwards). Raises ValueError for an unknown axis."""
        chosen = {name: (start, stop) for name, start, stop in self.axes}
        unknown = sorted(set(chosen) - set(dims[1:]))
        if unknown:
            raise ValueError(f"{self.path} has no axis {', '.join(unknown)}; it has {', '.join(dims[1:])}")
        inner, drop = [], []
        for axis, (name, size) in enumerate(zip(dims, shape, strict=True)):
            if axis == 0:
                continue
            start, stop = chosen.get(name, (0, size))
            if stop is None:
                drop.append(axis)
                stop = start + 1
            if not 0 <= start < stop <= size:
                raise ValueError(f"{self.path}: {name}={start}:{stop} is outside 0:{size}")
            inner.append(slice(start, stop))
        return tuple(inner), tuple(drop)


def parse_feature(text: str) -> Feature:
    """`audio/mert/layers[state=7,stat=0:1]` → Feature. Raises ValueError with the form expected."""
    whole = _FORM.fullmatch(text.strip())
    parts = [_AXIS.fullmatch(part) for part in whole["axes"].split(",")] if whole and whole["axes"] else []
    if whole is None or not all(parts):
        raise ValueError(f"{text!r} is not a feature; write a path, or path[axis=7] or path[axis=7:9]")
    axes = tuple((p["name"], int(p["start"]), int(p["stop"]) if p["range"] else None) for p in parts if p)
    return Feature(whole["path"].strip(), axes)
