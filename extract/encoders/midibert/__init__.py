"""MIDIBert, a MIDI encoder: `spec.describe`, `cp_tokens.tokenize` (without torch), `model.MidiBert`, `reference.reference`."""
