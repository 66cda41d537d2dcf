"""MuQ, an audio encoder: its specification without torch, its log-mel front end, its conformer and its model."""
