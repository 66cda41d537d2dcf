"""Put a whole, verified store where others can read it: `publish.publish`."""
