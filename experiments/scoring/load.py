"""A scoring model from what `--run` names: a run's folder, or a packed file. A run is calibrated once and kept in the user's cache."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

from keybed.experiments.data.run_folder import check_version
from keybed.experiments.evaluation.gate_chain import check_file
from keybed.experiments.evaluation.gates import read_gate
from keybed.experiments.scoring.from_run import MODEL_VERSION, model_of_run
from keybed.experiments.scoring.model import ScoringModel
from keybed.experiments.scoring.pack import FORMAT_VERSION, SUFFIX, BadPack, packed, read_pack
from keybed.experiments.scoring.run_files import NoScoringRun
from keybed.extract.progress import Progress, silent
from keybed.store.disk.durable import write_durably


def load_model(where: Path, store: Path | None = None, progress: Progress = silent) -> ScoringModel:
    """The model of a run or of a packed file. store: the run's store, where it is not found.

    Raises NoScoringRun, BadPack, and what reading a run's gate and results raises.
    """
    if not where.is_dir():
        return read_pack(where)
    check_version(where)
    if not (where / "results.json").is_file():
        raise NoScoringRun(
            f"{where} is no finished run (it has no results.json); give the folder of a run of Phase 2 or 4, or a packed model"
        )
    gate = read_gate(where)
    for name in gate.rests_on:
        if name != "store":
            check_file(where, gate, name)
    cached = cache_folder() / f"{gate.sha256[:32]}-v{FORMAT_VERSION}.{MODEL_VERSION}{SUFFIX}"
    paths = cached.with_suffix(".json")
    if store is None and cached.is_file() and paths.is_file():
        try:
            kept = json.loads(paths.read_text(encoding="utf-8"))
            model = read_pack(cached)
            return replace(model, card=replace(model.card, run=where.absolute().name), paths=kept)
        except (BadPack, ValueError, OSError):
            pass  # half written or of a copied cache: it is made again below
    model = model_of_run(where, store, progress)
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        write_durably(cached, packed(model))
        write_durably(paths, json.dumps(dict(model.paths)).encode())
    except OSError:
        pass  # a cache that cannot be written costs half a minute at the next call
    return model


def cache_folder() -> Path:
    """`keybed/models` in $XDG_CACHE_HOME, or in ~/.cache."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "keybed" / "models"
