"""Features of a recording in the view that a head reads: those of its encoders, or what `keybed derive` makes of them.

A derived view of a store rests on moments and components of its training rows. A model keeps these few arrays, so that it
needs no store.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.data.view import View
from keybed.store.derive.view_values import int8_numbers, mean_of_states, project, to_int8
from keybed.store.format.recipe import EncoderSpec
from keybed.store.read.store import Store

Arrays = Mapping[str, NDArray[np.float32]]
"""Of one modality: mean, std and components of a PCA view, offset and scale of int8; empty for other views."""


def constants_of(store: Store, view: View) -> dict[str, Arrays]:
    """What the view's features are made with, by modality. Raises NoSuchFeature and StaleDerived as `View.paths` does."""
    paths = view.paths(store)
    constants: dict[str, Arrays] = {}
    for modality in ("audio", "midi"):
        path = paths.get(f"{modality}_frames", "")
        base = path.rpartition("_")[0]
        names: dict[str, str] = {}
        if view.kind == "int8":
            names = {"offset": f"{path}_offset", "scale": f"{path}_scale"}
        elif view.kind.startswith("pca"):
            names = {"mean": f"{base}_mean", "std": f"{base}_std", "components": f"{path}_components"}
        constants[modality] = {name: store.reader.whole(array) for name, array in names.items()}
    return constants


def arguments(kind: str, constants: Arrays, spec: EncoderSpec, made: Mapping[str, NDArray]) -> dict[str, NDArray]:
    """Arguments of `keybed.heads.inputs.from_arrays` for one encoder's modality. made: its arrays by path, float16."""
    modality, group = spec.modality, spec.group
    if kind == "layers":
        return {f"{modality}_layers": made[f"{group}/layers"]}
    if kind == "pooled":
        layers = made[f"{group}/layers"]
        return {f"{modality}_pooled": mean_of_states(layers[:, :, state] for state in spec.frame_states)}
    frames = made[f"{group}/frames"]
    mask = made[f"{group}/mask"] if spec.has_mask else np.ones(frames.shape[:2], bool)
    arguments = {f"{modality}_frames": _derived(kind, constants, frames, mask)}
    return {**arguments, f"{modality}_mask": mask} if spec.has_mask else arguments


def _derived(kind: str, constants: Arrays, frames: NDArray, mask: NDArray[np.bool_]) -> NDArray:
    """Frames of the view, float16; masked bins as in the store's arrays, which heads do not read."""
    if kind == "frames":
        return frames
    values = frames[mask].astype(np.float32)
    if kind == "int8":
        small = np.zeros(frames.shape, np.int8)
        small[mask] = to_int8(values, constants["offset"], constants["scale"])
        return int8_numbers(small, constants["offset"], constants["scale"]).astype(np.float16)
    std, components = constants["std"], constants["components"]
    projected = np.zeros((*mask.shape, len(components)), np.float16)
    safe_std = np.where(std > 0, std, np.float32(1))
    projected[mask] = project(values, constants["mean"], safe_std, components.reshape(len(components), -1))
    return projected
