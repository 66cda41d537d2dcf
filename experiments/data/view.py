"""A view names the arrays of a store that heads train on: two encoders and one kind of features."""

from __future__ import annotations

import re
from dataclasses import dataclass

from keybed.store.command import command
from keybed.store.errors import NoSuchFeature
from keybed.store.read.store import Store


@dataclass(frozen=True)
class View:
    """Two encoders of one store, and the kind of their features.

    frames: the common time grid. layers: mean and sd over time of every state (hidden layer). pca128 (or another number) and
    int8: made from the frames by `keybed derive`. pooled: made from the layers, one vector per row.
    """

    audio: str
    midi: str
    kind: str = "frames"
    layers_too: bool = False
    """Read the layers beside the frames, as block-wise alignment does."""

    def __post_init__(self) -> None:
        if self.kind not in ("frames", "layers", "int8", "pooled") and not re.fullmatch(r"pca\d+", self.kind):
            raise NoSuchFeature(
                f"no view {self.kind!r}; views are frames, layers, pooled, int8 and pca128 (or another number)"
            )

    def paths(self, store: Store) -> dict[str, str]:
        """Argument of `keybed.heads.inputs.from_arrays` -> array path.

        Raises NoSuchFeature for a view that was not derived, StaleDerived for one made from other data.
        """
        paths: dict[str, str] = {}
        for modality, name in (("audio", self.audio), ("midi", self.midi)):
            spec = store.recipe.encoder(name)
            if spec.modality != modality:
                raise NoSuchFeature(f"encoder {name!r} encodes {spec.modality}, not {modality}")
            if self.kind == "layers":
                paths[f"{modality}_layers"] = f"{spec.group}/layers"
                continue
            if self.kind == "pooled":
                paths[f"{modality}_pooled"] = self._derived(store, name, "layers_pooled")
                continue
            paths[f"{modality}_frames"] = (
                f"{spec.group}/frames" if self.kind == "frames" else self._derived(store, name, f"frames_{self.kind}")
            )
            if spec.has_mask:
                paths[f"{modality}_mask"] = f"{spec.group}/mask"
            if self.layers_too:
                paths[f"{modality}_layers"] = f"{spec.group}/layers"
        return paths

    def fingerprint(self, store: Store) -> str:
        """Fingerprint of the rows and of these two encoders, whatever else the store holds."""
        return store.fingerprint_of((self.audio, self.midi))

    def _derived(self, store: Store, name: str, view: str) -> str:
        """Path of a derived view. PCA of an encoder with fewer channels than `kind` asks for keeps all of them."""
        path = f"derived/{name}/{view}"
        if path not in store.features and self.kind.startswith("pca"):
            pattern = re.compile(re.escape(f"derived/{name}/frames_pca") + r"(\d+)")
            sizes = [int(m[1]) for m in map(pattern.fullmatch, store.features) if m and int(m[1]) < int(self.kind[3:])]
            spec = store.recipe.encoder(name)
            all_channels = spec.width * len(spec.frame_stats)
            if all_channels in sizes:
                path = f"derived/{name}/frames_pca{all_channels}"
        if path not in store.features:
            raise NoSuchFeature(f"{store.path} holds no {path}; make it with `{command('derive', store.path)}`")
        store.check_fresh(path)
        return path

    @property
    def inputs(self) -> str:
        """HeadConfig.inputs of a head on this view."""
        return "layers" if self.kind in ("layers", "pooled") else "frames"


def pair_of(store: Store, audio: str | None, midi: str | None) -> tuple[str, str]:
    """The pair of encoders to compare: those named, else the first with trained weights, else the baselines.

    Without names, encoders with trained weights come first, then encoders that need none, then random weights.
    Raises NoSuchFeature where the store has no such encoder.
    """

    def choose(modality: str, name: str | None) -> str:
        specs = [e for e in store.recipe.encoders if e.modality == modality]
        if name is not None:
            if name not in [e.name for e in specs]:
                raise NoSuchFeature(
                    f"{store.path} holds no {modality} encoder {name!r}; it has {', '.join(e.name for e in specs) or 'none'}"
                )
            return name
        if not specs:
            raise NoSuchFeature(f"{store.path} holds no {modality} encoder")
        rank = {"random": 2, "none": 1}
        return min(specs, key=lambda e: rank.get(e.source, 0)).name

    return choose("audio", audio), choose("midi", midi)
