"""Score recordings with the heads of a finished run: MIDI, or sound with its MIDI, in windows, with intervals."""
