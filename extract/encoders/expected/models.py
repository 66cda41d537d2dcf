"""The models of `expected` in a file: one for music that none of them was fitted to, and one for each group of pieces that the
others were fitted to.

A model of undegraded playing knows the pieces that it was fitted to, and finds their pedalling and lengths less surprising than
those of other music. So a piece of the fitted music is judged by models that were fitted to the other groups' pieces alone.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keybed.extract.encoders.base import Music
from keybed.extract.encoders.errors import WeightsRefused
from keybed.extract.encoders.expected import note_expectation, pedal_expectation
from keybed.extract.encoders.expected.network import Floats, Network
from keybed.extract.encoders.expected.note_expectation import NoteModel, Predictor
from keybed.extract.encoders.expected.pedal_expectation import PedalModel

FORMAT = 1
HIDDEN_PEDAL, HIDDEN_NOTES = 32, (64, 32)
"""Widths of the networks' hidden layers."""
_ABOUT = "about"
_DAMAGED = (
    *(ValueError, KeyError, IndexError, TypeError, AttributeError, EOFError, NotImplementedError, RecursionError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What reading a file of another kind, or a damaged one, raises."""


class PlayingModel(NamedTuple):
    """What a pianist does with the pedal, and with the notes."""

    pedal: PedalModel
    notes: NoteModel

    def arrays(self, prefix: str) -> dict[str, Floats]:
        """Its arrays under names that begin with prefix."""
        of_pedal = self.pedal.lift.arrays(f"{prefix}/lift") | self.pedal.press.arrays(f"{prefix}/press")
        return (
            of_pedal | self.notes.length.arrays(f"{prefix}/length") | self.notes.velocity.arrays(f"{prefix}/velocity")
        )

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray], prefix: str) -> PlayingModel:
        """Inverse of `arrays`. Raises KeyError and ValueError as its parts do."""
        lift, press = (Network.of_arrays(arrays, f"{prefix}/{name}") for name in ("lift", "press"))
        length, velocity = (Predictor.of_arrays(arrays, f"{prefix}/{name}") for name in ("length", "velocity"))
        read = (lift.n_inputs, press.n_inputs, length.centre.size, velocity.centre.size)
        wanted = (*[pedal_expectation.N_INPUTS] * 2, note_expectation.LENGTH_INPUTS, note_expectation.VELOCITY_INPUTS)
        if read != wanted:
            raise ValueError(f"{prefix}: models of {read} inputs; this version of Keybed has {wanted}")
        return cls(PedalModel(lift, press), NoteModel(length, velocity))

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> PlayingModel:
        """Random numbers in place of a fit."""

        def predictor(n: int) -> Predictor:
            networks = [Network.drawn(2 * n, HIDDEN_NOTES[0], rng) for _ in range(2)]
            return Predictor(np.zeros(n, np.float32), np.ones(n, np.float32), networks[0], networks[1], 1.0)

        lift, press = (Network.drawn(pedal_expectation.N_INPUTS, HIDDEN_PEDAL, rng) for _ in range(2))
        length, velocity = (predictor(n) for n in (note_expectation.LENGTH_INPUTS, note_expectation.VELOCITY_INPUTS))
        return cls(PedalModel(lift, press), NoteModel(length, velocity))


@dataclass(frozen=True, eq=False)
class ExpectedModels:
    """of_all: fitted to all pieces of the music, for other music. of_others: per group, fitted to the other groups' pieces.

    group_of_midi, group_of_piece: the group of a MIDI file by its sha256, and of a piece by its name in the store. fitted_to: the
    numbers of windows, pieces and notes, the length of the windows and the versions of libraries, as plain JSON.
    """

    of_all: PlayingModel
    of_others: tuple[PlayingModel, ...]
    group_of_midi: Mapping[str, int]
    group_of_piece: Mapping[str, int]
    fitted_to: Mapping[str, Any]

    def judging(self, music: Music | None) -> PlayingModel:
        """The model that was not fitted to this music. A MIDI file counts before the name of a piece."""
        if music is None:
            return self.of_all
        group = self.group_of_midi.get(music.midi_sha256, self.group_of_piece.get(music.piece))
        return self.of_all if group is None else self.of_others[group]

    def save(self, file: IO[bytes]) -> None:
        """Write the bytes of a file; equal models give equal bytes."""
        about = {
            "format": FORMAT,
            "groups": len(self.of_others),
            "group_of_midi": dict(self.group_of_midi),
            "group_of_piece": dict(self.group_of_piece),
            "fitted_to": dict(self.fitted_to),
        }
        text = json.dumps(about, sort_keys=True, ensure_ascii=False).encode()
        arrays: dict[str, NDArray] = {_ABOUT: np.frombuffer(text, np.uint8), **self.of_all.arrays("all")}
        for group, model in enumerate(self.of_others):
            arrays |= model.arrays(f"group{group}")
        np.savez(file, allow_pickle=False, **arrays)


def load(file: Path, sha256: str | None = None) -> ExpectedModels:
    """Read a file of models. sha256: what its bytes must have. Raises WeightsRefused."""
    again = "make it again with `keybed expect STORE --out FILE`"
    try:
        data = file.read_bytes()
    except OSError as error:
        raise WeightsRefused(f"expected: {file} cannot be read ({error.strerror}); {again}") from error
    here = hashlib.sha256(data).hexdigest()
    if sha256 is not None and here != sha256:
        raise WeightsRefused(
            f"expected: {file} is not the file that was planned (sha256 {here[:12]}, not {sha256[:12]})"
        )
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        about = json.loads(arrays[_ABOUT].tobytes().decode())
        if about["format"] != FORMAT:
            raise ValueError(f"format {about['format']}; this version of Keybed reads {FORMAT}")
        models = ExpectedModels(
            PlayingModel.of_arrays(arrays, "all"),
            tuple(PlayingModel.of_arrays(arrays, f"group{group}") for group in range(int(about["groups"]))),
            _groups(about["group_of_midi"], int(about["groups"])),
            _groups(about["group_of_piece"], int(about["groups"])),
            dict(about["fitted_to"]),
        )
    except _DAMAGED as error:
        raise WeightsRefused(f"expected: {file} holds no models of the expected playing ({error}); {again}") from error
    return models


def _groups(named: Mapping[str, Any], n: int) -> dict[str, int]:
    groups = {str(name): int(group) for name, group in named.items()}
    if any(not 0 <= group < n for group in groups.values()):
        raise ValueError(f"a piece of a group that is none of the {n}")
    return groups


def random_models(seed: int) -> ExpectedModels:
    """Models of random numbers, the same for all music."""
    return ExpectedModels(PlayingModel.drawn(np.random.default_rng(seed)), (), {}, {}, {"windows": 0})
