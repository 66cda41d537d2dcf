"""Does this machine still have what the store was planned with? Asked once, before a task makes its first row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from keybed.extract import degrade, encoders
from keybed.extract.audio import render
from keybed.extract.encoders.base import Encoder
from keybed.extract.run.row_maker import RenderConfig
from keybed.store import Store
from keybed.store.errors import KeybedError
from keybed.store.format.recipe import EncoderSpec, Recipe, differences


class NotAsPlanned(KeybedError):
    """A file or a library on this machine is not the one in the recipe; the message names every difference."""


def check_same_code(recipe: Recipe) -> None:
    """Raise NotAsPlanned where this version of Keybed would degrade otherwise than the one that planned."""
    planned = {key: value for key, value in recipe.degradation.items() if key not in ("profile", "seed")}
    _refuse("degradation", planned, degrade.parameters(), "install the version of Keybed that planned the store")


def render_config(store: Store, places: Mapping[str, str]) -> RenderConfig:
    """What the renderers need, its soundfont and synthesiser checked against the recipe."""
    recorded = store.recipe.audio["source"] == "recorded"
    soundfont = maestro = None
    if recorded:
        from keybed.extract.audio import recorded as recordings

        maestro = Path(_place(places, "maestro"))
        if not maestro.is_dir():
            raise NotAsPlanned(f"{maestro}: no such folder; say where the recordings lie with --maestro FOLDER")
        found = recordings.describe()
    else:
        soundfont = Path(_place(places, "soundfont"))
        found = render.describe(soundfont)
    planned = {key: value for key, value in store.recipe.audio.items() if key != "source"}
    _refuse("audio", planned, found, "give the planned soundfont with --soundfont FILE, or plan another store")
    entries = store.recordings
    return RenderConfig(
        store=store.path,
        seed=int(store.recipe.degradation["seed"]),
        window_s=float(store.recipe.segments["window_s"]),
        soundfont=soundfont,
        maestro=maestro,
        sounds=tuple(entry["audio"] for entry in entries),
        midi_problems={entry["recording"]: entry["midi_problem"] for entry in entries if entry["midi_problem"]},
    )


def planned_encoders(recipe: Recipe, places: Mapping[str, str]) -> list[Encoder]:
    """The recipe's encoders, built from the weights that lie here; refused where these or the code are others."""
    built = []
    for spec in recipe.encoders:
        place = _place(places, f"weights/{spec.name}") if spec.source not in ("none", "random") else None
        _check_encoder(spec, place)
        built.append(encoders.build(spec, place))
    return built


def _check_encoder(spec: EncoderSpec, place: str | None) -> None:
    weights = place
    if spec.source == "random":
        weights = f"random:{spec.revision}" if spec.revision else "random"
    found, _ = encoders.describe(
        spec.name,
        weights=weights,
        n_bins=spec.n_bins,
        window_s=float(spec.preprocessing["window_s"]),
        threads=spec.threads,
        compute_dtype=spec.compute_dtype,
    )
    told = {"source": spec.source, "revision": spec.revision}  # a local copy of a hub's snapshot is as good
    _refuse(
        f"encoder {spec.name}",
        asdict(spec),
        {**asdict(found), **told},
        f"give the planned weights with {_option(f'weights/{spec.name}')}, or plan another store",
    )


def _place(places: Mapping[str, str], name: str) -> str:
    if name not in places:
        raise NotAsPlanned(f"the store does not say where {name} lies; give {_option(name)}")
    return places[name]


def _option(place: str) -> str:
    """How the command line names a place: soundfont -> --soundfont, weights/mert -> --mert-weights."""
    return f"--{'-'.join(reversed(place.split('/')))} PATH"


def _refuse(what: str, planned: Any, found: Any, advice: str) -> None:
    different = differences(planned, found)
    if different:
        listed = "\n  ".join(different)
        raise NotAsPlanned(f"{what} is not as planned. In the recipe | here:\n  {listed}\n{advice}")
