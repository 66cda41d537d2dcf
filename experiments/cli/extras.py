"""The extra of pyproject.toml that installs a missing library. Nobody needs all: heads need no torch, extraction no JAX."""

from __future__ import annotations

_LIBRARIES = {
    "extract": (
        *("torch", "transformers", "safetensors", "huggingface_hub", "pretty_midi"),
        *("mido", "fluidsynth", "soundfile", "soxr", "psutil", "numba", "sklearn"),
    ),
    "heads": ("jax", "jaxlib", "flax", "optax", "matplotlib", "jinja2"),
    "rooms": ("pyroomacoustics",),
    "rate": ("starlette", "uvicorn", "sklearn"),
}


def what_to_install(error: ModuleNotFoundError) -> str | None:
    """A sentence on how to install the library that was not found; None where no extra has it."""
    library = (error.name or "").partition(".")[0]
    extra = next((extra for extra, libraries in _LIBRARIES.items() if library in libraries), None)
    if extra is None:
        return None
    return f"this needs {library}, which is not installed; in Keybed's checkout: pip install -c constraints.txt '.[{extra}]'"
