"""Fitted heads: predict scores, return activations, save and load."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from numpy.typing import NDArray

from keybed.heads import checkpoint
from keybed.heads.data import read_ahead
from keybed.heads.errors import BadInput, CheckpointMismatch
from keybed.heads.fit_config import FitConfig
from keybed.heads.inputs import HeadInput, pad_rows
from keybed.heads.models import HeadConfig, HeadOutput, apply_all, init
from keybed.heads.normalisation import Normalisation, standardise, to_scores
from keybed.heads.step import join_seeds, seed_groups, take_seeds
from keybed.heads.xla import jit

Array = Any
Tree = Any
Head: TypeAlias = Any
"""A `HeadConfig`, or any Flax module with `__call__(self, batch: HeadInput, train: bool) -> score_BxK` (or a HeadOutput) that
maps standardised inputs to standardised scores."""


@dataclass(frozen=True)
class FitResult:
    """Fitted heads, all seeds, each at its best epoch.

    params: {head: tree of float32 arrays, leading axis S}. history: one entry per epoch with loss and validation score
    (mean concordance over the dimensions) of each head and seed, seconds, rows/s, and whether the rows were on the device.
    best_epoch: {head: [S]}.
    """

    heads: Mapping[str, Head]
    params: dict[str, Tree]
    normalisation: Normalisation
    config: FitConfig
    history: list[dict[str, Any]]
    best_epoch: dict[str, list[int]]
    store: str
    compiled_steps: int

    def __repr__(self) -> str:
        epochs = [epoch + 1 for row in self.best_epoch.values() for epoch in row]
        best = f"best epochs {min(epochs)} to {max(epochs)} of {len(self.history)}" if epochs else "not trained"
        return f"<FitResult: {', '.join(self.heads)}; seeds {', '.join(map(str, self.seeds))}; {best}>"

    @property
    def seeds(self) -> tuple[int, ...]:
        """S seeds, in the order of the leading axes."""
        return self.config.seeds


@dataclass(frozen=True)
class Activations:
    """Outputs and weights of one head and one seed for N rows, as NumPy arrays, and the row numbers."""

    row_N: NDArray[np.int32]
    output: HeadOutput


def describe(head: Head) -> dict[str, Any]:
    """The description of a head, as JSON, that a checkpoint compares."""
    return asdict(head) if isinstance(head, HeadConfig) else {"module": type(head).__qualname__, "repr": repr(head)}


def predict(
    result: FitResult, batches: Iterable[HeadInput], *, heads: Iterable[str] | None = None
) -> dict[str, NDArray[np.float32]]:
    """Scores (seed, row, K), 0–100, of all heads (or the named ones), rows in the order of the batches; padded rows are left out."""
    selected = _select(result, heads)
    params = {n: result.params[n] for n in selected}
    return predict_scores(selected, params, result.normalisation, batches, result.config)


def attend(result: FitResult, head: str, batches: Iterable[HeadInput], *, seed: int | None = None) -> Activations:
    """Attention in both directions, gate, pooling and layer mix of one head; seed: one of result.seeds, None: the first."""
    index = 0 if seed is None else result.seeds.index(seed)
    selected = _select(result, [head])
    one = jax.tree.map(lambda a: a[index : index + 1], {head: result.params[head]})
    rows, outputs = [], []
    for batch in batches:
        n = batch.n_rows
        out = _forward(
            tuple(selected.items()),
            one,
            pad_rows(batch, max(n, result.config.batch_rows)),
            result.normalisation,
            True,
            result.config.compute_dtype,
        )[head]
        scored = out._replace(score_BxK=to_scores(out.score_BxK, result.normalisation))
        named = {k: v if v is None else np.asarray(v)[0] for k, v in scored._asdict().items()}
        outputs.append({k: v if v is None or k.endswith("_S") else v[:n] for k, v in named.items()})
        rows.append(np.asarray(batch.row_B))
    if not outputs:
        raise BadInput("no rows to compute activations for")
    whole = {k: _joined(k, [o[k] for o in outputs]) for k in outputs[0]}
    return Activations(np.concatenate(rows), HeadOutput(**whole))


def _joined(name: str, parts: list[Any]) -> Any:
    return parts[0] if parts[0] is None or name.endswith("_S") else np.concatenate(parts)


def save(path: Path, result: FitResult) -> None:
    """Write fitted heads as one .npz file with JSON inside. A head that is a module must be given again to `load`."""
    description = {
        "heads": {n: describe(h) for n, h in result.heads.items()},
        "config": result.config.to_json(),
        "history": result.history,
        "best_epoch": result.best_epoch,
        "store": result.store,
        "compiled_steps": result.compiled_steps,
    }
    n = result.normalisation
    features = {name: {"mean": mean, "inverse_sd": inverse} for name, (mean, inverse) in n.features.items()}
    scores = {"mean": n.score_mean_K, "sd": n.score_sd_K}
    checkpoint.save_tree(path, {"params": result.params, "features": features, "scores": scores}, description)


def load(path: Path, modules: Mapping[str, nn.Module] | None = None, *, store: str | None = None) -> FitResult:
    """Inverse of `save`. store: fingerprint of the store whose features the heads will read.

    Raises CheckpointMismatch where the heads were fitted on another store or this version's heads have other parameters,
    FileDamaged where the file is cut or altered, BadInput where `modules` lacks a head that is a module.
    """
    fields = ("heads", "config", "history", "best_epoch", "store", "compiled_steps")
    tree, description = checkpoint.load_tree(path, parts=("params", "scores"), fields=fields)
    if store is not None and description["store"] != store:
        raise CheckpointMismatch(
            f"{path} was fitted on store {description['store'] or '(none named)'}, this is store {store}: "
            "features of another recipe mean something else"
        )
    heads: dict[str, Head] = {}
    for name, fields in description["heads"].items():
        if "module" not in fields:
            heads[name] = _head_from_json(path, fields)
        elif modules is None or name not in modules:
            raise BadInput(f"{path}: head {name!r} is a module of its own ({fields['module']}); give it in modules")
        else:
            heads[name] = modules[name]
    config = checkpoint.fit_config_from_json(path, description["config"])
    features = {name: (f["mean"], f["inverse_sd"]) for name, f in tree.get("features", {}).items()}
    normalisation = Normalisation(features, tree["scores"]["mean"], tree["scores"]["sd"])
    configs = {name: head for name, head in heads.items() if isinstance(head, HeadConfig)}
    key = jax.random.key(0)
    checkpoint.check_parameters(
        path,
        lambda sample: {name: init(head, key, sample) for name, head in configs.items()},
        {name: tree["params"].get(name, {}) for name in configs},
        normalisation,
    )
    return FitResult(
        heads,
        tree["params"],
        normalisation,
        config,
        description["history"],
        description["best_epoch"],
        description["store"],
        description["compiled_steps"],
    )


def _head_from_json(path: Path, fields: Mapping[str, Any]) -> HeadConfig:
    """A head's configuration; files of before `pooling` hold heads that pool the mean alone."""
    return checkpoint.config_from_json(path, HeadConfig, {"pooling": "mean", **fields})


def load_best(folder: Path, *, store: str) -> FitResult:
    """The best epoch of each head and seed that a checkpoint folder of `fit` holds.

    Raises CheckpointMismatch where there is none or it is of another store, FileDamaged where a file is cut or altered.
    """
    best = checkpoint.load_best(folder, store=store)
    heads = {name: _head_from_json(folder, fields) for name, fields in best.models.items()}
    config = checkpoint.fit_config_from_json(folder, best.fit)
    key = jax.random.key(0)
    checkpoint.check_parameters(
        folder,
        lambda sample: {name: init(head, key, sample) for name, head in heads.items()},
        best.params,
        best.normalisation,
    )
    return FitResult(
        heads, best.params, best.normalisation, config, best.about["history"], best.about["best_epoch"], store, 0
    )


def _select(result: FitResult, heads: Iterable[str] | None) -> dict[str, Head]:
    names = list(result.heads) if heads is None else list(heads)
    unknown = [n for n in names if n not in result.heads]
    if unknown:
        raise BadInput(f"no head {', '.join(unknown)} in this fit; it has {', '.join(result.heads)}")
    return {n: result.heads[n] for n in names}


def predict_scores(
    heads: Mapping[str, Head],
    params: Mapping[str, Tree],
    normalisation: Normalisation,
    batches: Iterable[HeadInput],
    config: FitConfig,
) -> dict[str, NDArray[np.float32]]:
    """Scores (seed, row, K), 0–100, of each head from parameters with leading axis S; padded rows are left out."""
    parts: dict[str, list[NDArray[np.float32]]] = {n: [] for n in heads}
    static, params = tuple(heads.items()), jax.tree.map(jnp.asarray, dict(params))
    groups = [take_seeds(params, group) for group in seed_groups(len(config.seeds))]
    queued: list[tuple[int, list[dict[str, HeadOutput]]]] = []

    def keep(n: int, outputs: list[dict[str, HeadOutput]]) -> None:
        for name in heads:
            score_SxBxK = join_seeds([out[name].score_BxK for out in outputs])
            parts[name].append(np.asarray(to_scores(score_SxBxK, normalisation))[:, :n])

    for batch in read_ahead(batches, config.read_ahead):
        n = int(np.sum(np.asarray(batch.row_B) >= 0))
        padded = pad_rows(batch, max(batch.n_rows, config.batch_rows))
        queued.append((n, [_forward(static, g, padded, normalisation, False, config.compute_dtype) for g in groups]))
        # Two batches are queued on the device, so that it does not wait while the host fetches scores.
        if len(queued) > 1:
            keep(*queued.pop(0))
    for item in queued:
        keep(*item)
    n_seeds = len(config.seeds)
    no_rows = np.zeros((n_seeds, 0, len(normalisation.score_mean_K)), np.float32)
    return {name: np.concatenate(p, axis=1) if p else no_rows for name, p in parts.items()}


@jit(level=1, static_argnums=(0, 4, 5))
def _forward(
    named: tuple[tuple[str, Head], ...],
    params: Mapping[str, Tree],
    batch: HeadInput,
    normalisation: Normalisation,
    with_weights: bool,
    dtype: str,
) -> dict[str, HeadOutput]:
    kind = jnp.dtype(dtype)
    rows = standardise(batch, normalisation, kind)

    def one_seed(params: Mapping[str, Tree]) -> dict[str, HeadOutput]:
        outputs = apply_heads(dict(named), cast(params, kind), rows, False, None)
        return outputs if with_weights else {n: HeadOutput(o.score_BxK) for n, o in outputs.items()}

    return jax.vmap(one_seed)(params)


def init_head(head: Head, key: Array, sample: HeadInput) -> Tree:
    """Initial parameters of one head for one seed and standardised inputs shaped like `sample`."""
    if isinstance(head, HeadConfig):
        return init(head, key, sample)
    return head.init({"params": key, "dropout": key}, sample, train=False)["params"]


def apply_heads(
    heads: Mapping[str, Head], params: Mapping[str, Tree], batch: HeadInput, train: bool, key: Array | None
) -> dict[str, HeadOutput]:
    """Outputs of each head for one seed on a standardised batch; scores are float32, in standard deviations."""
    configs = {n: h for n, h in heads.items() if isinstance(h, HeadConfig)}
    outputs = apply_all(configs, params, batch, train=train, key=key)
    for i, (name, head) in enumerate(heads.items()):
        if not isinstance(head, HeadConfig):
            rngs = None if key is None else {"dropout": jax.random.fold_in(key, 1000 + i)}
            out = head.apply({"params": params[name]}, batch, train=train, rngs=rngs)
            outputs[name] = out if isinstance(out, HeadOutput) else HeadOutput(out)
    return {name: o._replace(score_BxK=o.score_BxK.astype(jnp.float32)) for name, o in outputs.items()}


def cast(params: Mapping[str, Tree], dtype: Any) -> Mapping[str, Tree]:
    """Parameters in the dtype of the arithmetic."""
    return jax.tree.map(lambda p: p.astype(dtype), params)
