"""Notes, pedal, MIDI files, and what is measured on them: beats, harmony, loudness trend, difficulty. Degrades nothing."""
