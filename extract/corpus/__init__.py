"""Which recordings there are: MAESTRO's metadata, pieces, splits and the parsed MIDI of each recording."""
