"""What a pianist would do with such notes: models that learnt pedalling, lengths and velocities from undegraded playing."""
