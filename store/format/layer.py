"""An encoder that was added to a planned store: its record, its identity and its arrays.

The store's rows have one fingerprint, and each encoder has its own. An added layer names both, so that features of other
rows or of another encoder are never taken for its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from keybed.store.format.array_specs import ArraySpec, encoder_arrays
from keybed.store.format.recipe import EncoderSpec, Recipe, fingerprint
from keybed.store.format.recipe_rules import encoder_problems

LAYER_VERSION = 1
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Layer:
    """One added encoder. rows: `Recipe.rows_fingerprint` of the store that it was added to."""

    encoder: EncoderSpec
    rows: str

    @property
    def name(self) -> str:
        """The encoder's name, which is the layer's."""
        return self.encoder.name

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the record: what the layer's commits carry."""
        return fingerprint(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types only; `from_json` is the inverse."""
        encoder: dict[str, Any] = json.loads(json.dumps(asdict(self.encoder)))
        return {"layer_version": LAYER_VERSION, "rows": self.rows, "encoder": encoder}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Layer:
        """Inverse of `to_json`. Raises ValueError for unknown fields, and names and numbers out of bounds."""
        if set(data) != {"layer_version", "rows", "encoder"}:
            raise ValueError(f"it holds {sorted(data)} instead of layer_version, rows and encoder")
        if data["layer_version"] != LAYER_VERSION:
            raise ValueError(f"it has layer_version {data['layer_version']!r}, this Keybed reads {LAYER_VERSION}")
        encoder = EncoderSpec.from_json(data["encoder"])
        problems = [*encoder_problems(data["encoder"]), *name_problems(encoder.name)]
        if problems:
            raise ValueError("; ".join(problems[:4]))
        if not isinstance(data["rows"], str):
            raise ValueError("rows is no fingerprint")
        return Layer(encoder, data["rows"])

    def specs(self, n_rows: int, shard_rows: int) -> tuple[ArraySpec, ...]:
        """The layer's arrays."""
        return tuple(encoder_arrays(self.encoder, n_rows, shard_rows))


def name_problems(name: str) -> list[str]:
    """Why an encoder of this name cannot be added: its name is also that of folders beside files of shards."""
    return (
        [] if _NAME.fullmatch(name) else [f"encoder {name!r}: the name of an added layer has letters, digits, _ and -"]
    )


def without(recipe: Recipe, dropped: frozenset[str]) -> tuple[EncoderSpec, ...]:
    """The recipe's encoders but those dropped."""
    return tuple(encoder for encoder in recipe.encoders if encoder.name not in dropped)
