"""Which recipes can be joined, and the recipe of the joined store: the same but for the corpus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from keybed.store.errors import RecipeMismatch
from keybed.store.format.recipe import Recipe, differences, fingerprint
from keybed.store.read.store import Store

_OF_CORPUS = ("n_recordings", "n_recordings_used")
"""What is added up."""


def joined_recipe(stores: Sequence[Store]) -> Recipe:
    """The recipe of the stores' rows together. Raises RecipeMismatch naming both values of every difference.

    Shards are as large as the largest of the sources'.
    """
    first = stores[0]
    for other in stores[1:]:
        listed = differences(_comparable(first.recipe), _comparable(other.recipe))
        if listed:
            raise RecipeMismatch(
                f"{first.path} and {other.path} cannot be joined, because their recipes differ in more than the corpus. "
                f"Values of the first | of the second:\n  " + "\n  ".join(listed)
            )
    recipes = [store.recipe for store in stores]
    same = {name: value for name, value in recipes[0].corpus.items() if name == "midi_reading"}
    sums = {name: sum(int(recipe.corpus.get(name, 0)) for recipe in recipes) for name in _OF_CORPUS}
    parts = [
        {
            "fingerprint": store.fingerprint,
            "corpus": recipe.corpus,
            "limit": recipe.segments.get("limit"),
            "n_segments": recipe.segments.get("n_segments"),
            "n_rows": recipe.n_rows,
        }
        for store, recipe in zip(stores, recipes, strict=True)
    ]
    n_segments = sum(int(recipe.segments.get("n_segments", 0)) for recipe in recipes)
    return replace(
        recipes[0],
        corpus={**same, **sums, "joined": parts},
        segments={**recipes[0].segments, "limit": None, "n_segments": n_segments},
        n_rows=sum(recipe.n_rows for recipe in recipes),
        shard_rows=max(recipe.shard_rows for recipe in recipes),
        labels=_joined_labels(recipes),
    )


def _joined_labels(recipes: Sequence[Recipe]) -> dict[str, Any] | None:
    labels = [recipe.labels for recipe in recipes if recipe.labels is not None]
    if not labels:
        return None
    return {
        **labels[0],
        "sha256": fingerprint([one["sha256"] for one in labels]),
        "n_passages": sum(int(one["n_passages"]) for one in labels),
    }


def _comparable(recipe: Recipe) -> dict[str, Any]:
    """Everything that must be equal: the recipe without corpus, sizes and the order of its encoders."""
    plain = recipe.to_json()
    segments = {name: value for name, value in plain["segments"].items() if name not in ("limit", "n_segments")}
    encoders = sorted(plain["encoders"], key=lambda encoder: str(encoder["name"]))
    kept = {name: plain[name] for name in plain if name not in ("corpus", "n_rows", "shard_rows", "labels")}
    if "labels" in plain:
        kept["labels"] = {name: plain["labels"][name] for name in ("dimensions", "scale")}
    midi_reading = plain["corpus"].get("midi_reading", 1)
    return {**kept, "segments": segments, "encoders": encoders, "midi_reading": midi_reading}
