"""What a plan says of its rows' audio: recorded files, a note bank, or FluidSynth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keybed.extract.audio import recorded, render
from keybed.extract.config import PlanConfig
from keybed.extract.planning.soundfonts import check_hold_out, check_several

if TYPE_CHECKING:
    from keybed.extract.audio.bank_files import BankFile


@dataclass(frozen=True)
class PlannedAudio:
    """description: for the recipe. machine_paths: of soundfont and bank. remark: why there is no bank; empty where none was refused."""

    description: Mapping[str, Any]
    machine_paths: Mapping[str, str]
    remark: str = ""

    @property
    def first(self) -> tuple[Path | None, Path | None]:
        """(soundfont, note bank) of the first soundfont; None for what there is not."""

        def of(what: str) -> Path | None:
            paths = [path for name, path in self.machine_paths.items() if name.partition("/")[0] == what]
            return Path(paths[0]) if paths else None

        return of("soundfont"), of("note-bank")


def planned_audio(config: PlanConfig) -> PlannedAudio:
    """Choose and describe the renderer, or the reader of recordings.

    Raises NotASoundfont, SynthesiserMissing, BadNoteBank, PlanError.
    """
    check_hold_out(config)
    if config.audio == "recorded":
        return PlannedAudio(recorded.describe(), {})
    if len(config.soundfonts) > 1:
        return _several(config)
    soundfont = render.check_soundfont(config.soundfonts[0] if config.soundfonts else None)
    paths = {"soundfont": str(soundfont.absolute())}
    bank, remark = _bank(soundfont, config)
    if bank is None:
        return PlannedAudio(render.describe(soundfont), paths, remark)
    return PlannedAudio(render.describe(soundfont, bank.sha256), {**paths, "note-bank": str(bank.path)})


def _several(config: PlanConfig) -> PlannedAudio:
    """Each soundfont with its own note bank, or played by FluidSynth where no bank plays it."""
    entries, paths, remarks = [], {}, []
    for soundfont in check_several(config.soundfonts):
        bank, remark = _bank(soundfont, config)
        paths[f"soundfont/{soundfont.name}"] = str(soundfont.absolute())
        if bank is not None:
            paths[f"note-bank/{soundfont.name}"] = str(bank.path)
        remarks += [remark] if remark else []
        entries.append(render.soundfont_entry(soundfont, None if bank is None else bank.sha256))
    return PlannedAudio(render.describe_several(entries, config.hold_out_soundfont), paths, "; ".join(remarks))


def _bank(soundfont: Path, config: PlanConfig) -> tuple[BankFile | None, str]:
    """The soundfont's note bank, or None and why there is none (empty where none was asked for)."""
    if config.renderer == "fluidsynth":
        return None, ""
    from keybed.extract.audio.bank_files import bank_for

    bank = bank_for(soundfont, config.window_s)
    if bank.misfit:
        remark = f"rows are rendered by FluidSynth itself, eight times slower than from a note bank: {soundfont.name}: {bank.misfit}"
        return None, remark
    return bank, ""
