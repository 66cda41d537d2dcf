"""What a plan says of its rows' audio: recorded files, a note bank, or FluidSynth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keybed.extract.audio import recorded, render
from keybed.extract.config import PlanConfig


@dataclass(frozen=True)
class PlannedAudio:
    """description: for the recipe. machine_paths: of soundfont and bank. remark: why there is no bank; empty where none was refused."""

    description: Mapping[str, Any]
    machine_paths: Mapping[str, str]
    remark: str = ""

    @property
    def bank(self) -> Path | None:
        """The note bank's file; None without one."""
        return Path(self.machine_paths["note-bank"]) if "note-bank" in self.machine_paths else None


def planned_audio(config: PlanConfig) -> PlannedAudio:
    """Choose and describe the renderer, or the reader of recordings. Raises NotASoundfont, SynthesiserMissing, BadNoteBank."""
    if config.audio == "recorded":
        return PlannedAudio(recorded.describe(), {})
    soundfont = render.check_soundfont(config.soundfont)
    paths = {"soundfont": str(soundfont.absolute())}
    if config.renderer == "fluidsynth":
        return PlannedAudio(render.describe(soundfont), paths)
    from keybed.extract.audio.bank_files import bank_for

    bank = bank_for(soundfont, config.window_s)
    if bank.misfit:
        remark = f"rows are rendered by FluidSynth itself, eight times slower than from a note bank: {soundfont.name}: {bank.misfit}"
        return PlannedAudio(render.describe(soundfont), paths, remark)
    return PlannedAudio(render.describe(soundfont, bank.sha256), {**paths, "note-bank": str(bank.path)})
