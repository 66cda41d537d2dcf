"""The kind of machine that computes: processor, GPU and library versions.

Features repeat bit by bit on one kind of machine and differ slightly between kinds.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from keybed.extract.encoders.base import Encoder

_INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "asimd", "sve")


def machine_kind(encoders: Sequence[Encoder] = ()) -> dict[str, str]:
    """Processor, its vector instructions, GPU and library versions, and how each encoder runs here.

    The GPU is read from torch, and only where torch is already imported.
    """
    kind = {"processor": platform.machine(), "instructions": "", "gpu": "none", "python": platform.python_version()}
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = dict(line.split(":", 1) for line in cpuinfo.read_text().split("\n\n")[0].splitlines() if ":" in line)
        facts = {key.strip(): value.strip() for key, value in lines.items()}
        kind["processor"] = facts.get("model name", kind["processor"])
        flags = (facts.get("flags") or facts.get("Features") or "").split()
        kind["instructions"] = " ".join(flag for flag in _INSTRUCTION_SETS if flag in flags)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        kind["gpu"] = torch.cuda.get_device_name()
    for package in ("numpy", "scipy", "torch", "triton", "transformers"):
        try:
            kind[package] = version(package)
        except PackageNotFoundError:
            kind[package] = "absent"
    kind |= {f"{encoder.spec.name} runs": encoder.execution for encoder in encoders}
    return kind
