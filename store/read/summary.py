"""What an open store says of itself: in a line, and as a table for a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path

from keybed.store.counted import counted
from keybed.store.format.recipe import Recipe
from keybed.store.read.reader import Reader


def in_a_line(path: Path | str, recipe: Recipe, reader: Reader) -> str:
    """`<Store PATH: 96 rows, 64 of them made; …>`."""
    encoders = ", ".join(_encoder(reader, recipe, spec.name) for spec in recipe.encoders) or "no encoder"
    return f"<Store {path}: {_rows(recipe, reader)}; {encoders}>"


def as_html(path: Path | str, recipe: Recipe, reader: Reader, splits: Mapping[str, tuple[int, int]]) -> str:
    """The path, the rows by split, and every feature with its axes."""
    by_split = ", ".join(f"{name} {stop - start:,}" for name, (start, stop) in splits.items())
    lines = "".join(
        f"<tr><td><code>{escape(spec.path)}</code></td>"
        f"<td>{' × '.join(f'{dim} {size:,}' for dim, size in zip(spec.dims, spec.shape, strict=True))}</td>"
        f"<td>{spec.dtype}</td></tr>"
        for spec in reader.specs
        if not spec.path.startswith("row/")
    )
    random = [spec.name for spec in recipe.encoders if spec.random_weights]
    warning = f"<p><b>random weights: {escape(', '.join(random))}</b></p>" if random else ""
    return (
        f"<p><b>Store</b> <code>{escape(str(path))}</code>: {_rows(recipe, reader)} ({by_split})</p>{warning}"
        f"<table><thead><tr><th>feature</th><th>axes</th><th>dtype</th></tr></thead><tbody>{lines}</tbody></table>"
    )


def _rows(recipe: Recipe, reader: Reader) -> str:
    made = sum(stop - start for start, stop in map(reader.shards.rows_of, reader.shards.numbers))
    seconds = recipe.segments.get("window_s")
    length = "" if seconds is None else f" of {seconds:g} s"
    state = "all made" if made == recipe.n_rows else f"{made:,} of them made"
    return f"{counted(recipe.n_rows, 'row')}{length}, {state}"


def _encoder(reader: Reader, recipe: Recipe, name: str) -> str:
    (spec,) = (spec for spec in recipe.encoders if spec.name == name)
    note = " (random weights)" if spec.random_weights else ""
    if name in reader.added and len(reader.added[name].numbers) < reader.shards.n_shards:
        note += f" ({len(reader.added[name].numbers)} of {counted(reader.shards.n_shards, 'shard')})"
    return f"{spec.group}{note}"
