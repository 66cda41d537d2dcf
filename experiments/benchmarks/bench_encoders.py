"""Speed, memory and error of the encoders, against a plain implementation with transformers.

The plain side is transformers' AutoModel in float32, clip by clip, with all hidden states, and a MIDIBert with the relative
attention of transformers 4, padded to 512. Both sides run on the same rows and weights, each in its own process, by
turns, so that a busy machine slows both. Before that, MERT, Transkun, MuQ and Aria are timed by turns (`network_rates`; with
--quick the first two), on a GPU where there is one.

    python -m keybed.experiments.benchmarks.bench_encoders               about 6 minutes on 2 cores with avx512_bf16
    python -m keybed.experiments.benchmarks.bench_encoders --quick       2 minutes, fewer rows, turns and networks
    python -m keybed.experiments.benchmarks.bench_encoders --memory      RSS every 200 of 2,000 rows (half an hour; --quick: tiny models)
    python -m keybed.experiments.benchmarks.bench_encoders --gpu         share of the card's own bf16 matrix rate, as written and compiled (`encoders_on_gpu`)

Expected on 2 cores with avx512_bf16: MERT ≥ 1.7×, MIDIBert ≥ 4×, both ≥ 2.0×, no more memory, error below 1 %.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from keybed.experiments.benchmarks import encoders_on_gpu, network_rates
from keybed.experiments.goal import goal_line
from keybed.extract.audio.waveform import SAMPLE_RATE_HZ
from keybed.extract.encoders import build, describe
from keybed.extract.encoders.base import Clip, Encoder
from keybed.extract.encoders.midibert import cp_tokens
from keybed.extract.music.performance import Performance

WINDOW_S, N_BINS = 10.0, 20
MIDI_ROWS_PER_AUDIO_ROW = 3
"""MIDIBert is timed on more rows, because its length buckets need them; the smallest shard has 32 rows."""
NOTES_MEDIAN, NOTES_LOG_SD = 90, 0.5
"""MAESTRO v3 has 7.04 million notes in 198.65 h: 98 in a mean window of 10 s."""


def make_clips(n: int, seed: int = 0) -> list[Clip]:
    """Windows with as many notes as MAESTRO's, each note a decaying tone."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(WINDOW_S * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    clips = []
    for _ in range(n):
        n_notes = int(np.clip(rng.lognormal(np.log(NOTES_MEDIAN), NOTES_LOG_SD), 4, 500))
        onset_s = np.sort(rng.uniform(0, WINDOW_S - 0.01, n_notes))
        pitch = rng.integers(30, 100, n_notes).astype(np.int16)
        audio = 0.001 * rng.standard_normal(time_s.size)
        for on, key in zip(onset_s, pitch, strict=True):
            start, stop = int(on * SAMPLE_RATE_HZ), int((on + 1) * SAMPLE_RATE_HZ)
            after = time_s[: time_s[start:stop].size]
            audio[start:stop] += 0.1 * np.exp(-4 * after) * np.sin(2 * np.pi * 440 * 2 ** ((key - 69) / 12) * after)
        velocity = rng.integers(30, 110, n_notes).astype(np.int16)
        performance = Performance(onset_s, onset_s + rng.uniform(0.1, 1, n_notes), pitch, velocity)
        clips.append(Clip(audio.astype(np.float32), performance, WINDOW_S))
    return clips


def our_encoder(name: str, weights: str, compute_dtype: str, threads: int) -> Encoder:
    """One of our encoders with its weights loaded."""
    spec, checkpoint = describe(
        name, weights=weights, n_bins=N_BINS, window_s=WINDOW_S, threads=threads, compute_dtype=compute_dtype
    )
    return build(spec, checkpoint)


def our_side(weights: dict[str, str], compute_dtype: str, threads: int) -> dict[str, Callable[[list[Clip]], Any]]:
    """Encoder name → function from clips to pooled features."""
    encoders = {name: our_encoder(name, where, compute_dtype, threads) for name, where in weights.items()}
    return {name: encoder.encode for name, encoder in encoders.items()}


def their_side(weights: dict[str, str], compute_dtype: str, threads: int) -> dict[str, Callable[[list[Clip]], Any]]:
    """The plain implementation from transformers' documentation: layers alone, always float32."""
    import torch
    from transformers import AutoModel, Wav2Vec2FeatureExtractor

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(weights["mert"])
    mert = AutoModel.from_pretrained(weights["mert"]).eval()
    midibert = _plain_midibert(weights["midibert"])

    def layers_of(states: Any) -> np.ndarray:
        stacked = torch.stack(list(states))
        return torch.stack([stacked.mean(1), stacked.std(1, correction=0)]).numpy()

    def encode_audio(clips: list[Clip]) -> np.ndarray:
        rows = []
        for clip in clips:
            inputs = extractor(clip.audio, sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt")
            rows.append(layers_of(s[0] for s in mert(inputs["input_values"], output_hidden_states=True).hidden_states))
        return np.stack(rows)

    def encode_notes(clips: list[Clip]) -> np.ndarray:
        rows = []
        for clip in clips:
            ids = cp_tokens.tokenize(clip.performance, clip.window_s).ids[:512]
            padded = np.tile(np.array(cp_tokens.PAD), (1, 512, 1))
            padded[0, : len(ids)] = ids
            mask = (torch.arange(512) < len(ids))[None]
            rows.append(layers_of(s[0, : len(ids)] for s in midibert(torch.from_numpy(padded), mask)))
        return np.stack(rows)

    return {"mert": encode_audio, "midibert": encode_notes}


def _plain_midibert(weights: str) -> Any:
    """The same weights under transformers 4's BertSelfAttention for relative_key_query: a (512, 512, 64) table per layer."""
    import torch
    import torch.nn.functional as F

    from keybed.extract.encoders.midibert import model as midibert_model

    spec, _ = describe("midibert", weights=weights, n_bins=N_BINS, window_s=WINDOW_S)
    model = midibert_model.load_midibert(spec, None)

    def attend(self: Any, state: Any, padding: Any) -> Any:
        own, out = self.attention["self"], self.attention["output"]
        n, length, _ = state.shape
        q, k, v = (own[x](state).view(n, length, self.n_heads, -1).transpose(1, 2) for x in ("query", "key", "value"))
        position = torch.arange(length)
        table = own["distance_embedding"](position[:, None] - position[None, :] + self.max_length - 1)
        scores = q @ k.transpose(-1, -2)
        scores = scores + torch.einsum("bhld,lrd->bhlr", q, table) + torch.einsum("bhrd,lrd->bhlr", k, table)
        mixed = (scores / q.shape[-1] ** 0.5 + padding).softmax(-1) @ v
        state = out["LayerNorm"](out["dense"](mixed.transpose(1, 2).flatten(2)) + state)
        return self.output["LayerNorm"](self.output["dense"](F.gelu(self.intermediate["dense"](state))) + state)

    for layer in model.bert["encoder"]["layer"]:
        layer.forward = attend.__get__(layer)
    return model.eval()


def _serve(side: str, weights: dict[str, str], dtype: str, threads: int, n_rows: int, pipe: Connection) -> None:
    """A child process: load one side, then time every block that the pipe names; None ends it."""
    run = (their_side if side == "theirs" else our_side)(weights, dtype, threads)
    clips = make_clips(n_rows * MIDI_ROWS_PER_AUDIO_ROW)
    pipe.send("ready")
    while (order := pipe.recv()) is not None:
        name, n_rows = order
        began, began_cpu = time.perf_counter(), time.process_time()
        features = run[name](clips[:n_rows])
        pipe.send((time.perf_counter() - began, time.process_time() - began_cpu, features))
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def compare(n_rows: int, turns: int, threads: int, dtype: str, folder: Path) -> None:
    """Run both sides by turns on the same rows; print rates, ratios, peak memory and the error against float32.

    On CPUs only: a GPU would serve one side alone.
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    weights = {"mert": str(save_mert(folder)), "midibert": "random"}
    context = multiprocessing.get_context("spawn")
    pipes, children = {}, []
    # Ours in float32 is not timed: it shows the error of bfloat16 in the bins, which the plain side does not compute.
    for side in ("theirs", "ours", "exact"):
        pipes[side], far = context.Pipe()
        precision = "float32" if side == "exact" else dtype
        child = context.Process(target=_serve, args=(side, weights, precision, threads, n_rows, far), daemon=True)
        child.start()
        far.close()  # else recv() would wait for a child that has died
        children.append(child)
        assert pipes[side].recv() == "ready"
    exact = pipes.pop("exact")

    seconds: dict[tuple[str, str], list[float]] = {}
    cpu_seconds: dict[tuple[str, str], list[float]] = {}
    for turn in range(turns + 1):
        features: dict[str, Any] = {}
        for name, n in (("mert", n_rows), ("midibert", n_rows * MIDI_ROWS_PER_AUDIO_ROW)):
            for side, pipe in pipes.items():
                pipe.send((name, n))
                took, took_cpu, features[side] = pipe.recv()
                # The first turn warms up.
                if turn > 0:
                    seconds.setdefault((name, side), []).append(took / n)
                    cpu_seconds.setdefault((name, side), []).append(took_cpu / n)
            if turn == 0:
                exact.send((name, n))
                *_, pooled = exact.recv()
                apart = np.abs(pooled.layers - features["theirs"]).max() / np.abs(features["theirs"]).max()
                print(f"{name}: ours in float32 differs by {apart:.1e} from the plain side (largest, relative)")
                for line in encoders_on_gpu.bfloat16_error(name, pooled, features["ours"]):
                    print(line, flush=True)
    for (name, side), took in seconds.items():
        cpu = statistics.median(cpu_seconds[name, side])
        print(
            f"{name:9s} {side:7s} {1 / statistics.median(took):7.2f} rows/s, {cpu:6.3f} CPU-s per row (medians of {turns})"
        )
    ratios = {
        name: [a / b for a, b in zip(seconds[name, "theirs"], seconds[name, "ours"], strict=True)]
        for name in ("mert", "midibert")
    }
    total = {
        side: [a + b for a, b in zip(seconds["mert", side], seconds["midibert", side], strict=True)] for side in pipes
    }
    ratios["both"] = [a / b for a, b in zip(total["theirs"], total["ours"], strict=True)]
    for name, target in (("mert", 1.7), ("midibert", 4.0), ("both", 2.0)):
        ratio = statistics.median(ratios[name])
        print(goal_line(f"{name}_times_faster", ratio, target, "at least"), flush=True)

    exact.send(None)
    peak = {}
    for side, pipe in pipes.items():
        pipe.send(None)
        peak[side] = pipe.recv()
        print(f"peak memory of {side}: {peak[side]:.0f} MiB")
    print(goal_line("peak_memory_over_theirs", peak["ours"] / peak["theirs"], 1.0, "at most"), flush=True)
    for child in children:
        child.join()


def save_mert(folder: Path) -> Path:
    """Seeded random weights of MERT-v1-95M's architecture in the hub's format, for both sides to load."""
    from keybed.extract.encoders.mert.model import load_hubert

    spec, _ = describe("mert", weights="random", n_bins=N_BINS, window_s=WINDOW_S)
    load_hubert(spec, None).save_pretrained(folder)
    preprocessor = {"do_normalize": True, "sampling_rate": SAMPLE_RATE_HZ, "feature_size": 1, "padding_value": 0.0}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


def memory(n_rows: int, size: str, threads: int, dtype: str) -> None:
    """RSS after every tenth of the rows, all encoders in one process, in shards of 50."""
    encoders = [our_encoder("mert", f"random:{size}", dtype, threads)]
    encoders.append(our_encoder("midibert", "random:tiny" if size == "tiny" else "random", dtype, threads))
    encoders += [build(*describe(name, n_bins=N_BINS, window_s=WINDOW_S)) for name in ("logmel", "expressive")]
    process, measured = psutil.Process(), []
    for shard in range(n_rows // 50):
        clips = make_clips(50, seed=shard)
        for encoder in encoders:
            encoder.encode(clips)
        if (shard + 1) * 50 % max(n_rows // 10, 50) == 0:
            measured.append(process.memory_info().rss / 2**20)
            print(f"{(shard + 1) * 50:5d} rows: RSS {measured[-1]:.0f} MiB", flush=True)
    settled = measured[1:]
    growth = float(np.polyfit(np.arange(len(settled)), settled, 1)[0] * (len(settled) - 1))
    print(goal_line("memory_growth_mib", growth, 32.0, "at most"), flush=True)


def main() -> None:
    """Parse the command line and run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rows and turns, tiny models for --memory")
    parser.add_argument("--memory", action="store_true", help="only the memory of a long run")
    parser.add_argument("--gpu", action="store_true", help="only the GPU's rates")
    parser.add_argument("--rows", type=int, help="rows per turn (default 8; 2,000 for --memory, 1,024 for --gpu)")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="bfloat16", choices=("float32", "bfloat16"))
    arguments = parser.parse_args()
    if arguments.memory:
        memory(arguments.rows or 2000, "tiny" if arguments.quick else "95M", arguments.threads, arguments.dtype)
    elif arguments.gpu:
        n_rows = arguments.rows or 1024
        sizes = encoders_on_gpu.BATCH_SIZES[: 1 if arguments.quick else None]
        encoders_on_gpu.measure(make_clips(min(n_rows, 64)) * -(-n_rows // 64), N_BINS, sizes)
    else:
        turns = 1 if arguments.quick else arguments.turns
        networks = ("mert", "transkun") if arguments.quick else ("mert", "transkun", "muq", "aria")
        # In a process of its own, which ends before the other sides start; it alone may use a GPU.
        process = multiprocessing.get_context("spawn").Process(
            target=network_rates.measure,
            args=(networks, make_clips(16), N_BINS, turns, arguments.threads, arguments.dtype),
        )
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(process.exitcode)
        with tempfile.TemporaryDirectory() as folder:
            compare(
                arguments.rows or (4 if arguments.quick else 8), turns, arguments.threads, arguments.dtype, Path(folder)
            )


if __name__ == "__main__":
    main()
