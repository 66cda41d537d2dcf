"""Audio of a row: FluidSynth renderings (`render.Renderer`) or windows of recordings (`recorded.Recorder`).

Both return a `waveform.RenderedRow`.
"""
