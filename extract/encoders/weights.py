"""Find an encoder's weights: a hub id or a local folder becomes a file and its hash. Imports no torch.

Planning resolves weights once, where there is a network; extraction opens local files only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from keybed.extract.encoders import checkpoint, wheel
from keybed.extract.encoders.errors import WeightsRefused, WeightsUnreachable
from keybed.store.command import shell_line
from keybed.store.counted import counted

_CHECKPOINT_SUFFIXES = (".bin", ".safetensors", ".pt", ".pth", ".ckpt")
RANDOM = "random"
RANDOM_VERSION = 1
"""Raised whenever the same seed would give other random weights."""


@dataclass(frozen=True)
class Weights:
    """Where weights come from.

    source: the hub id, the wheel's requirement, "local" or "random". revision: the hub's commit hash; "" for local files; the size of random
    weights. sha256: of the checkpoint file, or of what random weights are drawn from. file: the checkpoint; None for
    random weights.
    """

    source: str
    revision: str
    sha256: str
    file: Path | None

    @property
    def path(self) -> str | None:
        """The checkpoint as a string, which is how a store keeps it beside its recipe."""
        return None if self.file is None else str(self.file)


def resolve(
    name: str, where: str, revision: str | None, patterns: Sequence[str], config_names: Sequence[str]
) -> tuple[Weights, Path]:
    """Find the checkpoint of encoder `name` and the folder of its configuration files.

    where: a local folder or file, or else a wheel (`wheel.WHEELS`) or a hub id (`owner/repository`). patterns: names of checkpoint files, the
    preferred one first. config_names: small files that a download fetches with it.
    Raises WeightsUnreachable where there is no checkpoint, WeightsRefused where the file is damaged.
    """
    local = Path(where).expanduser()
    plain = [pattern for pattern in patterns if "*" not in pattern]
    # Before a pattern such as *.safetensors, which would find the parts.
    first_glob = next((i for i, pattern in enumerate(patterns) if "*" in pattern), len(patterns))
    indexes = [pattern + checkpoint.INDEX for pattern in plain]
    patterns = [*patterns[:first_glob], *indexes, *patterns[first_glob:]]
    if local.exists():
        source, resolved_revision, folder = "local", "", local if local.is_dir() else local.parent
        file = _checkpoint_in(name, folder, patterns) if local.is_dir() else local
    elif where in wheel.WHEELS:
        file = wheel.find(wheel.WHEELS[where])
        source, resolved_revision, folder = where, "", file.parent
    elif _is_hub_id(where):
        parts = [f"{Path(pattern).stem}-*{Path(pattern).suffix}" for pattern in plain]
        folder = _snapshot(name, where, revision, (*patterns, *parts, *config_names))
        source, resolved_revision = where, folder.name
        file = _checkpoint_in(name, folder, patterns)
    else:
        raise WeightsUnreachable(
            f"{name}: there is no folder or file {where}, and it is not read as a hub id (owner/repository); "
            f'give a folder with the checkpoint, a hub id, or the word "random" for seeded random weights'
        )
    checkpoint.check_whole(name, file)
    # Not resolved: in the hub's cache a checkpoint is a link to a blob, and its configuration lies beside the link.
    return Weights(source, resolved_revision, checkpoint.sha256_of(name, file), file.absolute()), folder


def on_this_machine(name: str, where: str, source: str, revision: str) -> str:
    """Where an encoder's planned weights lie: the path given, or the cached snapshot of the hub id or wheel that was planned.

    Never asks the hub. source, revision: of the plan. Raises WeightsUnreachable.
    """
    if Path(where).expanduser().exists():
        return where
    if source in wheel.WHEELS:
        return str(wheel.find(wheel.WHEELS[source]))
    if where != source:
        raise WeightsUnreachable(f"{name}: there is no folder or file {where}; give the planned weights, from {source}")
    try:
        return str(_cached(repo_id=source, revision=revision))
    except Exception as error:
        raise WeightsUnreachable(
            f"{name}: this machine's cache does not hold {source} at {revision}; give the folder of the planned weights"
        ) from error


def _is_hub_id(where: str) -> bool:
    """Whether a path that does not exist can be meant as owner/repository, and not as a file that is missing."""
    owner, _, repository = where.partition("/")
    as_path = (
        where.startswith((".", "/", "~"))
        or Path(where).suffix in (*_CHECKPOINT_SUFFIXES, ".json")
        or Path(owner).exists()
    )
    return bool(owner and repository) and "/" not in repository and not as_path


def _checkpoint_in(name: str, folder: Path, patterns: Sequence[str]) -> Path:
    try:
        files = sorted(folder.iterdir())
    except OSError as error:
        raise WeightsUnreachable(
            f"{name}: {folder} cannot be read ({error.strerror}); give a folder that can"
        ) from error
    for pattern in patterns:
        # Not `glob`, which passes over a link whose file is gone.
        matches = [file for file in files if fnmatchcase(file.name, pattern)]
        if len(matches) > 1:
            raise WeightsRefused(
                f"{name}: {folder} holds {counted(len(matches), 'file')} {pattern} ({', '.join(f.name for f in matches)}); "
                f"give the full path of one of them"
            )
        if matches:
            return matches[0]
    raise WeightsUnreachable(f"{name}: {folder} holds no checkpoint; looked for {', '.join(patterns)}")


def _snapshot(name: str, hub_id: str, revision: str | None, patterns: Sequence[str]) -> Path:
    import huggingface_hub

    options: dict[str, Any] = {"repo_id": hub_id, "revision": revision, "allow_patterns": list(patterns)}
    try:
        return Path(huggingface_hub.snapshot_download(**options))
    except (
        Exception
    ) as first:  # its own, OSError, and those of whatever HTTP library its version has (a proxy's refusal)
        # The cache holds whole snapshots under their commit hash, so the spec pins the same bytes.
        try:
            return _cached(**options)
        except Exception as second:
            download = shell_line("hf", "download", hub_id, *(["--revision", revision] if revision else []))
            raise WeightsUnreachable(
                f"{name}: the hub did not give {hub_id}{f' at {revision}' if revision else ''} "
                f"({_first_line(first)}) and it is not in this machine's cache. On a machine with a network run\n"
                f"    {download} --local-dir WEIGHTS\n"
                f"copy the folder WEIGHTS here and give its path in place of {hub_id}"
            ) from second


def _cached(**options: Any) -> Path:
    """A snapshot in this machine's cache. It may lack files: what is read of it is looked for by its own name."""
    import huggingface_hub

    try:
        return Path(huggingface_hub.snapshot_download(**options, local_files_only=True))
    except huggingface_hub.errors.LocalEntryNotFoundError as error:
        # Of huggingface_hub 2: where files of the repository are missing, even if nobody asked for them.
        folder = getattr(error, "snapshot_path", None)
        if folder is None or not {file.suffix for file in Path(folder).iterdir()} & set(_CHECKPOINT_SUFFIXES):
            raise
        return Path(folder)


def _first_line(error: Exception) -> str:
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])


def read_json(name: str, file: Path) -> dict[str, Any]:
    """Read a JSON file beside a checkpoint. Raises WeightsRefused where it is absent or not a JSON object."""
    if not file.is_file():
        raise WeightsRefused(f"{name}: {file.parent} has no {file.name}; fetch the whole folder, not only the weights")
    data = file.read_bytes()
    checkpoint.check_no_pointer(name, file, data)
    content = checkpoint.json_or_empty(data)
    if not content:
        raise WeightsRefused(f"{name}: {file} is not a JSON object")
    return content


def random_weights(
    name: str, where: str, architectures: Mapping[str, dict[str, Any]], seed: int
) -> tuple[Weights, dict[str, Any]] | None:
    """Weights and architecture for `random` or `random:<size>`; None where `where` names real weights.

    architectures: by size, the default first. Raises WeightsUnreachable for an unknown size.
    """
    kind, _, size = where.partition(":")
    if kind != RANDOM:
        return None
    size = size or next(iter(architectures))
    if size not in architectures:
        raise WeightsUnreachable(f"{name}: no random weights of size {size!r}; there are {', '.join(architectures)}")
    architecture = architectures[size]
    drawn_from = {"architecture": architecture, "seed": seed, "version": RANDOM_VERSION}
    sha256 = hashlib.sha256(json.dumps(drawn_from, sort_keys=True).encode()).hexdigest()
    return Weights(RANDOM, size, sha256, None), architecture
