"""Export: `archive.export` writes degraded MIDI, audio and labels as one reproducible archive."""
