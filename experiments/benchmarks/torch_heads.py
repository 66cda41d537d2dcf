"""The four heads in plain PyTorch: nn.Modules, a DataLoader with workers, one head after another.

`bench_heads` compares Keybed with this: same inputs, widths, batches, loss, optimiser and learning rates, on a GPU where there
is one. Each head reads only the modalities it uses, in float16 up to the device, and a worker imports only the store's reader.
Differences: nn.MultiheadAttention has an output projection and no offset bias; the last epoch is kept, not the best; means and
standard deviations come from 2,048 rows before the timing starts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, IterableDataset

from keybed import store

Sample = dict[str, torch.Tensor]
"""audio, midi: float16 (…, T, C), those that the head uses; mask: MIDI's valid bins; score: (…, 8)."""

BOTH = ("audio", "midi")
READ_ROWS = 1024


@dataclass(frozen=True)
class Source:
    """Training data: array paths of each modality's frames and of MIDI's mask. pt: folder of `.pt` files; None: read the store."""

    path: Path
    frames: tuple[tuple[str, str], ...]
    mask: str
    pt: Path | None = None

    def paths(self, modalities: tuple[str, ...]) -> dict[str, str]:
        """{key of a sample: array path}."""
        selected = {name: path for name, path in self.frames if name in modalities}
        return selected | ({"mask": self.mask} if "midi" in modalities else {})


class Files(Dataset[Sample]):
    """One `.pt` file per row."""

    def __init__(self, source: Source, modalities: tuple[str, ...], rows: np.ndarray) -> None:
        self.folder, self.rows, self.keys = source.pt, rows, (*source.paths(modalities), "score")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> Sample:
        assert self.folder is not None
        sample = torch.load(self.folder / f"{self.rows[i]:06d}.pt", weights_only=True)
        return {key: sample[key] for key in self.keys}


class FromStore(IterableDataset[Sample]):
    """Batches from the store; each worker reads its own share of the epoch."""

    def __init__(self, source: Source, modalities: tuple[str, ...], split: str, batch_rows: int) -> None:
        self.source, self.paths, self.split, self.batch_rows = source, source.paths(modalities), split, batch_rows
        self.epoch = 0
        self.opened: store.Store | None = None

    def __iter__(self) -> Iterator[Sample]:
        self.opened = self.opened or store.open(self.source.path)
        info = torch.utils.data.get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        rows = self.opened.rows(split=self.split)
        share = np.arange(len(rows) * worker // workers, len(rows) * (worker + 1) // workers)
        self.epoch += 1
        seed = self.epoch if self.split == "train" else None
        for batch in self.opened.batches(list(self.paths.values()), rows.take(share), self.batch_rows, seed=seed):
            arrays = {key: batch.features[path] for key, path in self.paths.items()}
            yield {k: torch.from_numpy(_flat(a)) for k, a in (arrays | {"score": batch.rows.score}).items()}


def _flat(array: np.ndarray) -> np.ndarray:
    """(row, bin, stat, channel) as (row, bin, stat · channel)."""
    return array.reshape(*array.shape[:2], -1) if array.ndim == 4 else array


class Pool(nn.Module):
    """Multi-head attention pooling: mean and standard deviation."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.query, self.heads = nn.Linear(hidden, heads, bias=False), heads

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """(B, T, H) to (B, 2 H)."""
        logits = self.query(x)
        weight = (logits if mask is None else logits.masked_fill(~mask[:, :, None], -1e9)).softmax(1)
        b, t, h = x.shape
        value = x.view(b, t, self.heads, h // self.heads)
        mean = torch.einsum("bth,bthd->bhd", weight, value)
        variance = torch.einsum("bth,bthd->bhd", weight, (value - mean[:, None]).square())
        return torch.cat([mean.reshape(b, h), (variance + 1e-4).sqrt().reshape(b, h)], dim=1)


class ScoreMLP(nn.Module):
    """A linear path in parallel with one hidden layer."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.hidden, self.score = nn.Linear(width, hidden), nn.Linear(width + hidden, 8)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, F) to (B, 8)."""
        x = self.dropout(x)
        return self.score(torch.cat([x, F.gelu(self.hidden(x), approximate="tanh")], -1))


class Head(nn.Module):
    """audio, midi, concat or cross. widths: channels of each modality that it uses."""

    def __init__(self, kind: str, widths: dict[str, int], hidden: int = 128, heads: int = 4) -> None:
        super().__init__()
        self.kind = kind
        self.project = nn.ModuleDict({m: nn.Linear(width, hidden) for m, width in widths.items()})
        self.pool = nn.ModuleDict({m: Pool(hidden, heads) for m in widths})
        self.score_mlp = ScoreMLP(2 * hidden * len(widths), hidden)
        if kind == "cross":
            self.to_midi = nn.MultiheadAttention(hidden, heads, batch_first=True, bias=False)
            self.to_audio = nn.MultiheadAttention(hidden, heads, batch_first=True, bias=False)

    def forward(self, batch: Sample) -> torch.Tensor:
        """Standardised scores."""
        masks = {"audio": None, "midi": batch.get("mask")}
        x = {m: F.gelu(project(batch[m]), approximate="tanh") for m, project in self.project.items()}
        if self.kind == "cross":
            a, m, mask = x["audio"], x["midi"], batch["mask"]
            x = {
                "audio": a + self.to_midi(a, m, m, key_padding_mask=~mask, need_weights=False)[0],
                "midi": m + self.to_audio(m, a, a, need_weights=False)[0],
            }
        return self.score_mlp(torch.cat([self.pool[m](tokens, masks[m]) for m, tokens in x.items()], -1))


def loss_of(prediction: torch.Tensor, score: torch.Tensor) -> torch.Tensor:
    """Huber and half of 1 − CCC, as ours without the ranking term."""
    huber = F.huber_loss(prediction, score)
    p, s = prediction - prediction.mean(0), score - score.mean(0)
    spread = p.square().mean(0) + s.square().mean(0) + (prediction.mean(0) - score.mean(0)).square()
    return huber + 0.5 * (1 - 2 * (p * s).mean(0) / (spread + 1e-6)).mean()


class Standard:
    """Samples on the device, in deviations of the training rows (of the first 2,048), 0 where there is no note."""

    def __init__(self, source: Source, device: torch.device) -> None:
        first = next(iter(FromStore(source, BOTH, "train", 2048)))
        score = store.open(source.path).rows(split="train").score
        self.device, self.widths = device, {m: first[m].shape[-1] for m in BOTH}
        self.stats = {m: (x.mean((0, 1)), x.std((0, 1))) for m in BOTH if (x := first[m].float()) is not None}
        self.stats["score"] = (torch.from_numpy(score.mean(0)), torch.from_numpy(score.std(0)))
        self.stats = {k: (mean.to(device), sd.to(device)) for k, (mean, sd) in self.stats.items()}

    def __call__(self, sample: Sample) -> Sample:
        """The sample on the device as float32, standardised, with masked bins at 0."""
        ready = {key: value.to(self.device, non_blocking=True) for key, value in sample.items()}
        for key, (mean, sd) in self.stats.items():
            if key in ready:
                ready[key] = (ready[key].float() - mean) / sd
        if "midi" in ready:
            ready["midi"] = torch.where(ready["mask"][:, :, None], ready["midi"], 0.0)
        return ready


@dataclass(frozen=True)
class TorchConfig:
    """How to train. workers: of the DataLoader."""

    epochs: int
    batch_rows: int
    learning_rate: float
    workers: int


@dataclass(frozen=True)
class TorchRun:
    """seconds: training time per head. r: mean over dimensions on the test split, per head. workers: of the DataLoader."""

    seconds: dict[str, float]
    r: dict[str, float]
    rows_per_s: float
    workers: int


def train_heads(source: Source, kinds: tuple[str, ...], config: TorchConfig) -> TorchRun:
    """Train one head after another; each reads its own epochs."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    ready, ranges = Standard(source, device), store.open(source.path).splits
    n_train = ranges["train"][1] - ranges["train"][0]
    seconds, r = {}, {}
    for kind in kinds:
        torch.manual_seed(0)
        modalities = (kind,) if kind in BOTH else BOTH
        model = Head(kind, {m: ready.widths[m] for m in modalities}).to(device)
        loaders = {split: _loader(source, modalities, split, config, ranges[split]) for split in ranges}
        start = time.perf_counter()
        _train(model, ready, loaders, config, n_train)
        seconds[kind] = time.perf_counter() - start
        p, s = _predict(model, ready, loaders["test"])
        r[kind] = float(np.mean([np.corrcoef(p[:, k], s[:, k])[0, 1] for k in range(8)]))
    return TorchRun(seconds, r, config.epochs * n_train * len(kinds) / sum(seconds.values()), config.workers)


def _train(model: Head, ready: Standard, loaders: dict[str, DataLoader], config: TorchConfig, n_train: int) -> None:
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=1e-2)
    # from the store, the last batch of each worker may be smaller
    n_steps = config.epochs * (-(-n_train // config.batch_rows) + config.workers)
    warmup = 0.05 * n_steps

    def rate(step: int) -> float:
        return min((step + 1) / warmup, 0.5 + 0.5 * math.cos(math.pi * max(step - warmup, 0) / (n_steps - warmup)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rate)
    for _ in range(config.epochs):
        model.train()
        for sample in loaders["train"]:
            batch = ready(sample)
            optimiser.zero_grad()
            loss_of(model(batch), batch["score"]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
        _predict(model, ready, loaders["validation"])


def _loader(
    source: Source, modalities: tuple[str, ...], split: str, config: TorchConfig, of: tuple[int, int]
) -> DataLoader:
    # spawn, because Zarr's threads do not survive a fork; workers stay for all epochs
    settings: dict[str, Any] = {"num_workers": config.workers, "persistent_workers": config.workers > 0}
    settings |= {
        "multiprocessing_context": "spawn" if config.workers else None,
        "pin_memory": torch.cuda.is_available(),
    }
    if source.pt is None:
        return DataLoader(FromStore(source, modalities, split, config.batch_rows), None, **settings)
    rows = Files(source, modalities, np.arange(*of))
    return DataLoader(rows, config.batch_rows, shuffle=split == "train", **settings)


def _predict(model: nn.Module, ready: Standard, loader: DataLoader) -> tuple[np.ndarray, np.ndarray]:
    model.eval()
    prediction, target = [], []
    with torch.no_grad():
        for sample in loader:
            batch = ready(sample)
            prediction.append(model(batch).cpu().numpy())
            target.append(batch["score"].cpu().numpy())
    return np.concatenate(prediction), np.concatenate(target)


def write_pt(source: Source) -> None:
    """Write each row of the store as one `.pt` file, float16."""
    assert source.pt is not None
    opened = store.open(source.path)
    source.pt.mkdir(parents=True, exist_ok=True)
    paths = source.paths(BOTH)
    for batch in opened.batches(list(paths.values()), opened.rows(), READ_ROWS, seed=None):
        arrays = {key: _flat(batch.features[path]) for key, path in paths.items()} | {"score": batch.rows.score}
        for i, row in enumerate(batch.rows.index):
            torch.save({k: torch.from_numpy(np.array(a[i])) for k, a in arrays.items()}, source.pt / f"{row:06d}.pt")
