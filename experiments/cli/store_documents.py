"""What `keybed status`, `verify` and `info` print with --json, as plain data with stable keys."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np

from keybed.experiments.data.json_codec import plain
from keybed.store.check.status import StatusReport
from keybed.store.check.verify import VerifyReport
from keybed.store.format.array_specs import array_specs
from keybed.store.format.rows import Rows
from keybed.store.format.vocabulary import DIMENSIONS, TIERS, Status
from keybed.store.read.store import Store


def status_document(report: StatusReport) -> dict[str, Any]:
    """Every field of the report; `layers` has the same of each added encoder."""
    return {
        "store": report.path,
        "complete": report.complete,
        "rows": report.n_rows,
        "rows_done": report.rows_done,
        "done": report.done,
        "running": [
            {"shard": claim.shard, "holder": claim.holder and str(claim.holder), "silent_s": claim.silent_s}
            for claim in report.running
        ],
        "failed": plain(report.failed),
        "missing": report.missing,
        "failed_rows": report.failed_rows,
        "reasons": report.reasons,
        "more_reasons": report.more_reasons,
        "rows_per_s": report.rows_per_s,
        "time_left_s": report.time_left_s,
        "bound_by": report.bound_by,
        "unreadable": report.unreadable,
        "layers": {name: status_document(layer) for name, layer in report.layers.items()},
    }


def verify_document(report: VerifyReport) -> dict[str, Any]:
    """What is wrong, and the shards to extract (again)."""
    return {
        "store": report.config.store,
        "sound": report.sound,
        "shards": report.n_shards,
        "problems": plain(report.problems),
        "missing": report.missing,
        "missing_of_layers": report.missing_of_layers,
        "bad": report.bad,
        "redo": report.redo,
        "redo_layers": report.redo_layers,
        "leftovers": report.leftovers,
        "restorable": report.restorable,
        "stale": report.stale,
        "damaged": report.damaged,
        "repaired": report.repaired,
        "recompute_difference": plain(report.recompute_difference),
    }


def info_document(store: Store) -> dict[str, Any]:
    """The recipe, the arrays, what is committed, and the mean scores of the committed rows."""
    from keybed.extract.degrade.parameters import traces_of

    rows = store.rows(status=None, allow_missing=True)
    statuses = Counter(Status(int(status)).name for status in rows.status)
    return {
        "store": store.path,
        "fingerprint": store.fingerprint,
        "format_version": store.recipe.format_version,
        "rows": store.n_rows,
        "splits": {name: list(limits) for name, limits in store.splits.items()},
        "shard_rows": store.shard_rows,
        "shards": store.n_shards,
        "committed": sorted(store.committed),
        "status": dict(statuses),
        "mean_score": mean_scores(rows),
        "arrays": [
            {
                "path": a.path,
                "shape": a.shape,
                "dtype": a.dtype,
                "bytes": np.dtype(a.dtype).itemsize * math.prod(a.shape),
            }
            for a in array_specs(store.recipe)
        ],
        "derived": [path for path in store.features if path.startswith("derived/")],
        "layers": {
            name: {"fingerprint": layer.fingerprint, "committed": sorted(store.shards_of_layer(name).numbers)}
            for name, layer in store.layers.items()
        },
        "dropped": sorted(store.dropped),
        "random_weights": [spec.name for spec in store.recipe.encoders if spec.random_weights],
        "traces": traces_of(store.recipe.degradation.get("code_version")),
        "recipe": store.recipe.to_json(),
    }


def mean_scores(rows: Rows) -> dict[str, dict[str, dict[str, float | int]]]:
    """dimension → tier → mean score and number of rows where it counts; NaN without a row."""
    means: dict[str, dict[str, dict[str, float | int]]] = {}
    for k, dimension in enumerate(DIMENSIONS):
        means[dimension] = {}
        for number, tier in enumerate(TIERS):
            kept = rows.score[(rows.tier == number) & rows.valid[:, k], k]
            means[dimension][tier] = {"mean": float(kept.mean()) if kept.size else math.nan, "rows": kept.size}
    return means
