"""Check this machine's code, soundfont, audio and weights against the recipe, before a task makes its first row."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from keybed.extract import degrade, encoders
from keybed.extract.audio import recorded, render
from keybed.extract.audio.bank_files import bank_sha256, find_bank
from keybed.extract.audio.room import describe_rooms, load_rooms
from keybed.extract.config import soundfont_paths
from keybed.extract.encoders.base import Encoder, Music
from keybed.extract.encoders.weights import on_this_machine
from keybed.extract.music.midi import READING_VERSION
from keybed.extract.run.row_maker import Instrument, RenderConfig
from keybed.store import Store
from keybed.store.errors import KeybedError
from keybed.store.format.layout import Layout
from keybed.store.format.recipe import EncoderSpec, Recipe, differences

_FIRST_MIDI_READING = 1
"""Reading version of stores that were planned before recipes named it."""


class NotAsPlanned(KeybedError):
    """A file or a library on this machine differs from the recipe. The message lists every difference."""


def check_same_code(recipe: Recipe) -> None:
    """Raise NotAsPlanned where this version of Keybed degrades differently from the version that planned the store."""
    planned = {key: value for key, value in recipe.degradation.items() if key not in ("profile", "seed")}
    _compare("degradation", planned, degrade.parameters(), "install the version of Keybed that planned the store")


def check_same_pristine_rows(recipe: Recipe) -> None:
    """Raise NotAsPlanned where this version of Keybed makes other rows of undegraded music than the version that planned the store."""
    if degrade.PRISTINE_SINCE <= int(recipe.degradation.get("code_version", 1)) <= degrade.CODE_VERSION:
        recipe = replace(recipe, degradation={**recipe.degradation, "code_version": degrade.CODE_VERSION})
    check_same_code(recipe)


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

    instruments: tuple[Instrument, ...]
    maestro: Path | None

    @property
    def soundfont(self) -> Path | None:
        """That of the first instrument."""
        return self.instruments[0].soundfont if self.instruments else None

    @property
    def bank(self) -> Path | None:
        """The first instrument's note bank."""
        return self.instruments[0].bank if self.instruments else None


def render_files(recipe: Recipe, paths: Mapping[str, str], *, corpus: bool = True) -> RenderFiles:
    """Find soundfont, note bank or recordings, and check them and the synthesiser against the recipe.

    paths: where "soundfont", "note-bank" and "maestro" lie on this machine. corpus: False where recorded audio comes from
    elsewhere. Raises NotAsPlanned, BadNoteBank.
    """
    maestro = None
    instruments: tuple[Instrument, ...] = ()
    planned = {key: value for key, value in recipe.audio.items() if key not in ("source", "rooms")}
    window_s = float(recipe.segments["window_s"])
    if recipe.audio["source"] == "recorded":
        if corpus:
            maestro = Path(_path(paths, "maestro"))
            if not maestro.is_dir():
                raise NotAsPlanned(f"{maestro}: no such folder; say where the recordings lie with --maestro FOLDER")
        present = recorded.describe()
    elif "soundfonts" in planned:
        instruments, present = _several(planned, paths, window_s)
    elif render.planned_with_bank(planned):
        bank, present = _bank(planned, paths, window_s)
        instruments = (Instrument(Path(paths["soundfont"]) if "soundfont" in paths else None, bank),)
    else:
        instruments = (Instrument(Path(_path(paths, "soundfont"))),)
        present = render.describe(instruments[0].soundfont)
    _compare("audio", planned, present, "give the planned soundfont with --soundfont FILE, or plan another store")
    return RenderFiles(instruments, maestro)


def render_config(store: Store, paths: Mapping[str, str]) -> RenderConfig:
    """What rendering needs, after its soundfont, synthesiser or recordings have been checked against the recipe.

    paths: where "soundfont" and "maestro" lie on this machine. Raises NotAsPlanned.
    """
    files = render_files(store.recipe, paths)
    beside = [spec.name for spec in store.recipe.encoders if encoders.runs_in_renderer(spec)]
    known = {name: paths[f"weights/{name}"] for name in beside if f"weights/{name}" in paths}
    return replace(
        notes_config(store),
        instruments=files.instruments,
        rooms=planned_rooms(store),
        maestro=files.maestro,
        models={name: Path(path) for name, path in known.items()},
    )


def notes_config(store: Store) -> RenderConfig:
    """What the degraded notes of the store's rows need, without anything that makes them audible."""
    entries = store.recordings
    return RenderConfig(
        store=store.path,
        seed=int(store.recipe.degradation["seed"]),
        window_s=float(store.recipe.segments["window_s"]),
        instruments=(),
        maestro=None,
        audio_files=tuple(entry["audio"] for entry in entries),
        midi_problems={entry["recording"]: entry["midi_problem"] for entry in entries if entry["midi_problem"]},
        drawn_as={entry["recording"]: entry["drawn_as"] for entry in entries if "drawn_as" in entry},
        rating_dimensions=store.recipe.rating_dimensions,
        rating_scale=tuple(store.recipe.labels["scale"]) if store.recipe.labels else (0.0, 100.0),
        notes_sha256=store.planned_files.notes_sha256_of(range(len(entries))),
        music={e["recording"]: Music(e["midi_sha256"] or "", e.get("piece_name", "")) for e in entries},
    )


def planned_rooms(store: Store) -> Path | None:
    """The file of the store's rooms, checked against the recipe; None without rooms. Raises NotAsPlanned, BadRooms, ShardDamaged."""
    if "rooms" not in store.recipe.audio:
        return None
    path = Layout(store.path).rooms
    store.planned_files.check(path.relative_to(store.path).as_posix())
    advice = "install the version of Keybed that planned the store"
    _compare("rooms", store.recipe.audio["rooms"], describe_rooms(load_rooms(path)), advice)
    return path


def _bank(planned: dict[str, Any], paths: Mapping[str, str], window_s: float) -> tuple[Path, dict[str, Any]]:
    """The planned note bank on this machine, and the description of what it renders. Raises BadNoteBank, NotAsPlanned."""
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


def _several(
    planned: dict[str, Any], paths: Mapping[str, str], window_s: float
) -> tuple[tuple[Instrument, ...], dict[str, Any]]:
    """An instrument for each planned soundfont, found by its hash, and the description of what they render.

    paths: "soundfont" (several with commas) and "note-bank" where they are given, "soundfont/NAME" and "note-bank/NAME" where
    the plan found them.
    """
    given = {render.soundfont_sha256(render.resolve_soundfont(p)): p for p in soundfont_paths(paths.get("soundfont"))}
    banks = tuple(Path(p) for p in paths["note-bank"].split(",")) if "note-bank" in paths else ()
    instruments = []
    for entry in planned["soundfonts"]:
        name, known = entry["name"], paths.get(f"soundfont/{entry['name']}")
        soundfont = given.get(entry["sha256"]) or (Path(known) if known else None)
        here = soundfont if soundfont is not None and soundfont.exists() else None
        advice = "give all soundfonts of the plan with --soundfont A.sf2,B.sf2"
        if here is not None and render.soundfont_sha256(render.resolve_soundfont(here)) != entry["sha256"]:
            raise NotAsPlanned(f"{here} is not the soundfont {name} that was planned; {advice}")
        bank = None
        if "bank_sha256" in entry:
            kept = paths.get(f"note-bank/{name}")
            fitting = next((b for b in banks if b.exists() and bank_sha256(b) == entry["bank_sha256"]), None)
            bank = find_bank(entry["bank_sha256"], fitting or (Path(kept) if kept else None), here, window_s)
        elif here is None:
            raise NotAsPlanned(f"the soundfont {name} does not lie where it was planned ({known}); {advice}")
        instruments.append(Instrument(here, bank))
    played = any("bank_sha256" not in entry for entry in planned["soundfonts"])
    present = render.describe_several(
        planned["soundfonts"],
        planned.get("hold_out_soundfont"),
        None if played else planned["synthesiser_version"],
    )
    return tuple(instruments), present


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
