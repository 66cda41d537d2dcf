"""MERT, an audio encoder: `spec.describe` (without torch), `model.Mert`, `reference.reference`."""
