"""Phase 5, real ratings today. What do human ears say about the same passage played by many, and does anything here foretell it?

    keybed phase5 percepiano ../shared/data/percepiano --out RUN [--after RUN2 --store STORE]

(a) zero-shot: heads of an earlier run, trained on synthetic degradation alone, against the ratings; (b) models trained on
the ratings, under three protocols; (c) the raters' own noise. About 5 minutes on two cores for 964 performances, the first
time 3 more for rendering. What to expect: R² about 0.56 segment-grouped, which proves little (a table that hears nothing
gets 0.36); within-passage r about 0.40 with the composition held out, plain trees 0.30, the ceiling about 0.7.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from experiments.percepiano import models
from experiments.percepiano.ceiling import ceilings
from experiments.percepiano.models import Inputs, all_models, chosen, comparative, make_inputs, out_of_fold
from experiments.percepiano.page import write_percepiano_page
from experiments.percepiano.protocols import ONE_COMPOSITION_OUT, Protocol, protocols, scores
from experiments.percepiano.reader import SCALES, Ratings, read
from experiments.percepiano.windows import Windows, by_item, encode
from experiments.percepiano.within import Within, interval
from experiments.percepiano.zero_shot import answer
from experiments.run_folder import plain, write_json
from store.errors import KeybedError
from store.schema import EncoderSpec

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PercepianoConfig:
    """folder: labels/ and midi/. after: a finished run with heads.npz for the zero-shot part, made on `store`.

    Without a store, the two baseline encoders are used with their defaults; encoders=() renders nothing.
    """

    folder: Path
    out: Path
    store: Path | None = None
    after: Path | None = None
    encoders: tuple[str, ...] = ("logmel", "expressive")
    weights: str | None = None
    """For mert and midibert: a checkpoint, or "random" and "random:tiny", which the report marks."""
    head: str = "gated"
    hop_s: float = 6.2
    replicates: int = 1000
    seed: int = 0


def percepiano(config: PercepianoConfig, console: Console) -> Path:
    """Write config.out/results.json and report.html; returns the report."""
    ratings = read(config.folder)
    console.print(
        f"{len(ratings)} rated performances, {ratings.human.sum()} human; {len(ratings.problems)} remarks on the files"
    )
    config.out.mkdir(parents=True, exist_ok=True)
    windows, specs = _windows(config, ratings, console)
    inputs = make_inputs(ratings, None if windows is None else _pooled(windows))
    results = {
        "data": _about(ratings),
        "encoders": [{"name": s.name, "source": s.source, "random": s.random_weights} for s in specs],
        "ceiling": ceilings(ratings),
        "zero_shot": None if windows is None else _zero_shot(config, ratings, windows, specs),
        "protocols": {name: _judge(p, inputs, config, console) for name, p in protocols(ratings).items()},
        "config": {"seed": config.seed, "replicates": config.replicates, "hop_s": config.hop_s},
    }
    write_json(config.out / "results.json", results)
    report = write_percepiano_page(plain(results), config.out / "report.html")
    console.print(f"Report: {report}", highlight=False)
    return report


def _about(ratings: Ratings) -> dict[str, Any]:
    return {
        "n": len(ratings),
        "human": int(ratings.human.sum()),
        "compositions": {str(c): int((ratings.composition == c).sum()) for c in np.unique(ratings.composition)},
        "passages": int(np.unique(ratings.passage).size),
        "players": int(np.unique(ratings.player).size),
        "problems": list(ratings.problems),
    }


def _windows(config: PercepianoConfig, ratings: Ratings, console: Console) -> tuple[Windows | None, list[EncoderSpec]]:
    """Rendered and encoded as the store's recipe says, or with the encoders' defaults."""
    from extract import encoders as known

    if config.store is not None:
        import store as stores
        from extract.agreement import encoders_of, setting_of

        opened = stores.open(config.store)
        setting = setting_of(opened, opened.places)
        if setting.soundfont is None:
            raise KeybedError(
                f"{config.store}: its audio is recorded, and PercePiano has no recordings; give a rendered store"
            )
        built, soundfont, window_s = encoders_of(opened.recipe, opened.places), setting.soundfont, setting.window_s
    elif config.encoders:
        described = [
            known.describe(
                name,
                weights=config.weights if name in known.PRETRAINED else None,
                n_bins=20,
                window_s=10.0,
            )
            for name in config.encoders
        ]
        built, soundfont, window_s = [known.build(spec, place) for spec, place in described], None, 10.0
    else:
        return None, []
    found = encode(
        ratings.performances,
        built,
        soundfont,
        window_s=window_s,
        hop_s=config.hop_s,
        cache=config.out,
        console=console,
    )
    return found, [e.spec for e in built]


def _pooled(windows: Windows) -> Floats:
    """Every encoder's mean and sd over time, states averaged, then over a performance's windows: (n, channels)."""
    parts = [by_item(a.mean(axis=2).reshape(len(a), -1), windows.item) for a in windows.layers.values()]
    return np.nan_to_num(np.hstack(parts))


def _zero_shot(
    config: PercepianoConfig, ratings: Ratings, windows: Windows, specs: list[EncoderSpec]
) -> dict[str, Any] | None:
    if config.after is None:
        return None
    from heads import train
    from heads.inputs import from_arrays

    told = json.loads((config.after / "results.json").read_text(encoding="utf-8"))
    pair = told["pair"]
    if config.store is None or pair["view"] not in ("frames", "layers"):
        raise KeybedError(
            f"{config.after} was trained on view {pair['view']}: give its --store, and a run on frames or layers"
        )
    fit = train.load(config.after / "heads.npz")
    import store as stores

    if fit.store != stores.open(config.store).fingerprint:
        raise KeybedError(
            f"{config.after} was trained on another store than {config.store}; its features mean something else"
        )
    if config.head not in fit.heads:
        raise KeybedError(f"{config.after} has no head {config.head!r}; it has {', '.join(fit.heads)}")
    masked = {s.name for s in specs if s.has_mask}
    arrays: dict[str, Any] = {}
    for modality in ("audio", "midi"):
        name = pair[modality]
        kind = pair["view"]
        arrays[f"{modality}_{kind}"] = (windows.frames if kind == "frames" else windows.layers)[name]
        if name in masked and kind == "frames":
            arrays[f"{modality}_mask"] = windows.mask[name]
    n = windows.item.size
    batch = from_arrays(
        **arrays,
        score=np.zeros((n, 8), np.float32),
        valid=np.zeros((n, 8), bool),
        segment=np.arange(n),
        row=np.arange(n),
    )
    step = fit.config.batch_rows
    parts = [type(batch)(*(None if a is None else a[i : i + step] for a in batch)) for i in range(0, n, step)]
    said = {name: p.mean(axis=0) for name, p in train.predict(fit, parts).items()}
    answers = answer(ratings, by_item(said[config.head], windows.item), replicates=config.replicates, seed=config.seed)
    others = {
        name: [a.r.value for a in answer(ratings, by_item(p, windows.item), replicates=20, seed=config.seed)]
        for name, p in said.items()
    }
    return {
        "head": config.head,
        "run": config.after.name,
        "pair": pair,
        "random": [s.name for s in specs if s.random_weights and s.name in pair.values()],
        "answers": [{**asdict(a), "r": a.r.to_json(), "words": a.question.words} for a in answers],
        "other_heads": others,
    }


def _judge(protocol: Protocol, inputs: Inputs, config: PercepianoConfig, console: Console) -> dict[str, Any]:
    """Every model under one protocol, with paired intervals against plain trees."""
    ratings = inputs.ratings
    n, k = ratings.rating.shape
    predicted: dict[str, Floats] = {}
    candidates = comparative(inputs)
    for name, model in all_models(inputs, candidates).items():
        console.print(f"{protocol.name}: {name}", highlight=False)
        predicted[name] = out_of_fold(model, protocol.folds, n, k)
    choices: list[str] = []
    if protocol.name == ONE_COMPOSITION_OUT and len(protocol.folds) > 2:
        console.print(f"{protocol.name}: {models.CHOSEN}", highlight=False)
        predicted[models.CHOSEN], choices = chosen(candidates, ratings, protocol.folds)
    within = Within(ratings, ratings.human)
    everybody = Within(ratings, np.ones(n, bool))
    drawn = within.compare(list(predicted.values()), replicates=config.replicates, seed=config.seed)
    base = list(predicted).index(models.PLAIN_TREES)
    values = {name: within.r(p[within.kept]) for name, p in predicted.items()}
    rows: dict[str, Mapping[str, Any]] = {}
    for i, (name, p) in enumerate(predicted.items()):
        levels = "comparative" not in name and name not in (models.CHOSEN, models.PLAYER_TABLE)
        found = scores(p, ratings.rating)
        rows[name] = {
            "r2": float(found["r2"].mean()) if levels else None,
            "r": float(found["r"].mean()) if levels else None,
            "r2_by_scale": found["r2"] if levels else None,
            "within_r": interval(values[name].mean(), drawn[:, i]),
            "within_by_scale": values[name],
            "within_with_scores": float(everybody.r(p).mean()),
            "over_plain_trees": interval(
                values[name].mean() - values[models.PLAIN_TREES].mean(), drawn[:, i] - drawn[:, base]
            ),
            "by_composition": {
                str(c): float(_of(ratings, ratings.composition == c, p).mean()) for c in np.unique(ratings.composition)
            },
        }
    return {"about": protocol.about, "models": rows, "choices": choices, "scales": list(SCALES)}


def _of(ratings: Ratings, among: NDArray[np.bool_], predicted: Floats) -> Floats:
    inside = Within(ratings, among & ratings.human)
    return inside.r(predicted[inside.kept])
