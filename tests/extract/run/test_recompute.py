from __future__ import annotations

from pathlib import Path

import numpy as np

from keybed import store as stores
from keybed.extract.config import ExtractConfig
from keybed.extract.run.recompute import recomputer
from keybed.extract.run.task import extract
from keybed.store.check.recompute_difference import measure_recompute_difference


def test_rows_made_again_are_what_is_stored(planned_store: Path, tmp_path: Path) -> None:
    import shutil

    path = Path(shutil.copytree(planned_store, tmp_path / "store"))
    extract(ExtractConfig(path, shards=(1, 3), workers=0))
    store = stores.open(path)
    again = recomputer(store)
    made = again(1, [9, 12, 13])
    for spec in store.specs:
        if spec.writer == "task":
            stored = store.read(spec.path, np.array([9, 12, 13]))
            np.testing.assert_array_equal(made[spec.path].astype(spec.dtype), stored)
    drift = measure_recompute_difference(store, [1, 3], 6, again, seed=0, this_machine=again.machine)
    assert drift.acceptable
    assert drift.labels == {}
    assert all(largest == 0 for _, largest in drift.features.values())
    assert drift.machine_differences == (), "it is the same machine"
    assert {"placeholder-audio runs", "placeholder-midi runs"} <= again.machine.keys()
