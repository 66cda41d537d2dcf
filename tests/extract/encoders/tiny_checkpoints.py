"""Small checkpoints with random weights in the formats that real ones come in."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from keybed.extract.encoders import describe
from keybed.extract.encoders.mert import spec as mert
from keybed.extract.encoders.mert.model import load_hubert
from keybed.extract.encoders.midibert.model import load_midibert

GRID = {"n_bins": 4, "window_s": 2.0}


def mert_state() -> dict[str, torch.Tensor]:
    """Tensors of random:tiny, by today's names."""
    return dict(load_hubert(describe("mert", weights="random:tiny", **GRID)[0], None).state_dict())  # type: ignore[arg-type]


def midibert_state() -> dict[str, torch.Tensor]:
    return dict(load_midibert(describe("midibert", weights="random:tiny", **GRID)[0], None).state_dict())  # type: ignore[arg-type]


def write_mert_configs(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    config = {**mert.ARCHITECTURES["tiny"], "model_type": "mert_model"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text('{"do_normalize": true, "sampling_rate": 24000}')


def write_mert(folder: Path, state: dict[str, torch.Tensor] | None = None, name: str = "model.safetensors") -> Path:
    """A folder as the hub has it, with a checkpoint of this name."""
    write_mert_configs(folder)
    save(mert_state() if state is None else state, folder / name)
    return folder


def save(state: dict[str, torch.Tensor], file: Path) -> None:
    if file.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file({key: tensor.contiguous() for key, tensor in state.items()}, file)
    else:
        torch.save(state, file)
