"""The phases of the training plan: each asks one question of a filled store and ends in a gate."""
