"""The rules that the arrays of a shard must keep, checked before writing and again by `keybed verify`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from keybed.store.errors import ShardRefused
from keybed.store.format.array_specs import ArraySpec
from keybed.store.format.vocabulary import Status


def checked_arrays(
    specs: Sequence[ArraySpec],
    arrays: Mapping[str, np.ndarray],
    failures: Mapping[int, str],
    *,
    shard: int,
    start: int,
    stop: int,
    status: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """The arrays in their stored dtypes, after every rule was checked. Raises ShardRefused naming array, row and rule.

    Rows with status OK have finite features and, where valid, finite scores; all other rows have NaN features and no valid
    score. status: uint8 (rows,) of the committed rows, where `specs` are those of an added layer.
    """
    where = f"shard {shard} (rows {start}–{stop - 1})"
    wanted, given = {spec.path for spec in specs}, set(arrays)
    if wanted != given:
        raise ShardRefused(f"{where}: arrays missing {sorted(wanted - given)}, unknown {sorted(given - wanted)}")
    ready = {spec.path: _cast(spec, np.asarray(arrays[spec.path]), stop - start, where) for spec in specs}

    with_status = ready if status is None else {**ready, "row/status": status}
    broken = broken_rules(specs, with_status, failures, start)
    if broken:
        raise ShardRefused(f"{where}: {'; '.join(broken)}")
    return ready


def broken_rules(
    specs: Sequence[ArraySpec], arrays: Mapping[str, np.ndarray], failures: Mapping[int, str], start: int
) -> list[str]:
    """Every rule that a shard's stored arrays break, one sentence each with row numbers; empty for a sound shard.

    arrays: all task-written arrays of the shard in their stored dtypes, and `row/status`. start: the shard's first row.
    """
    status = arrays["row/status"]
    broken = []
    unknown = sorted(set(np.unique(status).tolist()) - ({int(s) for s in Status} - {int(Status.NOT_MADE)}))
    if unknown:
        names = [Status(n).name if n in set(Status) else str(n) for n in unknown]
        broken.append(f"row/status holds {', '.join(names)}, which a finished row cannot have")
    ok = status == Status.OK
    failed = {start + int(i) for i in np.flatnonzero(~ok)}
    if failed != set(failures):
        broken.append(
            f"exactly the failed rows must have a reason; failed rows without one: {sorted(failed - set(failures))[:8]}, "
            f"rows with one that are OK or of another shard: {sorted(set(failures) - failed)[:8]}"
        )
    for spec in specs:
        for wrong, rule in _value_rules(spec, arrays, ok):
            if wrong.any():
                rows = (start + np.flatnonzero(wrong))[:8].tolist()
                broken.append(f"{spec.path}: {rule}; rows {rows}{' …' if wrong.sum() > 8 else ''}")
    return broken


def count_statuses(status: np.ndarray) -> dict[str, int]:
    """Status name → number of rows, for every status that occurs. status: (rows,)."""
    return {s.name: int(np.sum(status == s)) for s in Status if np.any(status == s)}


_INFINITE = 0x7C00
"""`_magnitude` of an infinity; that of NaN is greater."""


def _magnitude(values: np.ndarray) -> np.ndarray:
    """The bits of float16 values without the sign, as uint16: in the order of their absolute values, NaN last.

    NumPy has no vector instructions for float16: its isfinite takes eight times as long as a maximum of integers.
    """
    return values.view(np.uint16) & np.uint16(0x7FFF)


def _cast(spec: ArraySpec, values: np.ndarray, n_rows: int, where: str) -> np.ndarray:
    shape = (n_rows, *spec.shape[1:])
    if values.shape != shape:
        raise ShardRefused(f"{where}: {spec.path} has shape {values.shape}, a whole shard is {shape}")
    stored = np.dtype(spec.dtype)
    if values.dtype == stored:
        return np.ascontiguousarray(values)
    if (stored, values.dtype) == (np.dtype("float16"), np.dtype("float32")):
        with np.errstate(over="ignore"):
            narrow = values.astype(np.float16)
        if _magnitude(narrow).max(initial=0) >= _INFINITE and (over := np.isinf(narrow) & np.isfinite(values)).any():
            row = int(np.argwhere(over)[0][0])
            raise ShardRefused(
                f"{where}: {spec.path} holds {float(np.abs(values[over]).max()):.6g} (row {row} of the shard), beyond "
                f"float16's 65504; scale this encoder's output"
            )
        return narrow
    raise ShardRefused(f"{where}: {spec.path} is {values.dtype}, the store keeps {stored}")


def _value_rules(spec: ArraySpec, arrays: Mapping[str, np.ndarray], ok: np.ndarray) -> Iterator[tuple[np.ndarray, str]]:
    """(bool (rows,) that is true where the rule is broken, rule) for each rule of one array."""
    values = arrays[spec.path]
    flat = values.reshape(len(values), -1)
    if spec.dtype == "float16":
        magnitude = _magnitude(flat)
        yield ok & (magnitude.max(axis=1) >= _INFINITE), "features of an OK row must be finite"
        yield ~ok & (magnitude.min(axis=1) <= _INFINITE), "features of a failed row must be NaN"
    elif spec.path == "row/score":
        yield ok & (arrays["row/valid"] & ~np.isfinite(values)).any(axis=1), "a valid score must be finite"
    elif spec.dtype == "bool":
        yield ~ok & flat.any(axis=1), "a failed row must have no valid score and no unmasked bin"
        frames = arrays.get(spec.path.removesuffix("/mask") + "/frames") if spec.path.endswith("/mask") else None
        if frames is not None:
            filled = _magnitude(frames).reshape(*values.shape, -1).max(axis=2) > 0
            yield ok & (filled & ~values).any(axis=1), "frames must be 0 in masked bins"
    elif spec.path == "row/n_notes":
        yield ok & (values < 0), "n_notes of an OK row must not be negative"
    elif values.dtype.kind == "f":
        yield np.isinf(flat).any(axis=1), "values must not be infinite (NaN means: not measured)"
