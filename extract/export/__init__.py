"""`keybed export`: degraded MIDI, audio and labels as one archive."""
