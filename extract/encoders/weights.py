"""Find an encoder's weights: a hub id or a local folder becomes a file and its hash. Imports no torch.

Planning resolves weights once, where there is a network; extraction opens local files only.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keybed.extract.encoders.errors import WeightsRefused, WeightsUnreachable
from keybed.store.command import shell_line
from keybed.store.counted import counted

RANDOM = "random"
RANDOM_VERSION = 1
"""Raised whenever the same seed would give other random weights."""


@dataclass(frozen=True)
class Weights:
    """Where weights come from.

    source: the hub id, "local" or "random". revision: the hub's commit hash; "" for local files; the size of random
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

    where: a local folder or file, or else a hub id (`owner/repository`). patterns: names of checkpoint files, the
    preferred one first. config_names: small files that a download fetches with it.
    Raises WeightsUnreachable where there is no checkpoint, WeightsRefused where the file is damaged.
    """
    local = Path(where).expanduser()
    if local.exists():
        source, resolved_revision, folder = "local", "", local if local.is_dir() else local.parent
        file = _checkpoint_in(name, folder, patterns) if local.is_dir() else local
    elif where.count("/") == 1 and not where.startswith((".", "/", "~")):
        folder = _snapshot(name, where, revision, (*patterns, *config_names))
        source, resolved_revision = where, folder.name
        file = _checkpoint_in(name, folder, patterns)
    else:
        raise WeightsUnreachable(
            f"{name}: there is no folder or file {where}, and it is no hub id (owner/repository); "
            f'give a folder with the checkpoint, a hub id, or the word "random" for seeded random weights'
        )
    check_whole(name, file)
    return Weights(source, resolved_revision, sha256_of(file), file.resolve()), folder.resolve()


def _checkpoint_in(name: str, folder: Path, patterns: Sequence[str]) -> Path:
    for pattern in patterns:
        matches = sorted(folder.glob(pattern))
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
            return Path(huggingface_hub.snapshot_download(**options, local_files_only=True))
        except Exception as second:
            download = shell_line("hf", "download", hub_id, *(["--revision", revision] if revision else []))
            raise WeightsUnreachable(
                f"{name}: the hub did not give {hub_id}{f' at {revision}' if revision else ''} "
                f"({_first_line(first)}) and it is not in this machine's cache. On a machine with a network run\n"
                f"    {download} --local-dir WEIGHTS\n"
                f"copy the folder WEIGHTS here and give its path in place of {hub_id}"
            ) from second


def _first_line(error: Exception) -> str:
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])


def check_whole(name: str, file: Path) -> None:
    """Raise WeightsRefused where a checkpoint is truncated: its zip has no directory, or its tensors end too early."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        head = opened.read(8)
        if file.suffix == ".safetensors":
            length = struct.unpack("<Q", head)[0] if len(head) == 8 else size
            header = _json_or_empty(opened.read(length)) if length < size else {}
            end = max((t["data_offsets"][1] for k, t in header.items() if k != "__metadata__"), default=-1)
            whole = end >= 0 and size == 8 + length + end
        else:
            # torch.save writes a zip since 1.6; before that, a bare pickle, whose end only its reader can know.
            whole = zipfile.is_zipfile(file) if head.startswith(b"PK") else head.startswith(b"\x80")
    if not whole:
        raise WeightsRefused(
            f"{name}: {file} ({size:,} bytes) is cut short or is no checkpoint; remove it and download it again"
        )


def _json_or_empty(data: bytes) -> dict[str, Any]:
    try:
        content = json.loads(data)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def sha256_of(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def read_json(name: str, file: Path) -> dict[str, Any]:
    """Read a JSON file beside a checkpoint. Raises WeightsRefused where it is absent or not a JSON object."""
    if not file.is_file():
        raise WeightsRefused(f"{name}: {file.parent} has no {file.name}; fetch the whole folder, not only the weights")
    content = _json_or_empty(file.read_bytes())
    if not content:
        raise WeightsRefused(f"{name}: {file} is not a JSON object")
    return content


def random_weights(
    name: str, where: str, architectures: dict[str, dict[str, Any]], seed: int
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
