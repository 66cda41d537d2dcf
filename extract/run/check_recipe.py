"""Check this machine's code, soundfont, audio and weights against the recipe, before a task makes its first row."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from keybed.extract import degrade, encoders
from keybed.extract.audio import recorded, render
from keybed.extract.encoders.base import Encoder
from keybed.extract.encoders.weights import on_this_machine
from keybed.extract.music.midi import READING_VERSION
from keybed.extract.run.row_maker import RenderConfig
from keybed.store import Store
from keybed.store.errors import KeybedError
from keybed.store.format.recipe import EncoderSpec, Recipe, differences

_FIRST_MIDI_READING = 1
"""Reading version of stores that were planned before recipes named it."""


class NotAsPlanned(KeybedError):
    """A file or a library on this machine differs from the recipe. The message lists every difference."""


def check_same_code(recipe: Recipe) -> None:
    """Raise NotAsPlanned where this version of Keybed degrades differently from the version that planned the store."""
    planned = {key: value for key, value in recipe.degradation.items() if key not in ("profile", "seed")}
    _compare("degradation", planned, degrade.parameters(), "install the version of Keybed that planned the store")


def check_same_midi_reading(recipe: Recipe) -> None:
    """Raise NotAsPlanned where this version of Keybed reads MIDI files differently from the version that planned the store.

    The notes in the store would be those of the other version, and rows added now could not be told from older ones.
    """
    _compare(
        "MIDI reading",
        {"midi_reading": recipe.corpus.get("midi_reading", _FIRST_MIDI_READING)},
        {"midi_reading": READING_VERSION},
        "plan another store with this version of Keybed, or install the version that planned this one",
    )


@dataclass(frozen=True)
class RenderFiles:
    """The files that rows are made audible with, as in RenderConfig; None where a recipe needs none."""

    soundfont: Path | None
    maestro: Path | None
    bank: Path | None


def render_files(recipe: Recipe, paths: Mapping[str, str], *, corpus: bool = True) -> RenderFiles:
    """Find soundfont, note bank or recordings, and check them and the synthesiser against the recipe.

    paths: where "soundfont", "note-bank" and "maestro" lie on this machine. corpus: False where recorded audio comes from
    elsewhere. Raises NotAsPlanned, BadNoteBank.
    """
    soundfont = maestro = bank = None
    planned = {key: value for key, value in recipe.audio.items() if key != "source"}
    if recipe.audio["source"] == "recorded":
        if corpus:
            maestro = Path(_path(paths, "maestro"))
            if not maestro.is_dir():
                raise NotAsPlanned(f"{maestro}: no such folder; say where the recordings lie with --maestro FOLDER")
        present = recorded.describe()
    elif render.planned_with_bank(planned):
        bank, present = _bank(planned, paths, float(recipe.segments["window_s"]))
        soundfont = Path(paths["soundfont"]) if "soundfont" in paths else None
    else:
        soundfont = Path(_path(paths, "soundfont"))
        present = render.describe(soundfont)
    _compare("audio", planned, present, "give the planned soundfont with --soundfont FILE, or plan another store")
    return RenderFiles(soundfont, maestro, bank)


def render_config(store: Store, paths: Mapping[str, str]) -> RenderConfig:
    """What rendering needs, after its soundfont, synthesiser or recordings have been checked against the recipe.

    paths: where "soundfont" and "maestro" lie on this machine. Raises NotAsPlanned.
    """
    files = render_files(store.recipe, paths)
    entries = store.recordings
    return RenderConfig(
        store=store.path,
        seed=int(store.recipe.degradation["seed"]),
        window_s=float(store.recipe.segments["window_s"]),
        soundfont=files.soundfont,
        maestro=files.maestro,
        audio_files=tuple(entry["audio"] for entry in entries),
        midi_problems={entry["recording"]: entry["midi_problem"] for entry in entries if entry["midi_problem"]},
        drawn_as={entry["recording"]: entry["drawn_as"] for entry in entries if "drawn_as" in entry},
        notes_sha256=store.planned_files.notes_sha256_of(range(len(entries))),
        bank=files.bank,
    )


def _bank(planned: dict[str, Any], paths: Mapping[str, str], window_s: float) -> tuple[Path, dict[str, Any]]:
    """The planned note bank on this machine, and the description of what it renders. Raises BadNoteBank, NotAsPlanned."""
    from keybed.extract.audio.bank_files import find_bank

    soundfont = Path(paths["soundfont"]) if "soundfont" in paths else None
    if soundfont is not None and soundfont.exists():
        here = {"soundfont_sha256": render.soundfont_sha256(render.resolve_soundfont(soundfont))}
        _compare(
            "audio",
            {name: planned[name] for name in here},
            here,
            "give the planned soundfont with --soundfont FILE, or plan another store",
        )
    given = Path(paths["note-bank"]) if "note-bank" in paths else None
    bank = find_bank(planned["bank_sha256"], given, soundfont, window_s)
    return bank, render.describe_with_bank(planned, planned["bank_sha256"])


def planned_encoders(recipe: Recipe, paths: Mapping[str, str], names: Collection[str] | None = None) -> list[Encoder]:
    """Build the recipe's encoders, or those of these names, from the weights on this machine.

    paths: where "weights/<encoder>" lies: whatever `plan` takes, found without the hub. Raises NotAsPlanned where the weights or the code differ from the recipe.
    """
    built = []
    for spec in recipe.encoders:
        if names is not None and spec.name not in names:
            continue
        where = None
        if spec.source not in ("none", "random"):
            given = _path(paths, f"weights/{spec.name}")
            where = on_this_machine(spec.name, given, spec.source, spec.revision)
        built.append(encoders.build(spec, _check_encoder(spec, where)))
    return built


def _check_encoder(spec: EncoderSpec, weights: str | None) -> str | None:
    """Compare the spec with this machine's code and weights; return the checkpoint's path."""
    if spec.source == "random":
        weights = f"random:{spec.revision}" if spec.revision else "random"
    present, checkpoint_path = encoders.describe(
        spec.name,
        weights=weights,
        n_bins=spec.n_bins,
        window_s=float(spec.preprocessing["window_s"]),
        threads=spec.threads,
        compute_dtype=spec.compute_dtype,
    )
    # A local copy of a hub's snapshot is accepted: its hash is compared, its source and revision are not.
    planned_source = {"source": spec.source, "revision": spec.revision}
    _compare(
        f"encoder {spec.name}",
        asdict(spec),
        {**asdict(present), **planned_source},
        f"give the planned weights with {path_option(f'weights/{spec.name}')} PATH, or plan another store",
    )
    return checkpoint_path


def _path(paths: Mapping[str, str], name: str) -> str:
    if name not in paths:
        raise NotAsPlanned(f"the store does not say where {name} lies; give {path_option(name)} PATH")
    return paths[name]


def path_option(name: str) -> str:
    """The command-line option for a path: soundfont -> --soundfont, weights/mert -> --mert-weights."""
    return f"--{'-'.join(reversed(name.split('/')))}"


def _compare(what: str, planned: Any, present: Any, advice: str) -> None:
    different = differences(planned, present)
    if different:
        listed = "\n  ".join(different)
        raise NotAsPlanned(f"{what} is not as planned. In the recipe | here:\n  {listed}\n{advice}")
