"""`transcribed`: the expressive measures of a transcription of the audio, for people who have no MIDI."""
