"""Torch code that the big encoders share: device, dtype, checkpoints, pooling, compilation and transfers."""
