"""A scoring model in one file: a zip archive of JSON and of arrays without pickles, with the sha256 of every member.

    card.json  recipe.json  trained_on.json  calibration.npz  distance.npz  heads.npz  [projection.npz]  [view.npz]  [room.npz]
    [expected.npz]  [comparing.npz]  manifest.json

Equal models give equal bytes. Nothing in it is a path of a machine, and no feature or prediction of a training row.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, astuple, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.data.json_codec import from_json, plain
from keybed.experiments.data.view import View
from keybed.experiments.data.written_by import why_not_read
from keybed.experiments.evaluation import alignment
from keybed.experiments.scoring.calibration import Calibration
from keybed.experiments.scoring.comparing import Comparing
from keybed.experiments.scoring.distance import ModalityDistance
from keybed.experiments.scoring.model import ScoringModel
from keybed.experiments.scoring.results import ModelCard
from keybed.extract.audio.room import Recording, microphone_of
from keybed.extract.encoders import FITTED
from keybed.heads import fitted
from keybed.heads.npz_file import read_npz, write_npz
from keybed.store.disk.durable import disk_error, replace_file
from keybed.store.errors import KeybedError
from keybed.store.format.recipe import Recipe

KIND = "keybed scoring model"
FORMAT_VERSION = 5
READ_VERSIONS = range(1, FORMAT_VERSION + 1)
"""Models of format 1 read no derived view, and have no view.npz; those of formats 1 and 2 have no room.npz; only those of
format 4 and later hold the models that an encoder was fitted with (expected.npz), of format 5 what recordings are compared by
(comparing.npz)."""
LARGEST_BYTES = 10 * 10**6
SUFFIX = ".keybed"
MANIFEST, CARD, RECIPE, TRAINED_ON = "manifest.json", "card.json", "recipe.json", "trained_on.json"
CALIBRATION, DISTANCE, HEADS = "calibration.npz", "distance.npz", "heads.npz"
PROJECTION, CONSTANTS, ROOM, COMPARING = "projection.npz", "view.npz", "room.npz", "comparing.npz"
_MOST_BYTES = 10 * LARGEST_BYTES
"""Of a member, unpacked: a larger one is no part of a model."""
_REMEDY = "get the file again from where it came, or pack the run again"
_TIME = (1980, 1, 1, 0, 0, 0)


class BadPack(KeybedError):
    """A packed model that is damaged, was changed, or is of another format."""


def write_pack(path: Path, model: ScoringModel) -> int:
    """Write a model; returns its bytes. Raises BadPack where it would be larger than LARGEST_BYTES, NoDiskSpace."""
    data = packed(model)
    if len(data) > LARGEST_BYTES:
        raise BadPack(
            f"{path}: the model would have {len(data) / 1e6:.1f} MB, at most {LARGEST_BYTES / 1e6:.0f} MB are packed; train the "
            "heads with fewer seeds or a smaller --hidden"
        )
    try:
        with replace_file(path) as file:
            file.write(data)
    except OSError as error:
        raise disk_error(error, path) from error
    return len(data)


def packed(model: ScoringModel) -> bytes:
    """The bytes of a model's archive."""
    members = {
        CARD: _json(plain(model.card)),
        RECIPE: _json({"recipe": model.recipe.to_json(), "view": asdict(model.view)}),
        TRAINED_ON: _json({"midi_sha256": sorted(model.trained_on)}),
    }
    with tempfile.TemporaryDirectory(prefix="keybed-pack-") as name:
        folder = Path(name)
        write_npz(folder / CALIBRATION, _arrays(model.calibration))
        write_npz(folder / DISTANCE, _flat({m: _arrays(d) for m, d in model.distance.items()}))
        if constants := _flat(model.constants):
            write_npz(folder / CONSTANTS, constants)
        if model.room is not None:
            microphone = np.array(astuple(model.room.microphone))
            write_npz(folder / ROOM, {"response": model.room.response, "microphone": microphone})
        if model.comparing is not None:
            write_npz(folder / COMPARING, _arrays(model.comparing))
        fitted.save(folder / HEADS, model.fit)
        if model.projection is not None:
            alignment.save_projections(folder / PROJECTION, model.projection, "")
        members |= {file.name: file.read_bytes() for file in sorted(folder.iterdir())}
    members |= {_fitted_member(name): data for name, data in sorted(model.fitted.items())}
    manifest = {
        "kind": KIND,
        "format_version": FORMAT_VERSION,
        "keybed_version": version("keybed"),
        "members": {name: hashlib.sha256(data).hexdigest() for name, data in members.items()},
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for member, data in {MANIFEST: _json(manifest), **members}.items():
            archive.writestr(zipfile.ZipInfo(member, _TIME), data, zipfile.ZIP_DEFLATED, 6)
    return buffer.getvalue()


def read_pack(path: Path) -> ScoringModel:
    """Inverse of `write_pack`. Raises BadPack, which names the member that is damaged or was changed."""
    members = _members(path)
    with tempfile.TemporaryDirectory(prefix="keybed-pack-") as name:
        folder = Path(name)
        for member, data in members.items():
            (folder / member).write_bytes(data)
        try:
            recipe = json.loads(members[RECIPE])
            projection = alignment.load_projections(folder / PROJECTION) if PROJECTION in members else None
            distance = _by_modality(read_npz(folder / DISTANCE, _REMEDY))
            constants = _by_modality(read_npz(folder / CONSTANTS, _REMEDY)) if CONSTANTS in members else {}
            room = read_npz(folder / ROOM, _REMEDY) if ROOM in members else None
            return ScoringModel(
                card=from_json(ModelCard, json.loads(members[CARD]), path),
                recipe=Recipe.from_json(recipe["recipe"]),
                view=View(**recipe["view"]),
                fit=fitted.load(folder / HEADS),
                projection=projection,
                calibration=_of_arrays(Calibration, read_npz(folder / CALIBRATION, _REMEDY)),
                distance={m: _of_arrays(ModalityDistance, arrays) for m, arrays in distance.items()},
                trained_on=frozenset(json.loads(members[TRAINED_ON])["midi_sha256"]),
                constants=constants,
                room=None if room is None else Recording(room["response"], microphone_of(room["microphone"].tolist())),
                comparing=_of_arrays(Comparing, read_npz(folder / COMPARING, _REMEDY))
                if COMPARING in members
                else None,
                fitted={n: members[_fitted_member(n)] for n in FITTED if _fitted_member(n) in members},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadPack(f"{path}: another version of Keybed wrote it ({error}); {_REMEDY}") from error


def _members(path: Path) -> dict[str, bytes]:
    """Every member by name, after its hash has been compared."""
    try:
        with zipfile.ZipFile(path) as archive:
            too_large = [entry.filename for entry in archive.infolist() if entry.file_size > _MOST_BYTES]
            if too_large:
                raise BadPack(f"{path}: its member {too_large[0]} is too large for a model; {_REMEDY}")
            found = {name: archive.read(name) for name in archive.namelist()}
    except FileNotFoundError as error:
        raise BadPack(f"{path}: no such file; give a run's folder, or a file that `keybed pack` wrote") from error
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise BadPack(f"{path} is no packed model, or is damaged ({error}); {_REMEDY}") from error
    try:
        manifest = json.loads(found.pop(MANIFEST))
        kind, number, hashes = manifest["kind"], manifest["format_version"], dict(manifest["members"])
    except (KeyError, ValueError, TypeError) as error:
        raise BadPack(f"{path} is no packed model: it holds no {MANIFEST} that can be read; {_REMEDY}") from error
    if kind != KIND:
        raise BadPack(f"{path} is no packed model: it is a {kind!r:.60}; {_REMEDY}")
    problem = why_not_read(f"the packed model {path}", number, READ_VERSIONS, manifest.get("keybed_version"))
    if problem is not None:
        raise BadPack(f"{problem}, or pack the run again with this version")
    for name in dict.fromkeys((*hashes, *found)):
        if name not in found or name not in hashes or hashlib.sha256(found[name]).hexdigest() != hashes[name]:
            what = "is missing" if name not in found else "was added" if name not in hashes else "was changed"
            raise BadPack(f"{path}: its member {name} {what} after it was packed (sha256 in {MANIFEST}); {_REMEDY}")
    absent = [name for name in (CARD, RECIPE, TRAINED_ON, CALIBRATION, DISTANCE, HEADS) if name not in found]
    if absent:
        raise BadPack(f"{path}: holds no {absent[0]}; {_REMEDY}")
    return found


def _fitted_member(encoder: str) -> str:
    return f"{encoder}.npz"


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _arrays(value: Calibration | ModalityDistance | Comparing) -> dict[str, NDArray[Any]]:
    return {f.name: np.asarray(getattr(value, f.name)) for f in fields(value)}


def _flat(by_modality: Mapping[str, Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    return {f"{modality}/{name}": a for modality, arrays in by_modality.items() for name, a in arrays.items()}


def _by_modality(flat: Mapping[str, NDArray[Any]]) -> dict[str, dict[str, NDArray[Any]]]:
    """Inverse of `_flat`."""
    arrays: dict[str, dict[str, NDArray[Any]]] = {}
    for key, a in flat.items():
        modality, _, name = key.partition("/")
        arrays.setdefault(modality, {})[name] = a
    return arrays


def _of_arrays(kind: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    return kind(**{name: a if a.ndim else float(a) for name, a in arrays.items()})
