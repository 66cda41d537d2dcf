"""All encoders by name: `describe` makes the spec of one without torch, `build` makes the encoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from keybed.extract.encoders import checkpoint
from keybed.extract.encoders.aria import spec as aria
from keybed.extract.encoders.aria import tensors as aria_tensors
from keybed.extract.encoders.aria import tokens as aria_tokens
from keybed.extract.encoders.base import Clip, Encoder, Pooled
from keybed.extract.encoders.baselines import expressive, logmel, placeholder
from keybed.extract.encoders.errors import EncoderError, UnknownEncoder, WeightsUnreachable
from keybed.extract.encoders.expected import spec as expected
from keybed.extract.encoders.gpu_memory import memory_in_words
from keybed.extract.encoders.mert import spec as mert
from keybed.extract.encoders.mert import tensors as mert_tensors
from keybed.extract.encoders.midibert import cp_tokens
from keybed.extract.encoders.midibert import spec as midibert
from keybed.extract.encoders.midibert import tensors as midibert_tensors
from keybed.extract.encoders.muq import spec as muq
from keybed.extract.encoders.muq import tensors as muq_tensors
from keybed.extract.encoders.self_check import build_checked
from keybed.extract.encoders.transcribed import spec as transcribed
from keybed.extract.encoders.transkun import spec as transkun
from keybed.extract.encoders.transkun import tensors as transkun_tensors
from keybed.store.command import command
from keybed.store.format.recipe import EncoderSpec

COMPUTE_DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class _Weightless:
    """Needs numpy alone and computes each row by itself, so it runs in the processes that render, a segment at a time."""

    describe: Callable[..., EncoderSpec]
    build: Callable[[EncoderSpec], Encoder]
    reference: Callable[[EncoderSpec, Clip], Pooled] | None = None
    """Features of one clip in float64, for `self_check`; None where no library's fast kernels compute them."""


@dataclass(frozen=True)
class _Fitted:
    """The same, with models that a user fits to music of their own and gives as a file.

    Runs in the processes that render, which know the music of each clip (`Clip.music`).
    """

    describe: Callable[..., tuple[EncoderSpec, str | None]]
    build: Callable[[EncoderSpec, Path | None], Encoder]
    n_parameters: Callable[[dict[str, Any]], int]


@dataclass(frozen=True)
class _Pretrained:
    describe: Callable[..., tuple[EncoderSpec, str | None]]
    build: Callable[[EncoderSpec, Path | None], Encoder]
    reference: Callable[[EncoderSpec, Path | None, Clip], Pooled]
    """Features of one clip in float64, for `self_check`."""
    tensors: ModuleType
    """Names and shapes of a checkpoint's tensors: `own`, `shapes`, `OPTIONAL`."""
    default_weights: str | None
    n_parameters: Callable[[dict[str, Any]], int]
    tokenize: Callable[[EncoderSpec, Clip], Any] | None = None
    """What the encoder reads of a clip's notes, made with numpy alone; `Clip.tokens` hands it to `encode`."""
    has_bfloat16: bool = True
    """False for encoders that compute in float32 whatever is asked."""
    checked_as: Callable[[EncoderSpec, Path | None], EncoderSpec] | None = None
    """The spec of the encoder whose self-check stands for this one's; None where it is checked itself."""


def _build_mert(spec: EncoderSpec, file: Path | None) -> Encoder:
    from keybed.extract.encoders.mert.model import Mert

    return Mert(spec, file)


def _build_midibert(spec: EncoderSpec, file: Path | None) -> Encoder:
    from keybed.extract.encoders.midibert.model import MidiBert

    return MidiBert(spec, file)


def _build_muq(spec: EncoderSpec, file: Path | None) -> Encoder:
    from keybed.extract.encoders.muq.model import Muq

    return Muq(spec, file)


def _build_aria(spec: EncoderSpec, file: Path | None) -> Encoder:
    from keybed.extract.encoders.aria.model import Aria

    return Aria(spec, file)


def _build_transkun(spec: EncoderSpec, file: Path | None) -> Encoder:
    from keybed.extract.encoders.transkun.model import Transkun

    return Transkun(spec, file)


def _build_transcribed(spec: EncoderSpec, file: Path | None) -> Encoder:
    from keybed.extract.encoders.transcribed.model import Transcribed

    return Transcribed(spec, file)


def _build_expected(spec: EncoderSpec, file: Path | None) -> Encoder:
    from keybed.extract.encoders.expected.encoder import Expected

    return Expected(spec, file)


def _mert_reference(spec: EncoderSpec, file: Path | None, clip: Clip) -> Pooled:
    from keybed.extract.encoders.mert.reference import reference

    return reference(spec, file, clip)


def _midibert_reference(spec: EncoderSpec, file: Path | None, clip: Clip) -> Pooled:
    from keybed.extract.encoders.midibert.reference import reference

    return reference(spec, file, clip)


def _muq_reference(spec: EncoderSpec, file: Path | None, clip: Clip) -> Pooled:
    from keybed.extract.encoders.muq.reference import reference

    return reference(spec, file, clip)


def _aria_reference(spec: EncoderSpec, file: Path | None, clip: Clip) -> Pooled:
    from keybed.extract.encoders.aria.reference import reference

    return reference(spec, file, clip)


def _transkun_reference(spec: EncoderSpec, file: Path | None, clip: Clip) -> Pooled:
    from keybed.extract.encoders.transkun.reference import reference

    return reference(spec, file, clip)


_Entry = _Weightless | _Fitted | _Pretrained
_REGISTRY: dict[str, _Entry] = {
    "mert": _Pretrained(
        mert.describe, _build_mert, _mert_reference, mert_tensors, mert.DEFAULT_WEIGHTS, mert.n_parameters
    ),
    "midibert": _Pretrained(
        midibert.describe,
        _build_midibert,
        _midibert_reference,
        midibert_tensors,
        None,
        midibert.n_parameters,
        cp_tokens.of_clip,
    ),
    "muq": _Pretrained(muq.describe, _build_muq, _muq_reference, muq_tensors, muq.DEFAULT_WEIGHTS, muq.n_parameters),
    "aria": _Pretrained(
        aria.describe,
        _build_aria,
        _aria_reference,
        aria_tensors,
        aria.DEFAULT_WEIGHTS,
        aria.n_parameters,
        aria_tokens.of_clip,
    ),
    "transkun": _Pretrained(
        transkun.describe,
        _build_transkun,
        _transkun_reference,
        transkun_tensors,
        transkun.DEFAULT_WEIGHTS,
        transkun.n_parameters,
        has_bfloat16=False,
    ),
    "transcribed": _Pretrained(
        transcribed.describe,
        _build_transcribed,
        _transkun_reference,
        transkun_tensors,
        transcribed.DEFAULT_WEIGHTS,
        transkun.n_parameters,
        has_bfloat16=False,
        checked_as=transcribed.network_spec,
    ),
    "logmel": _Weightless(logmel.describe, logmel.LogMel, logmel.reference),
    "expressive": _Weightless(expressive.describe, expressive.Expressive),
    "expected": _Fitted(expected.describe, _build_expected, expected.n_parameters),
    "placeholder-audio": _Weightless(placeholder.describe_audio, placeholder.PlaceholderAudio),
    "placeholder-midi": _Weightless(placeholder.describe_midi, placeholder.PlaceholderMidi),
}

NAMES = tuple(_REGISTRY)
"""Names of all encoders."""
PRETRAINED = tuple(name for name, entry in _REGISTRY.items() if isinstance(entry, _Pretrained))
"""Names of the encoders that come trained; they need weights, or the word "random"."""
FITTED = tuple(name for name, entry in _REGISTRY.items() if isinstance(entry, _Fitted))
"""Names of the encoders whose models a user fits."""
NEED_FILES = (*PRETRAINED, *FITTED)


def describe(
    name: str,
    *,
    weights: str | None = None,
    n_bins: int,
    window_s: float,
    threads: int = 2,
    revision: str | None = None,
    compute_dtype: str = "float32",
) -> tuple[EncoderSpec, str | None]:
    """The spec of an encoder (everything that changes its numbers) and the path of its checkpoint, or None.

    weights: a hub id, a local folder or file, or "random" ("random:330M", "random:tiny" …) for seeded random weights;
    None for the encoder's default. revision: a commit hash of the hub id; None for the newest one, which the spec then
    pins. compute_dtype: "float32" or "bfloat16"; encoders without torch ignore it. Imports no torch.
    Raises UnknownEncoder, WeightsUnreachable, WeightsRefused.
    """
    entry = _entry(name)
    if compute_dtype not in COMPUTE_DTYPES:
        raise EncoderError(f"{name}: compute_dtype {compute_dtype!r} is none of {', '.join(COMPUTE_DTYPES)}")
    if isinstance(entry, _Weightless):
        if weights is not None:
            raise EncoderError(f"{name} has no weights, so it cannot take {weights!r}")
        # One thread, and so says the recipe: their products are small.
        return entry.describe(n_bins=n_bins, window_s=window_s, threads=1), None
    if isinstance(entry, _Fitted):
        if weights is None:
            raise WeightsUnreachable(
                f"{name} needs models of undegraded playing: plan the store with other encoders, make the models with "
                f"`{command('expect', 'STORE', '--out', 'FILE')}`, then add it with "
                f"`{command('extend', 'STORE', '--encoders', name, f'--{name}-weights', 'FILE')}`"
            )
        return entry.describe(where=weights, n_bins=n_bins, window_s=window_s)
    where = weights if weights is not None else entry.default_weights
    if where is None:
        raise WeightsUnreachable(
            f"{name} has no weights on the hub: download its authors' checkpoint and give the file or its folder, "
            f'or the word "random" for seeded random weights (every report will say so)'
        )
    return entry.describe(
        where=where, n_bins=n_bins, window_s=window_s, threads=threads, revision=revision, compute_dtype=compute_dtype
    )


def build(spec: EncoderSpec, checkpoint_path: str | None) -> Encoder:
    """Build the encoder of a spec, without any network access; torch is imported here and not before.

    checkpoint_path: what `describe` returned, or where the same file lies on this machine; None without a checkpoint.

    The first encoder of a spec in a process is compared with float64 on one clip (`self_check`).

    Raises WeightsRefused where the checkpoint is not the planned one, or not of this architecture, WrongArithmetic
    where this machine computes other numbers than it should, and EncoderError where the memory of a GPU runs out.
    """
    with memory_in_words(spec):
        return _built(spec, checkpoint_path)


def _built(spec: EncoderSpec, checkpoint_path: str | None) -> Encoder:
    entry = _entry(spec.name)
    if isinstance(entry, _Weightless):
        if entry.reference is None:
            return entry.build(spec)
        return build_checked(spec, partial(entry.build, spec), partial(entry.reference, spec))
    if checkpoint_path is None and not spec.random_weights:
        raise WeightsUnreachable(
            f"{spec.name}: the store does not know where {spec.source} lies on this machine; add it to its places.json"
        )
    file = None if checkpoint_path is None else Path(checkpoint_path)
    if isinstance(entry, _Fitted):
        return entry.build(spec, file)
    if entry.checked_as is not None:
        checked = build(entry.checked_as(spec, file), checkpoint_path)
        encoder = entry.build(spec, file)
        encoder.self_check = checked.self_check
        return encoder
    return build_checked(spec, partial(entry.build, spec, file), partial(entry.reference, spec, file))


def runs_in_renderer(spec: EncoderSpec) -> bool:
    """Whether the processes that render compute this encoder: it needs no torch, and each row stands by itself."""
    return isinstance(_entry(spec.name), _Weightless | _Fitted)


def clip_seconds(encoder: Encoder) -> float:
    """Seconds of a clip on this machine's processors, as the self-check took; 0 for encoders without torch, and on a GPU.

    The first batch of a GPU takes far longer than the next ones.
    """
    if runs_in_renderer(encoder.spec) or encoder.self_check is None:
        return 0.0
    from keybed.extract.encoders.torch import device

    return 0.0 if device.has_gpu() else encoder.self_check.clip_s


def takes_audio(spec: EncoderSpec) -> bool:
    """Whether this encoder reads a clip's waveform: audio encoders, and those that transcribe it."""
    return spec.modality == "audio" or "sample_rate_hz" in spec.preprocessing


def build_unchecked(spec: EncoderSpec, file: Path | None = None) -> Encoder:
    """An encoder that runs in a process that renders, without the self-check: the task has made it on the same machine.

    file: of its models, where it needs one.
    """
    entry = _entry(spec.name)
    if isinstance(entry, _Fitted):
        return entry.build(spec, file)
    assert isinstance(entry, _Weightless)
    return entry.build(spec)


def has_bfloat16(spec: EncoderSpec) -> bool:
    """Whether `compute_dtype` chooses this encoder's arithmetic."""
    entry = _entry(spec.name)
    return isinstance(entry, _Pretrained) and entry.has_bfloat16


def has_tokens(spec: EncoderSpec) -> bool:
    """Whether `tokenize` can prepare a clip's notes for this encoder, in a process without torch."""
    entry = _entry(spec.name)
    return isinstance(entry, _Pretrained) and entry.tokenize is not None


def tokenize(spec: EncoderSpec, clip: Clip) -> Any:
    """What this encoder reads of a clip's notes, for `Clip.tokens`."""
    entry = _entry(spec.name)
    assert isinstance(entry, _Pretrained)
    assert entry.tokenize is not None
    return entry.tokenize(spec, clip)


def check_checkpoint(spec: EncoderSpec, checkpoint_path: str) -> str:
    """Compare a checkpoint's tensors with the architecture and look for NaN; return what was looked at, in words.

    safetensors are read without torch, other files where torch is installed. Raises WeightsRefused.
    """
    entry, file = _entry(spec.name), Path(checkpoint_path)
    if isinstance(entry, _Fitted):
        entry.build(spec, file)
        return f"{spec.name}: {file.name} holds the models of this version of Keybed, and no NaN"
    assert isinstance(entry, _Pretrained)
    architecture, tensors = spec.preprocessing["architecture"], entry.tensors
    if checkpoint.is_safetensors(file):
        entries = tensors.own(checkpoint.safetensors_entries(spec.name, file))
        checkpoint.compare_tensors(spec.name, file, tensors.shapes(architecture, entries), entries, tensors.OPTIONAL)
        checkpoint.check_entries(spec.name, entries)
        n_tensors = len(entries)
    else:
        try:
            from keybed.extract.encoders.torch import device
        except ModuleNotFoundError:
            return (
                f"{spec.name}: {file.name} was not looked into, because torch is not installed here; `keybed extract` "
                f"looks into it before its first row"
            )
        state = tensors.own(device.read_tensors(spec.name, file))
        checkpoint.compare_tensors(spec.name, file, tensors.shapes(architecture, state), state, tensors.OPTIONAL)
        device.check_numbers(spec.name, file, state)
        n_tensors = len(state)
    return f"{spec.name}: {file.name} has the {n_tensors} tensors of its architecture, and no NaN"


def n_parameters(spec: EncoderSpec) -> int:
    """About how many parameters an encoder keeps in memory; 0 for those without weights."""
    entry = _entry(spec.name)
    return 0 if isinstance(entry, _Weightless) else entry.n_parameters(spec.preprocessing["architecture"])


def _entry(name: str) -> _Entry:
    if name not in _REGISTRY:
        raise UnknownEncoder(f"no encoder {name!r}; there are {', '.join(NAMES)}")
    return _REGISTRY[name]
