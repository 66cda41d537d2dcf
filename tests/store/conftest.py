"""Small stores with synthetic features, whole or in part."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from keybed import store
from keybed.store.format.array_specs import array_specs
from keybed.store.format.recipe import EncoderSpec, Recipe
from keybed.store.format.vocabulary import LEVELS, Status
from keybed.store.write.claims import claim
from keybed.store.write.commit import commit_shard


def encoder(name: str, modality: str, width: int, n_states: int = 2, mask: bool = False) -> EncoderSpec:
    return EncoderSpec(
        name=name,
        modality=modality,  # type: ignore[arg-type]
        source="none",
        revision="1",
        weights_sha256="0" * 64,
        code_version=1,
        preprocessing={"kinds": ["made", "up"]},
        n_states=n_states,
        width=width,
        n_bins=4,
        frame_states=tuple(range(n_states)),
        frame_stats=("mean", "sd") if modality == "audio" else ("mean",),
        has_mask=mask,
    )


@dataclass(frozen=True)
class Synthetic:
    """All content of a store of `n_rows`; the same at every call."""

    n_rows: int = 150
    shard_rows: int = 32
    seed: int = 0
    failed: tuple[int, ...] = (5, 70)
    encoders: tuple[EncoderSpec, ...] = field(
        default_factory=lambda: (encoder("a", "audio", 8), encoder("m", "midi", 6, mask=True))
    )

    @property
    def recipe(self) -> Recipe:
        return Recipe(
            corpus={"sha256": "c" * 64, "n_recordings": 3},
            segments={"window_s": 10.0, "hop_s": 6.2},
            degradation={"profile": "mixed", "seed": self.seed},
            audio={"source": "rendered", "sample_rate_hz": 24_000},
            encoders=self.encoders,
            n_rows=self.n_rows,
            shard_rows=self.shard_rows,
        )

    @property
    def split_ranges(self) -> dict[str, tuple[int, int]]:
        a, b = self.n_rows * 2 // 3, self.n_rows * 5 // 6
        return {"train": (0, a), "validation": (a, b), "test": (b, self.n_rows)}

    @property
    def recordings(self) -> list[dict[str, object]]:
        return [{"id": i, "piece": i, "title": f"Étude {i}"} for i in range(3)]

    @property
    def planned(self) -> dict[str, np.ndarray]:
        row = np.arange(self.n_rows)
        split = np.zeros(self.n_rows, np.uint8)
        for number, (start, stop) in enumerate(self.split_ranges.values()):
            split[start:stop] = number
        return {
            "recording": row % 3,
            "segment": row // 4,
            "piece": row % 3,
            "split": split,
            "tier": row % 4,
            "start_s": (row // 4) * 6.2,
            "level_drawn": np.random.default_rng(1).random((self.n_rows, len(LEVELS))),
        }

    def arrays(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """Task-written arrays of rows [start, stop); the values of a row depend only on its number."""
        arrays: dict[str, np.ndarray] = {}
        for number, spec in enumerate(array_specs(self.recipe)):
            if spec.writer != "task":
                continue
            values = np.stack([self._row(number, row, spec.shape[1:]) for row in range(start, stop)])
            if spec.dtype == "bool":
                arrays[spec.path] = values > -1.5
            elif spec.dtype.startswith("float"):
                arrays[spec.path] = values.astype(np.float32)
            else:
                arrays[spec.path] = np.full((stop - start, *spec.shape[1:]), 30, spec.dtype)
        failed = np.isin(np.arange(start, stop), self.failed)
        arrays["row/status"] = np.where(failed, Status.SILENT_AUDIO, Status.OK).astype(np.uint8)
        mask_path = "midi/m/mask"
        if mask_path in arrays:
            arrays["midi/m/frames"][~arrays[mask_path]] = 0
        for path, values in arrays.items():
            if path.split("/")[0] in ("audio", "midi"):
                values[failed] = False if values.dtype == bool else np.nan
        arrays["row/valid"][failed] = False
        return arrays

    def _row(self, number: int, row: int, shape: tuple[int, ...]) -> np.ndarray:
        return np.random.default_rng([self.seed, number, row]).normal(size=shape)

    def failures(self, start: int, stop: int) -> dict[int, str]:
        return {row: "peak below −60 dBFS" for row in self.failed if start <= row < stop}

    def create(self, path: Path) -> store.Store:
        store.create(path, self.recipe, self.planned, self.split_ranges, self.recordings, {"maestro": "/somewhere"})
        return store.open(path)

    def fill(self, opened: store.Store, shards: Iterable[int] | None = None) -> store.Store:
        for shard in range(opened.n_shards) if shards is None else shards:
            with claim(opened, shard) as held:
                self.commit(opened, shard, held)
        return opened

    def commit(
        self,
        opened: store.Store,
        shard: int,
        held: object,
        layer: str | None = None,
        arrays: dict[str, np.ndarray] | None = None,
    ) -> None:
        start, stop = opened.shard_range(shard)
        made = self.arrays(start, stop) if layer is None else self.layer_arrays(opened, layer, shard)
        commit_shard(
            opened,
            shard,
            made if arrays is None else arrays,
            claim=held,  # type: ignore[arg-type]
            failures=self.failures(start, stop),
            facts={"notes": {"00000": "d" * 64}},
            log={"machine": "test"},
            layer=layer,
        )

    def layer_arrays(self, opened: store.Store, layer: str, shard: int) -> dict[str, np.ndarray]:
        """The arrays of one encoder that was added to a store with the first encoders of this one."""
        arrays = self.arrays(*opened.shard_range(shard))
        return {spec.path: arrays[spec.path] for spec in opened.shards_of_layer(layer).specs}

    def fill_layer(self, opened: store.Store, layer: str, shards: Iterable[int] | None = None) -> store.Store:
        for shard in range(opened.n_shards) if shards is None else shards:
            with claim(opened, shard, layer) as held:
                self.commit(opened, shard, held, layer)
        return opened


@pytest.fixture
def synthetic() -> Synthetic:
    return Synthetic()


@pytest.fixture(scope="session")
def whole_store(tmp_path_factory: pytest.TempPathFactory) -> store.Store:
    """One finished store for tests that only read."""
    synthetic = Synthetic()
    return synthetic.fill(synthetic.create(tmp_path_factory.mktemp("whole") / "STORE"))


@pytest.fixture
def filled(tmp_path: Path, whole_store: store.Store) -> store.Store:
    """A finished store that the test may damage."""
    shutil.copytree(whole_store.path, tmp_path / "STORE")
    return store.open(tmp_path / "STORE")


@pytest.fixture
def snapshot() -> Callable[[Path], dict[str, bytes]]:
    """Name → bytes of every file but `logs/`, `claims/` and `places.json`: equal in two equal stores."""

    def take(root: Path) -> dict[str, bytes]:
        files = (file for file in sorted(root.rglob("*")) if file.is_file())
        names = {file.relative_to(root).as_posix(): file for file in files}
        return {
            name: file.read_bytes()
            for name, file in names.items()
            if name.split("/")[0] not in ("logs", "claims", "places.json")
        }

    return take
