"""MIDIBert, the MIDI encoder: `spec` describes it without torch, `cp_tokens` makes its input, `model` computes it."""
