"""`expected`: what `expressive` measures, and how expected the pedal, the lengths and the velocities of a row are."""
