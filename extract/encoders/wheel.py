"""Weights that a wheel on PyPI ships: fetched by `keybed fetch` into the user's cache, checked by hash. Imports no torch.

The package itself is never installed or imported: only two files are read out of its wheel.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from keybed.extract.encoders.errors import WeightsRefused, WeightsUnreachable
from keybed.store.command import command


@dataclass(frozen=True)
class WheelWeights:
    """One release of a package, and which of its files hold the weights.

    checkpoint, config: paths within the wheel, and within the folder where packages are installed.
    """

    package: str
    version: str
    wheel_sha256: str
    checkpoint: str
    checkpoint_sha256: str
    config: str
    licence: str

    @property
    def requirement(self) -> str:
        """What pip takes, and the source that a recipe names: `transkun==2.0.1`."""
        return f"{self.package}=={self.version}"

    @property
    def cached(self) -> Path:
        """Where `fetch` puts the checkpoint; its configuration lies beside it."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        return cache / "keybed" / f"{self.package}-{self.version}" / Path(self.checkpoint).name


TRANSKUN = WheelWeights(
    package="transkun",
    version="2.0.1",
    wheel_sha256="7d7f5bf88b0d21f7da0415b089cff3bcbcbdda04e1a3c9719964947942c859fe",
    checkpoint="transkun/pretrained/2.0.pt",
    checkpoint_sha256="50a80010effc2a59ffcd068a95cd2b29bd7f23a27a3515bc3ccd209c89a3d44c",
    config="transkun/pretrained/2.0.conf",
    licence="MIT; trained on MAESTRO, whose recordings are CC BY-NC-SA 4.0",
)
WHEELS = {weights.requirement: weights for weights in (TRANSKUN,)}
"""By requirement."""


def find(weights: WheelWeights) -> Path:
    """The checkpoint on this machine: the fetched one, or that of the installed package, which is not imported.

    Raises WeightsUnreachable where there is neither, WeightsRefused where it is another file than the released one.
    """
    file = weights.cached if weights.cached.is_file() else _installed(weights)
    if file is None:
        raise WeightsUnreachable(
            f"{weights.package}: its weights are not on this machine; run `{command('fetch', weights.package)}` where PyPI can "
            f"be reached, or give the wheel {weights.requirement} to `{command('fetch', weights.package, '--wheel', 'FILE')}`"
        )
    if (sha256 := _sha256(file)) != weights.checkpoint_sha256:
        raise WeightsRefused(
            f"{weights.package}: {file} has sha256 {sha256[:12]}…, that of {weights.requirement} has "
            f"{weights.checkpoint_sha256[:12]}…: it is damaged, or of another version; run `{command('fetch', weights.package)}`"
        )
    return file


def _installed(weights: WheelWeights) -> Path | None:
    spec = find_spec(weights.package)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        file = Path(folder).parent / weights.checkpoint
        if file.is_file():
            return file
    return None


def fetch(weights: WheelWeights, wheel: Path | None = None) -> Path:
    """Put the checkpoint into the user's cache and return its path; nothing is done where the right one lies there.

    wheel: a wheel that was downloaded elsewhere; without it pip downloads it, without its dependencies.
    Raises WeightsUnreachable, WeightsRefused.
    """
    target = weights.cached
    if target.is_file() and _sha256(target) == weights.checkpoint_sha256 and target.with_suffix(".conf").is_file():
        return target
    if wheel is not None:
        _unpack(weights, wheel)
        return target
    with tempfile.TemporaryDirectory(prefix="keybed-fetch-") as folder:
        _unpack(weights, _download(weights, Path(folder)))
    return target


def _download(weights: WheelWeights, folder: Path) -> Path:
    options = ["--no-deps", "--only-binary", ":all:", "--disable-pip-version-check", "--quiet", "--dest", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, weights.requirement], capture_output=True, text=True
    )
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise WeightsUnreachable(
            f"{weights.package}: pip could not download {weights.requirement} ({lines[-1] if lines else 'no wheel came'}); "
            f"where PyPI can be reached run `pip download --no-deps {weights.requirement}`, copy the wheel here and run "
            f"`{command('fetch', weights.package, '--wheel', 'FILE')}`"
        )
    return wheels[0]


def _unpack(weights: WheelWeights, wheel: Path) -> None:
    """Write checkpoint and configuration of a wheel into the cache. Raises WeightsRefused for any other wheel."""
    try:
        if (sha256 := _sha256(wheel)) != weights.wheel_sha256:
            raise WeightsRefused(
                f"{weights.package}: {wheel} has sha256 {sha256[:12]}…, the wheel of {weights.requirement} on PyPI has "
                f"{weights.wheel_sha256[:12]}…; download it again"
            )
        with zipfile.ZipFile(wheel) as archive:
            contents = {Path(name).name: archive.read(name) for name in (weights.config, weights.checkpoint)}
    except OSError as error:
        raise WeightsUnreachable(
            f"{weights.package}: {wheel} cannot be read ({error.strerror or error}); give the path of the wheel"
        ) from error
    folder = weights.cached.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            # Beside it and then renamed, so that two processes that fetch at once both leave a whole file.
            part = folder / f"{name}.{os.getpid()}.part"
            part.write_bytes(content)
            part.replace(folder / name)
    except OSError as error:
        raise WeightsUnreachable(
            f"{weights.package}: {folder} cannot be written ({error.strerror or error}); set XDG_CACHE_HOME to a folder "
            f"that can"
        ) from error


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
