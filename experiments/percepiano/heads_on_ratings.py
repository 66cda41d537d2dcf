"""Heads fitted to human ratings: a row is a window, a performance's prediction is the mean over its windows.

Plain heads predict ratings from frames. Comparative heads predict deviations from the passage's mean rating, from frames
minus the mean of the passage's human windows; they are trained on human performances alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keybed.experiments.percepiano.config import HeadPlan
from keybed.experiments.percepiano.inputs import RANDOM, Inputs
from keybed.experiments.percepiano.protocols import Positions
from keybed.experiments.percepiano.regressors import Model
from keybed.experiments.percepiano.windows import Windows, by_item
from keybed.store.format.recipe import EncoderSpec

Floats = NDArray[np.float64]
_HELD_BACK = 0.15
"""Share of the training passages on which the best epoch is chosen."""
_POINTS = 100.0
"""Heads predict points from 0 to 100, ratings lie in 0..1."""


def pair_of(specs: Sequence[EncoderSpec]) -> dict[str, str]:
    """modality → its first encoder; those with random weights come last."""
    pair: dict[str, str] = {}
    for spec in sorted(specs, key=lambda s: s.random_weights):
        pair.setdefault(spec.modality, spec.name)
    return pair


def heads_on_ratings(
    windows: Windows,
    specs: Sequence[EncoderSpec],
    inputs: Inputs,
    plan: HeadPlan,
    log: Callable[[str], None] = lambda _: None,
) -> dict[str, Model]:
    """Name → model, the plain heads first, such as "head on logmel" and "gated head on logmel and expressive".

    All kinds and seeds are trained in one pass per fold.
    """
    from keybed.heads.models import HeadConfig

    pair = pair_of(specs)
    with_mask = {s.name for s in specs if s.has_mask}
    n_scales = inputs.ratings.rating.shape[1]
    heads = {kind: HeadConfig(kind=kind, hidden=plan.hidden, n_dimensions=n_scales) for kind in plan.kinds}
    heads = {kind: head for kind, head in heads.items() if set(head.modalities) <= set(pair)}
    if not heads:
        return {}
    arrays: dict[str, Any] = {}
    for modality, name in pair.items():
        arrays[f"{modality}_frames"] = windows.frames[name]
        if name in with_mask:
            arrays[f"{modality}_mask"] = windows.mask[name]
    human = inputs.ratings.human
    plain = _HeadsOnOneTarget(arrays, windows.item, inputs, inputs.ratings.rating, None, heads, plan, log)
    apart = {k: a if k.endswith("_mask") else _less_passage(a, windows.item, inputs) for k, a in arrays.items()}
    relative = _HeadsOnOneTarget(apart, windows.item, inputs, inputs.target, human, heads, plan, log)
    random = {s.name for s in specs if s.random_weights}
    names = {kind: _name(kind, [pair[m] for m in head.modalities], random) for kind, head in heads.items()}
    return {names[kind]: plain.model(kind) for kind in heads} | {
        f"comparative {names[kind]}": relative.model(kind) for kind in heads
    }


def _name(kind: str, encoders: Sequence[str], random: Set[str]) -> str:
    """What a head of this kind is called that reads these encoders; `random`: those with random weights."""
    of_kind = "head" if len(encoders) == 1 else f"{kind} head"
    return f"{of_kind} on {' and '.join(f'{e} ({RANDOM})' if e in random else e for e in encoders)}"


def _less_passage(frames: NDArray[np.float32], item: NDArray[np.int64], inputs: Inputs) -> NDArray[np.float32]:
    """Frames minus each channel's mean over bins and windows of the passage's human performances."""
    out = np.array(frames, np.float32)
    passage, human = inputs.ratings.passage[item], inputs.ratings.human[item]
    for name in np.unique(passage):
        rows = passage == name
        base = frames[rows & human] if (rows & human).any() else frames[rows]
        out[rows] -= base.mean(axis=(0, 1))
    return out


class _HeadsOnOneTarget:
    """All kinds of heads on one target, fitted once per fold."""

    def __init__(
        self,
        arrays: Mapping[str, Any],
        item: NDArray[np.int64],
        inputs: Inputs,
        target: Floats,
        human: NDArray[np.bool_] | None,
        heads: Mapping[str, Any],
        plan: HeadPlan,
        log: Callable[[str], None],
    ) -> None:
        self.arrays, self.item, self.passage = arrays, item, inputs.ratings.passage
        self.target, self.human, self.heads, self.plan, self.log = target, human, heads, plan, log
        self.known: dict[tuple[bytes, bytes], dict[str, Floats]] = {}

    def model(self, kind: str) -> Model:
        """One kind of head as a Model."""
        return lambda train, test: self.fold(train, test)[kind]

    def fold(self, train: Positions, test: Positions) -> dict[str, Floats]:
        """Predictions of the test performances by every kind of head."""
        key = (train.tobytes(), test.tobytes())
        if key not in self.known:
            self.known[key] = self._fit(train, test)
        return self.known[key]

    def _fit(self, train: Positions, test: Positions) -> dict[str, Floats]:
        from keybed.heads import fitted
        from keybed.heads import train as training
        from keybed.heads.data import ArrayData
        from keybed.heads.fit_config import FitConfig

        used = train if self.human is None else train[self.human[train]]
        passages = np.unique(self.passage[used])
        back = np.random.default_rng(0).permutation(passages)[: max(1, round(_HELD_BACK * passages.size))]
        held = np.isin(self.passage[used], back)
        learnt, chosen = self._rows(used[~held]), self._rows(used[held])
        batch_rows = min(self.plan.batch_rows, len(learnt))
        config = FitConfig(
            epochs=self.plan.epochs,
            batch_rows=batch_rows,
            learning_rate=self.plan.learning_rate,
            seeds=tuple(range(self.plan.seeds)),
            patience=0,
            normalisation_rows=None,
        )
        data = ArrayData(self._batch(learnt, True), self._batch(chosen, True), batch_rows)
        fit = training.fit(dict(self.heads), data, config)
        self.log(f"{len(learnt)} training windows; best epochs {fit.best_epoch}")
        asked = self._rows(test)
        parts = [self._batch(asked[i : i + batch_rows], False) for i in range(0, len(asked), batch_rows)]
        position = np.searchsorted(np.sort(test), self.item[asked])
        back_to = np.argsort(np.argsort(test))
        return {
            kind: by_item(p.mean(axis=0), position)[back_to] / _POINTS for kind, p in fitted.predict(fit, parts).items()
        }

    def _rows(self, performances: Positions) -> NDArray[np.int64]:
        """Windows of these performances, sorted by passage, then by time in the passage, then by performance."""
        rows = np.flatnonzero(np.isin(self.item, performances))
        _, first = np.unique(self.item, return_index=True)
        moment = rows - first[self.item[rows]]
        return rows[np.lexsort((self.item[rows], moment, self.passage[self.item[rows]]))]

    def _batch(self, rows: NDArray[np.int64], labelled: bool) -> Any:
        from keybed.heads.inputs import from_arrays

        score = self.target[self.item[rows]] * _POINTS if labelled else np.zeros((len(rows), self.target.shape[1]))
        _, passage = np.unique(self.passage[self.item[rows]], return_inverse=True)
        return from_arrays(
            **{name: values[rows] for name, values in self.arrays.items()},
            score=score.astype(np.float32),
            valid=np.full(score.shape, labelled),
            segment=passage if self.human is not None else np.arange(len(rows)),
            row=rows,
        )
