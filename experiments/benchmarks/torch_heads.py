"""The four heads as a team would write them in PyTorch: nn.Modules, a DataLoader with workers, one head after another.

Same inputs, widths, batches, loss and optimiser as ours; the alternative that `bench_heads` measures against.
"""

from __future__ import annotations

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

import store
from experiments.features import Features, FoldData, View

Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


class Rows(Dataset[Tensors]):
    """One `.pt` file a row."""

    def __init__(self, folder: Path, rows: np.ndarray) -> None:
        self.folder, self.rows = folder, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> Tensors:
        found = torch.load(self.folder / f"{self.rows[i]:06d}.pt", weights_only=True)
        return found["audio"].float(), found["midi"].float(), found["mask"], found["score"]


class FromStore(IterableDataset[Tensors]):
    """Batches from the store, each worker its own share of the epoch."""

    def __init__(self, path: Path, split: str, view: View, batch_rows: int, train: bool) -> None:
        self.path, self.split, self.view, self.batch_rows, self.train = path, split, view, batch_rows, train
        self.epoch = 0

    def __iter__(self) -> Iterator[Tensors]:
        opened = store.open(self.path)
        features = Features(opened, self.view, opened.rows(split=self.split), memory_gib=0.0)
        info = torch.utils.data.get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        n = len(features.rows)
        share = np.arange(n * worker // workers, n * (worker + 1) // workers)
        data = FoldData(features, share, share, self.batch_rows, len(share))
        self.epoch += 1
        for batch in data.train(self.epoch) if self.train else data.validation():
            arrays = (batch.audio_BxTxC, batch.midi_BxTxC, batch.midi_mask_BxT, batch.score_BxK)
            audio, midi, mask, score = (torch.from_numpy(np.ascontiguousarray(a)) for a in arrays)
            yield audio.float(), midi.float(), mask, score


class Pool(nn.Module):
    """Multi-head attention pooling."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.query, self.heads = nn.Linear(hidden, heads, bias=False), heads

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(B, T, H) to (B, H)."""
        weight = self.query(x).masked_fill(~mask[:, :, None], -1e9).softmax(1)
        b, t, h = x.shape
        return torch.einsum("bth,bthd->bhd", weight, x.view(b, t, self.heads, h // self.heads)).reshape(b, h)


class Judge(nn.Module):
    """A linear path beside one hidden layer."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.hidden, self.score = nn.Linear(width, hidden), nn.Linear(width + hidden, 8)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, F) to (B, 8)."""
        x = self.dropout(x)
        return self.score(torch.cat([x, F.gelu(self.hidden(x), approximate="tanh")], -1))


class Head(nn.Module):
    """audio, midi, concat or cross."""

    def __init__(self, kind: str, audio: int, midi: int, hidden: int = 64, heads: int = 4) -> None:
        super().__init__()
        self.kind = kind
        self.audio, self.midi = nn.Linear(audio, hidden), nn.Linear(midi, hidden)
        self.pool_audio, self.pool_midi = Pool(hidden, heads), Pool(hidden, heads)
        self.judge = Judge(hidden if kind in ("audio", "midi") else 2 * hidden, hidden)
        if kind == "cross":
            self.to_midi = nn.MultiheadAttention(hidden, heads, batch_first=True, bias=False)
            self.to_audio = nn.MultiheadAttention(hidden, heads, batch_first=True, bias=False)

    def forward(self, audio: torch.Tensor, midi: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Standardised scores."""
        full = torch.ones(audio.shape[:2], dtype=torch.bool)
        if self.kind == "audio":
            return self.judge(self.pool_audio(F.gelu(self.audio(audio), approximate="tanh"), full))
        m = F.gelu(self.midi(midi), approximate="tanh")
        if self.kind == "midi":
            return self.judge(self.pool_midi(m, mask))
        a = F.gelu(self.audio(audio), approximate="tanh")
        if self.kind == "cross":
            a, m = (
                a + self.to_midi(a, m, m, key_padding_mask=~mask, need_weights=False)[0],
                m + self.to_audio(m, a, a, need_weights=False)[0],
            )
        return self.judge(torch.cat([self.pool_audio(a, full), self.pool_midi(m, mask)], -1))


def loss_of(prediction: torch.Tensor, score: torch.Tensor) -> torch.Tensor:
    """Huber and half of 1 − CCC, as ours without the ranking term."""
    huber = F.huber_loss(prediction, score)
    p, s = prediction - prediction.mean(0), score - score.mean(0)
    spread = p.square().mean(0) + s.square().mean(0) + (prediction.mean(0) - score.mean(0)).square()
    return huber + 0.5 * (1 - 2 * (p * s).mean(0) / (spread + 1e-6)).mean()


@dataclass(frozen=True)
class TorchRun:
    """seconds: of training alone, per head. r: mean over dimensions on the test split, per head."""

    seconds: dict[str, float]
    r: dict[str, float]
    rows_per_s: float


def train_heads(
    path: Path,
    pt: Path | None,
    view: View,
    kinds: tuple[str, ...],
    epochs: int,
    batch_rows: int,
    workers: int,
    learning_rate: float,
) -> TorchRun:
    """One head after another, each reading its epochs anew; pt: the folder of `.pt` files, None: from the store."""
    opened = store.open(path)
    ranges = opened.splits
    score = opened.rows(split="train").score
    mean, sd = (torch.from_numpy(np.asarray(f(score, axis=0), np.float32)) for f in (np.mean, np.std))
    first = next(iter(FromStore(path, "train", view, 2048, True)))
    stats = [(x.mean((0, 1)), x.std((0, 1))) for x in (first[0], first[1])]
    seconds, r = {}, {}
    n_train = ranges["train"][1] - ranges["train"][0]
    loaders = {split: _loader(path, pt, split, view, batch_rows, workers, ranges[split]) for split in ranges}
    for kind in kinds:
        torch.manual_seed(0)
        model = Head(kind, first[0].shape[-1], first[1].shape[-1])
        optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=1e-2)
        total = epochs * -(-n_train // batch_rows)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, learning_rate, total_steps=total + workers * epochs, pct_start=0.05
        )

        def ready(batch: Any) -> Tensors:
            audio, midi, mask, target = batch
            midi = torch.where(mask[:, :, None], (midi - stats[1][0]) / stats[1][1], 0.0)
            return (audio - stats[0][0]) / stats[0][1], midi, mask, (target - mean) / sd

        begun = time.perf_counter()
        for _ in range(epochs):
            model.train()
            for batch in loaders["train"]:
                audio, midi, mask, target = ready(batch)
                optimiser.zero_grad()
                loss_of(model(audio, midi, mask), target).backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimiser.step()
                schedule.step()
            _predict(model, ready, loaders["validation"])
        seconds[kind] = time.perf_counter() - begun
        p, s = _predict(model, ready, loaders["test"])
        r[kind] = float(np.mean([np.corrcoef(p[:, k], s[:, k])[0, 1] for k in range(8)]))
    return TorchRun(seconds, r, epochs * n_train * len(kinds) / sum(seconds.values()))


def _loader(
    path: Path, pt: Path | None, split: str, view: View, batch_rows: int, workers: int, of: tuple[int, int]
) -> DataLoader:
    # spawned, not forked: Zarr's and JAX's threads do not survive a fork; workers stay for all epochs
    how: dict[str, Any] = {"num_workers": workers, "persistent_workers": workers > 0}
    how["multiprocessing_context"] = "spawn" if workers else None
    if pt is None:
        return DataLoader(FromStore(path, split, view, batch_rows, split == "train"), None, **how)
    return DataLoader(Rows(pt, np.arange(*of)), batch_rows, shuffle=split == "train", **how)


def _predict(model: nn.Module, ready: Any, loader: DataLoader) -> tuple[np.ndarray, np.ndarray]:
    model.eval()
    prediction, target = [], []
    with torch.no_grad():
        for batch in loader:
            audio, midi, mask, score = ready(batch)
            prediction.append(model(audio, midi, mask).numpy())
            target.append(score.numpy())
    return np.concatenate(prediction), np.concatenate(target)


def write_pt(path: Path, folder: Path, view: View) -> None:
    """Each row of the store as one `.pt` file, float16, as the team kept them before."""
    opened = store.open(path)
    folder.mkdir(parents=True, exist_ok=True)
    features = Features(opened, view, opened.rows(), memory_gib=0.0)
    for batch in features.batches(np.arange(opened.n_rows), 1024):
        for i, row in enumerate(batch.row_B):
            arrays = {
                "audio": batch.audio_BxTxC,
                "midi": batch.midi_BxTxC,
                "mask": batch.midi_mask_BxT,
                "score": batch.score_BxK,
            }
            torch.save({k: torch.from_numpy(np.array(a[i])) for k, a in arrays.items()}, folder / f"{row:06d}.pt")
