"""MuQ, an audio encoder: `spec.describe` (without torch), `spectrogram`, `layers`, `model.Muq`, `reference.reference`."""
