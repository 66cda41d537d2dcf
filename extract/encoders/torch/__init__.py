"""What the encoders share on the torch side: device, dtype, checkpoints, compilation and transfers."""
