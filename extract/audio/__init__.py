"""Sound: FluidSynth renderings, recorded audio, loudness and waveform measures."""
