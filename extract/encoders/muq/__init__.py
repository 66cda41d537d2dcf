"""MuQ, an audio encoder: specification (without torch), log-mel spectrogram, layers and model."""
