"""Training states and fitted heads on disk: arrays in .npz, everything else in JSON, nothing pickled.

A checkpoint folder holds `checkpoint.json`, whose rename is the commit, and the arrays file that it names. Orbax is not used:
a state is a few MB on one machine, one NumPy file that others can read without JAX.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

from keybed.heads.errors import CheckpointMismatch, FileDamaged
from keybed.heads.fit_config import FitConfig
from keybed.heads.inputs import HeadInput
from keybed.heads.losses import LossWeights
from keybed.heads.normalisation import FEATURE_MASKS, Normalisation
from keybed.heads.npz_file import damaged, read_npz, sha256_of, write_aside, write_npz

T = TypeVar("T")
Tree = Any
Shapes = dict[str, tuple[int | None, ...]]

FORMAT_VERSION = 2
DELETE = "delete it and run the phase that wrote it again"
DELETE_RUN = "delete the run and run its phase again"
_NAMED = 6
"""At most so many names of each kind are in the message."""


def save(
    folder: Path, tree: Any, description: Mapping[str, Any], *, config: Mapping[str, Any], store: str, count: int
) -> None:
    """Write one training state; the earlier one stays valid until this one is complete. `count` numbers the arrays file.

    Raises CannotWrite.
    """
    arrays = {key: np.asarray(leaf) for key, leaf in _named_leaves(tree)}
    name = f"state-{count:06d}.npz"
    write_npz(folder / name, arrays)
    facts = {
        "format_version": FORMAT_VERSION,
        "store": store,
        "config": config,
        "about": description,
        "arrays": name,
        "arrays_sha256": sha256_of(folder / name),
    }
    text = json.dumps({**facts, "sha256": _digest(facts)}, indent=1, allow_nan=False)
    write_aside(folder / "checkpoint.json", lambda path: path.write_text(text, encoding="utf-8"))
    for old in folder.glob("state-*.npz"):
        if old.name != name:
            old.unlink()


def load(folder: Path, template: Any, *, config: Mapping[str, Any], store: str) -> tuple[Any, dict[str, Any]] | None:
    """The last saved state in the template's structure, and its description; None where there is none.

    Raises CheckpointMismatch where it was saved for another store, configuration or format, FileDamaged where a file is cut
    or altered.
    """
    path = folder / "checkpoint.json"
    if not path.exists():
        return None
    remedy = f"delete the folder {folder} and run the same command again, which trains this part from its beginning"
    facts = _read_facts(path, remedy)
    _check(path, facts, config=config, store=store)
    arrays = read_npz(folder / facts["arrays"], remedy, sha256=facts["arrays_sha256"])
    expected = dict(_named_leaves(template))
    if set(expected) != set(arrays):
        raise CheckpointMismatch(f"{path}: holds other arrays than this version trains; give another checkpoint_dir")
    for key, leaf in expected.items():
        if arrays[key].shape != np.shape(leaf) or arrays[key].dtype != np.asarray(leaf).dtype:
            raise CheckpointMismatch(
                f"{folder / facts['arrays']}: {key} is {arrays[key].dtype} {arrays[key].shape} there, {np.asarray(leaf).dtype} "
                f"{np.shape(leaf)} here: the fit began on other data than it is given now. Give another checkpoint_dir, or "
                "delete this one"
            )
    return jax.tree.unflatten(jax.tree.structure(template), [arrays[key] for key in expected]), facts["about"]


@dataclass(frozen=True)
class BestEpoch:
    """What a checkpoint of `fit` holds of the best epoch. models, fit, about: its descriptions, as JSON."""

    params: dict[str, Any]
    normalisation: Normalisation
    models: Mapping[str, Any]
    fit: Mapping[str, Any]
    about: Mapping[str, Any]


def load_best(folder: Path, *, store: str) -> BestEpoch:
    """The best parameters of a checkpoint, without a template of its arrays.

    Raises CheckpointMismatch where there is no checkpoint or it is of another store, FileDamaged where a file is cut or
    altered.
    """
    path = folder / "checkpoint.json"
    if not path.exists():
        raise CheckpointMismatch(f"{path} is absent; {DELETE_RUN}")
    facts = _read_facts(path, DELETE_RUN)
    if facts["store"] != store:
        raise CheckpointMismatch(f"{path}: was trained on store {facts['store']!r}, asked for store {store!r}")
    arrays = read_npz(folder / facts["arrays"], DELETE_RUN, sha256=facts["arrays_sha256"])
    params: dict[str, Any] = {}
    features: dict[str, list[Any]] = {}
    scores: dict[str, Any] = {}
    for key, value in arrays.items():
        names = re.findall(r"\['([^']+)'\]", key)
        if names[0] == "best":
            *parents, leaf = names[1:]
            node = params
            for parent in parents:
                node = node.setdefault(parent, {})
            node[leaf] = value
        elif names == ["normalisation"]:
            scores[key.rpartition(".")[2]] = value
        elif names[0] == "normalisation":
            features.setdefault(names[1], [None, None])[int(key[-2])] = value
    try:
        normalisation = Normalisation({n: (m, i) for n, (m, i) in features.items()}, **scores)
        return BestEpoch(params, normalisation, facts["config"]["models"], facts["config"]["fit"], facts["about"])
    except (KeyError, TypeError) as error:
        raise CheckpointMismatch(f"{path}: holds other arrays than this version trains; {DELETE_RUN}") from error


def _read_facts(path: Path, remedy: str) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(path, error, remedy) from error
    if not isinstance(facts, dict) or facts.pop("sha256", None) != _digest(facts):
        version = facts.get("format_version") if isinstance(facts, dict) else None
        if isinstance(version, int) and version != FORMAT_VERSION:
            raise CheckpointMismatch(f"{path}: format {version}, this Keybed reads format {FORMAT_VERSION}; {remedy}")
        raise FileDamaged(f"{path} is damaged (its checksum differs); {remedy}")
    return facts


def _digest(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _check(path: Path, facts: Mapping[str, Any], *, config: Mapping[str, Any], store: str) -> None:
    if facts["store"] != store:
        raise CheckpointMismatch(
            f"{path}: was trained on store {facts['store']!r}, asked to go on with store {store!r}; "
            "give another checkpoint_dir or open the first store"
        )
    expected = json.loads(json.dumps(config))
    if facts["config"] != expected:
        changed = sorted(k for k in set(expected) | set(facts["config"]) if expected.get(k) != facts["config"].get(k))
        pairs = "; ".join(f"{k}: {facts['config'].get(k)} there, {expected.get(k)} here" for k in changed)
        raise CheckpointMismatch(
            f"{path}: was trained with another configuration ({pairs}); give another checkpoint_dir"
        )


def save_tree(path: Path, tree: Mapping[str, Any], description: Mapping[str, Any]) -> None:
    """Write nested dictionaries of arrays and a JSON description as one .npz, in one step. Raises CannotWrite."""
    flat = {"tree/" + key: np.asarray(value) for key, value in _flatten(tree).items()}
    text = np.frombuffer(json.dumps(description, allow_nan=False).encode(), np.uint8)
    write_npz(path, {"about.json": text, **flat})


def load_tree(
    path: Path, *, parts: Sequence[str] = (), fields: Sequence[str] = ()
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Inverse of `save_tree`: (tree of NumPy arrays, description).

    Raises FileDamaged where the file is cut or altered, CheckpointMismatch where the tree lacks one of `parts` or the
    description one of `fields`.
    """
    arrays = read_npz(path, DELETE)
    try:
        description = json.loads(arrays.pop("about.json").tobytes())
    except (KeyError, ValueError, RecursionError) as error:
        raise damaged(path, error, DELETE) from error
    tree: dict[str, Any] = {}
    for key, value in arrays.items():
        *parents, leaf = key.split("/")[1:]
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    missing = [name for name in parts if name not in tree]
    missing += [name for name in fields if not isinstance(description, dict) or name not in description]
    if missing:
        raise CheckpointMismatch(
            f"{path}: holds no {missing[0]}; it is another file, or another version of Keybed wrote it: {DELETE}"
        )
    return tree, description


def config_from_json(path: Path, kind: type[T], fields: Mapping[str, Any]) -> T:
    """Make a configuration from the fields read from `path`; raises CheckpointMismatch where this version has other fields."""
    try:
        return kind(**fields)
    except TypeError as error:
        raise CheckpointMismatch(
            f"{path}: was written by another version of Keybed ({error}): run the phase that wrote it again"
        ) from error


def fit_config_from_json(path: Path, saved: Mapping[str, Any]) -> FitConfig:
    """Inverse of `FitConfig.to_json`, read from `path`; raises CheckpointMismatch where this version has other fields."""
    losses = config_from_json(path, LossWeights, saved.get("losses", {}))
    seeds = tuple(saved.get("seeds", ()))
    return config_from_json(path, FitConfig, {**saved, "seeds": seeds, "losses": losses})


def check_parameters(
    path: Path, fresh: Callable[[HeadInput], Tree], params: Mapping[str, Tree], normalisation: Normalisation
) -> None:
    """Check that saved parameters (leading axis S) have the names and shapes of those that `fresh` makes.

    The batch given to `fresh` has the features of `normalisation`; only shapes are evaluated. Raises CheckpointMismatch that
    names both sides.
    """
    expected, saved = _expected(fresh, normalisation), {k: a.shape[1:] for k, a in _parameters(params).items()}
    missing, unexpected = sorted(expected.keys() - saved.keys()), sorted(saved.keys() - expected.keys())
    other = [
        f"{name} {_shape_text(saved[name])} there, {_shape_text(expected[name])} here"
        for name in sorted(expected.keys() & saved.keys())
        if not _fits(saved[name], expected[name])
    ]
    differences = [
        f"{what}: {', '.join(names[:_NAMED])}{f' and {len(names) - _NAMED} more' if len(names) > _NAMED else ''}"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", other))
        if names
    ]
    if differences:
        raise CheckpointMismatch(
            f"{path}: holds other parameters than this version's heads have ({'; '.join(differences)}). Another version of Keybed "
            "fitted them: run the phase that wrote this file again, or load it with the version that wrote it"
        )


def _expected(fresh: Callable[[HeadInput], Tree], normalisation: Normalisation) -> Shapes:
    """Expected shapes; an axis whose length depends on the number of bins, which a fit does not store, is None."""
    short, long = (_parameters(jax.eval_shape(fresh, _batch_shapes(normalisation, n_bins))) for n_bins in (2, 3))
    return {
        name: tuple(a if a == b else None for a, b in zip(leaf.shape, long[name].shape, strict=True))
        for name, leaf in short.items()
    }


def _batch_shapes(normalisation: Normalisation, n_bins: int) -> HeadInput:
    """Shapes of a batch of two rows of the normalised features."""
    shapes: dict[str, Any] = {"row_B": jax.ShapeDtypeStruct((2,), np.int32)}
    for name, (mean, _) in normalisation.features.items():
        if name in FEATURE_MASKS:
            shapes[name] = jax.ShapeDtypeStruct((2, n_bins, *mean.shape), np.float32)
            shapes[FEATURE_MASKS[name]] = jax.ShapeDtypeStruct((2, n_bins), np.bool_)
        else:
            shapes[name] = jax.ShapeDtypeStruct((2, *mean.shape), np.float32)
    return HeadInput(**shapes)


def _parameters(tree: Tree) -> dict[str, Any]:
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _fits(saved: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    return len(saved) == len(expected) and all(b in (None, a) for a, b in zip(saved, expected, strict=True))


def _shape_text(shape: tuple[int | None, ...]) -> str:
    return "×".join("any" if n is None else str(n) for n in shape) or "a number"


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if "/" in key:
            raise ValueError(f"{key!r}: names of heads and parameters hold no slash")
        flat |= _flatten(value, f"{prefix}{key}/") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def _named_leaves(tree: Any) -> list[tuple[str, Any]]:
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in leaves]
