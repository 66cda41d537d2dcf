"""The README inside an exported archive: what lies there and which numbers made it."""

from __future__ import annotations

import json

from keybed.store.format.recipe import Recipe
from keybed.store.format.vocabulary import AXES, DIMENSIONS, TIER_SHARES, TIERS


def readme(recipe: Recipe, audio_format: str, *, both: bool = False) -> str:
    """Markdown. both: whether the archive also has what FluidSynth plays."""
    curves = recipe.degradation["curves"]
    anchors = ", ".join(f"{score:g}" for score in recipe.degradation["score_anchors"])
    rows = "\n".join(
        f"| {axis} | {dimension} | {curves[axis]['unit']} | {', '.join(f'{level:g}' for level in curves[axis]['levels'])} |"
        for axis, dimension in zip(AXES, DIMENSIONS[:7], strict=True)
    )
    tiers = ", ".join(f"{tier} {share:.0%}" for tier, share in zip(TIERS, TIER_SHARES, strict=True))
    played = (
        f"\n- `audio-fluidsynth/SPLIT/SEGMENT_TIER.{audio_format}`: the same row played by FluidSynth; `audio/` sums its notes from a note bank."
        if both
        else ""
    )
    in_step = ", in step with the MIDI" if recipe.audio["source"] == "rendered" else ""
    return f"""# MAESTRO with variance

Windows of {recipe.segments["window_s"]:g} s (hop {recipe.segments["hop_s"]:g} s), each at up to four tiers
({", ".join(TIERS)}), made worse on purpose along seven axes, with labels that say what was done.
The notes are MAESTRO's (CC BY-NC-SA 4.0, https://magenta.tensorflow.org/datasets/maestro): so is what lies here.

- `labels.jsonl`: one line a row; `midi` and `audio` are paths relative to this folder, null where a row could not be made
  (`status` and `reason` say why).
- `midi/SPLIT/SEGMENT_TIER.mid`: the degraded notes and pedal, 0 is the window's start. A key that was held from before
  begins at 0; a note may end after the window. Notes whose keys were let go before 0 and that only the pedal still holds are
  left out of the MIDI; the audio has them.
- `audio/SPLIT/SEGMENT_TIER.{audio_format}`: 24 kHz, 16 bit, mono, {recipe.segments["window_s"]:g} s{in_step}.
  Source: {recipe.audio["source"]}. {recipe.audio["audible"][0].upper()}{recipe.audio["audible"][1:]}.{played}
- `recipe.json`: every number that shaped a row. `SHA256SUMS`: `sha256sum -c SHA256SUMS` in this folder.

Splits never share a piece. Shares of the tiers, meant as weights in training: {tiers}.
Profile `{recipe.degradation["profile"]}`, seed {recipe.degradation["seed"]}, recipe {recipe.fingerprint}.

## From level to score
`level` is what was measured on the finished row, `level_drawn` what was aimed at; `score` (0–100) is the inverse curve of
`level`, and `valid` is false where the window has too little to show it. Levels at scores {anchors}:

| axis | dimension | unit | levels |
|---|---|---|---|
{rows}

overall_interpretation is the weighted mean of the seven.

## All parameters
```json
{json.dumps(recipe.degradation, indent=1, sort_keys=True)}
```
"""
