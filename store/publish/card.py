"""Text that describes a published store: the dataset card, and metadata in Croissant (docs.mlcommons.org/croissant, 1.0)."""

from __future__ import annotations

import json
from typing import Any

from keybed.store.counted import counted
from keybed.store.format.recipe import Recipe
from keybed.store.format.vocabulary import DIMENSIONS
from keybed.store.publish.licences import HUB_LICENCE, terms
from keybed.store.read.store import Store


def dataset_card(store: Store, place: str) -> str:
    """README.md of the repository OWNER/NAME, Markdown with the hub's front matter."""
    recipe = store.recipe
    window_s = recipe.segments.get("window_s", "?")
    rows = ", ".join(f"{name} {stop - start:,}" for name, (start, stop) in store.splits.items())
    arrays = "\n".join(
        f"| `{spec.path}` | {' × '.join(f'{d} {n:,}' for d, n in zip(spec.dims, spec.shape, strict=True))} | {spec.dtype} |"
        for spec in store.specs
        if not spec.path.startswith("row/")
    )
    encoders = "\n".join(f"| {e.name} | {_source(e)} | `{e.weights_sha256[:16]}` |" for e in recipe.encoders)
    return f"""---
license: {HUB_LICENCE}
pretty_name: {json.dumps(place.partition("/")[2])}
tags: [music, piano, zarr, keybed]
---

# {place.partition("/")[2]}

Features of {counted(store.n_rows, "row")}: {window_s:g}-second windows of piano performances, most of them degraded by a program on
known axes, encoded once by frozen audio and MIDI models. Made with Keybed. Each row has a score from 0 to 100 for
{", ".join(DIMENSIONS)}. A score says how strongly the row was degraded; no person rated it.

```python
import keybed

store = keybed.open("hf://datasets/{place}")  # only what is read is downloaded
rows = store.rows(split="train")
features = store.read("{_example(store)}", rows.index[:256])
```

Rows: {rows}. Recipe: `{store.fingerprint}` (`recipe.json` has all of it).

| array | axes | dtype |
|---|---|---|
{arrays}

| encoder | weights | sha256 |
|---|---|---|
{encoders}

## Terms

This repository holds:

{chr(10).join(f"- {line}" for line in terms(recipe))}
"""


def _source(encoder: Any) -> str:
    return "random weights, seeded" if encoder.random_weights else f"{encoder.source}, {encoder.revision}"


def _example(store: Store) -> str:
    return next((path for path in store.features if path.endswith("/frames")), store.features[0])


def croissant(store: Store, place: str, recipe_sha256: str) -> dict[str, Any]:
    """Croissant metadata as plain JSON: what the files are, with the recipe's checksum."""
    recipe: Recipe = store.recipe
    base = f"https://huggingface.co/datasets/{place}"
    return {
        "@context": {
            "@language": "en",
            "@vocab": "https://schema.org/",
            "sc": "https://schema.org/",
            "cr": "http://mlcommons.org/croissant/",
            "dct": "http://purl.org/dc/terms/",
            "conformsTo": "dct:conformsTo",
            "fileObject": "cr:fileObject",
            "fileSet": "cr:fileSet",
            "containedIn": "cr:containedIn",
            "includes": "cr:includes",
        },
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": place.replace("/", "-"),
        "description": f"Frozen audio and MIDI features of {counted(store.n_rows, 'row')} of piano performances, degraded by a program",
        "license": "https://creativecommons.org/licenses/by-nc-sa/4.0/",
        "url": base,
        "version": store.fingerprint[:12],
        "keywords": ["music", "piano", "zarr", *(encoder.name for encoder in recipe.encoders)],
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": "repository",
                "name": "repository",
                "contentUrl": base,
                "encodingFormat": "git+https",
                "sha256": "https://github.com/mlcommons/croissant/issues/80",
            },
            {
                "@type": "cr:FileObject",
                "@id": "recipe",
                "name": "recipe.json",
                "contentUrl": "recipe.json",
                "containedIn": {"@id": "repository"},
                "encodingFormat": "application/json",
                "sha256": recipe_sha256,
            },
            {
                "@type": "cr:FileSet",
                "@id": "features",
                "name": "features.zarr",
                "description": "Zarr v3 group with sharded arrays",
                "containedIn": {"@id": "repository"},
                "encodingFormat": "application/vnd.zarr",
                "includes": "features.zarr/**",
            },
        ],
    }
