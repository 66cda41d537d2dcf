"""Make transkun.npz: what the authors' own package computes for one seeded clip. Needs an environment of its own.

    python -m venv GOLDEN
    GOLDEN/bin/pip install torch==2.13.0 numpy scipy pretty_midi mir_eval ncls moduleconf six
    GOLDEN/bin/pip install --no-deps transkun==2.0.1
    GOLDEN/bin/python tests/golden/make_transkun.py tests/golden/transkun.npz

The package imports torchaudio, which does not load beside torch 2.13, for one call: the mel filter bank, which the
checkpoint then overwrites. A stand-in gives zeros in its place. Nothing else of the package is changed.

With a second argument, a .npy of 44.1 kHz mono float32 samples, the same is computed for its first 10 s, with every state
in full, and the whole of it is transcribed.
"""

from __future__ import annotations

import sys
import types
from functools import cache
from pathlib import Path

import numpy as np

RATE_HZ, CONTEXT_S, SILENCE_FRAMES, HOP = 44_100, 16, 128, 1024
CLIP_S, N_NOTES, SEED = 10.0, 70, 20
N_SAMPLED = 400
"""Values kept of each state, at seeded positions."""


@cache
def clip() -> np.ndarray:
    """Ten seconds of struck, decaying harmonic tones and faint noise at 44.1 kHz, float32."""
    rng = np.random.default_rng(SEED)
    time_s = np.arange(round(CLIP_S * RATE_HZ)) / RATE_HZ
    audio = 1e-4 * rng.standard_normal(time_s.size)
    onset_s = np.sort(rng.uniform(0, CLIP_S - 0.3, N_NOTES))
    for start_s, key in zip(onset_s, rng.integers(30, 96, N_NOTES), strict=True):
        loudness, length_s = rng.uniform(0.02, 0.2), rng.uniform(0.15, 1.2)
        first = round(start_s * RATE_HZ)
        since_s = time_s[: time_s.size - first]
        hz = 440 * 2 ** ((key - 69) / 12)
        damped = np.exp(-(1.5 + key / 40) * since_s) * np.exp(-20 * np.maximum(since_s - length_s, 0))
        attack = 1 - np.exp(-since_s / 0.002)
        for partial in range(1, 9):
            stretched_hz = hz * partial * np.sqrt(1 + 4e-4 * partial**2)
            if stretched_hz < 10_000:
                wave = np.sin(2 * np.pi * stretched_hz * since_s) * np.exp(-0.6 * partial * since_s)
                audio[first:] += loudness / partial**1.2 * attack * damped * wave
    return audio.astype(np.float32)


def in_context(audio: np.ndarray) -> np.ndarray:
    """The clip in 16 s of silence, after 128 frames of it, float32 (705600,)."""
    padded = np.zeros(CONTEXT_S * RATE_HZ, np.float32)
    padded[SILENCE_FRAMES * HOP : SILENCE_FRAMES * HOP + audio.size] = audio
    return padded


def positions(state: int, n_values: int) -> np.ndarray:
    """Where the kept values of a state lie in it, flattened."""
    return np.random.default_rng((SEED, state)).integers(0, n_values, N_SAMPLED)


def directions(state: int, width: int) -> np.ndarray:
    """One random vector per state; the mean over all tokens of the state's projection on it is kept."""
    return np.random.default_rng((SEED, 100 + state)).standard_normal(width)


def main(out: Path, audio_file: Path | None) -> None:
    """Run the authors' model and write what it gives."""
    import torch

    stand_in = types.ModuleType("torchaudio")
    stand_in.functional = types.SimpleNamespace(  # type: ignore[attr-defined]
        melscale_fbanks=lambda n_freqs, n_mels, **_: torch.zeros(n_freqs, n_mels)
    )
    sys.modules["torchaudio"] = stand_in
    import moduleconf
    import transkun
    from transkun.Util import makeFrame

    folder = Path(transkun.__file__).parent / "pretrained"
    loaded = moduleconf.parseFromFile(str(folder / "2.0.conf"))
    model = loaded["Model"].module.TransKun(conf=loaded["Model"].config)
    checkpoint = torch.load(folder / "2.0.pt", map_location="cpu", weights_only=True)
    print(model.load_state_dict(checkpoint["state_dict"], strict=False))
    model.eval()
    torch.set_grad_enabled(False)
    audio = clip() if audio_file is None else np.load(audio_file)
    states: list[np.ndarray] = []
    layers = model.backbone.encoderLayers
    layers[0].register_forward_pre_hook(lambda _module, given: states.append(given[0].numpy().copy()))
    for layer in layers:
        layer.register_forward_hook(lambda _module, _given, state: states.append(state.numpy().copy()))
    frames = makeFrame(torch.from_numpy(in_context(audio[: round(CLIP_S * RATE_HZ)]))[None], HOP, 4096)
    crf, context = model.processFramesBatch(frames[None])
    kept: dict[str, np.ndarray] = {"n_samples": np.array(audio.size), "context_max": context.abs().max().numpy()}
    flat = context.flatten().numpy()
    kept["context"] = flat[positions(99, flat.size)]
    kept["maximum"] = np.array([np.abs(state).max() for state in states])
    for index, state in enumerate(states):
        if audio_file is not None:
            kept[f"state_{index}"] = state[0]
        kept[f"values_{index}"] = state.ravel()[positions(index, state.size)]
        kept[f"projection_{index}"] = np.array(
            (state[0].astype(np.float64) @ directions(index, state.shape[-1])).mean((0, 1))
        )
    first_frame = [SILENCE_FRAMES] * len(model.targetMIDIPitch)
    # Once more from the frames, because the method that decodes takes them.
    model.processFramesBatch = lambda _frames: (crf, context)
    events, _ = model.transcribeFrames(frames[None], forcedStartPos=first_frame)
    kept["notes"] = np.array([(e.start, e.end, e.pitch, e.velocity, e.hasOnset, e.hasOffset) for e in events[0]])
    if audio_file is not None:
        del model.processFramesBatch
        events = model.transcribe(torch.from_numpy(audio)[:, None])
        kept["transcribed"] = np.array([(e.start, e.end, e.pitch, e.velocity) for e in events])
    np.savez_compressed(out, **kept)
    print(f"{out}: {len(states)} states of {states[0].shape}, {len(kept['notes'])} notes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
