"""What the specs of all pretrained encoders share: the choice of weights, and the fields that follow from them.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

from keybed.extract.encoders import pooling, weights
from keybed.extract.encoders.weights import Weights
from keybed.store.format.recipe import EncoderSpec


class CommonOptions(TypedDict):
    """Options of a plan that go into every encoder's spec as they are."""

    n_bins: int
    threads: int
    compute_dtype: str


@dataclass(frozen=True)
class Pretrained:
    """One pretrained encoder: the files of its weights, and the sizes of its random weights.

    checkpoints: names of checkpoint files, the preferred one first. configs: files that a download fetches with it.
    architectures: of random weights by size, the default first. read_configs: from the folder of the configuration files
    to the entries of `preprocessing` that they decide, "architecture" among them.
    """

    name: str
    modality: Literal["audio", "midi"]
    checkpoints: tuple[str, ...]
    configs: tuple[str, ...]
    architectures: Mapping[str, dict[str, Any]]
    random_seed: int
    read_configs: Callable[[Path], dict[str, Any]]

    def choose(self, where: str, revision: str | None) -> tuple[Weights, dict[str, Any]]:
        """The weights that `where` names, and what their configuration puts into `preprocessing`.

        Raises WeightsRefused, WeightsUnreachable.
        """
        drawn = weights.random_weights(self.name, where, self.architectures, self.random_seed)
        if drawn is not None:
            chosen, architecture = drawn
            return chosen, {"architecture": architecture}
        chosen, folder = weights.resolve(self.name, where, revision, self.checkpoints, self.configs)
        return chosen, self.read_configs(folder)

    def spec(
        self,
        code_version: int,
        chosen: Weights,
        preprocessing: dict[str, Any],
        *,
        n_states: int,
        width: int | None = None,
        frame_states: tuple[int, ...],
        **common: Unpack[CommonOptions],
    ) -> tuple[EncoderSpec, str | None]:
        """The spec with these weights, and the path of their file (None for random weights).

        width: of the pooled features; None for that of the network's hidden states.
        Audio encoders keep mean and sd within bins; MIDI encoders the mean only, and mask bins without notes.
        """
        spec = EncoderSpec(
            name=self.name,
            modality=self.modality,
            source=chosen.source,
            revision=chosen.revision,
            weights_sha256=chosen.sha256,
            code_version=code_version,
            preprocessing={**preprocessing, "pooling_version": pooling.VERSION},
            n_states=n_states,
            width=preprocessing["architecture"]["hidden_size"] if width is None else width,
            frame_states=frame_states,
            frame_stats=("mean",) if self.modality == "midi" else ("mean", "sd"),
            has_mask=self.modality == "midi",
            **common,
        )
        return spec, chosen.path
