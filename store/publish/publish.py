"""`keybed publish`: upload a whole, verified store to a dataset repository on Hugging Face.

The repository gets the store's files but for claims, logs and paths of this machine, a dataset card, Croissant metadata, and
files.txt, the list of files. huggingface_hub uploads: an interrupted upload goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from keybed.store.check.verify import VerifyConfig, verify
from keybed.store.command import command
from keybed.store.counted import counted
from keybed.store.errors import StoreError
from keybed.store.option import Option
from keybed.store.publish.card import croissant, dataset_card
from keybed.store.publish.licences import terms
from keybed.store.read.opening import open_store
from keybed.store.read.store import Store
from keybed.store.remote.address import EXTRA, hub_errors, parse
from keybed.store.remote.mirror import cache_folder
from keybed.store.remote.open import LISTING

LEFT_OUT = ("claims", "logs", "places.json")
"""Top-level names that are not published: who works on what, and paths of this machine."""


class PublishRefused(StoreError):
    """A store that is not published as asked."""


@dataclass(frozen=True)
class PublishConfig:
    """What to publish, and where."""

    store: Annotated[Path, Option("folder of the store", metavar="STORE", positional=True)]
    url: Annotated[str, Option("hf://datasets/OWNER/NAME", metavar="URL", positional=True)]
    confirm_licences: Annotated[
        bool, Option("you may publish what the store holds of the corpus and of the encoders")
    ] = False
    private: Annotated[bool, Option("make a repository that only its members can read")] = False


def files_of(store: Path) -> list[str]:
    """Paths within the store of all files that are published, sorted."""
    files = (file.relative_to(store).as_posix() for file in store.rglob("*") if file.is_file())
    return sorted(
        name for name in files if name.split("/")[0] not in LEFT_OUT and not name.rpartition("/")[2].startswith(".")
    )


def publish(config: PublishConfig, say: Callable[[str], None]) -> str:
    """Verify, then upload; returns the URL to open. Raises PublishRefused, StoreError.

    say: takes each line about what is being done.
    """
    address = parse(config.url)
    if address.scheme != "hf" or address.revision:
        raise PublishRefused(
            f"{config.url}: stores are published to hf://datasets/OWNER/NAME. Copy a store to S3 or a web server with "
            "its own tools, for example `aws s3 sync STORE s3://BUCKET/FOLDER`; it can be read from there"
        )
    store = open_store(config.store)
    if not config.confirm_licences:
        raise PublishRefused(
            "A published store holds:\n"
            + "\n".join(f"  {line}" for line in terms(store.recipe))
            + "\nIf you may publish all of it, run the command again with --confirm-licences"
        )
    hub = _Hub(address.place)
    hub.check_token()
    hub.check_recipe(store)
    say(f"verifying {config.store} ({counted(store.n_shards, 'shard')})")
    report = verify(VerifyConfig(store=config.store))
    if not report.sound:
        raise PublishRefused(
            f"{config.store} is not whole or not sound, so it is not published: "
            f"`{command('verify', config.store)}` lists what is wrong"
        )
    staged = stage(store, address.place)
    names = files_of(config.store)
    n_bytes = sum((config.store / name).stat().st_size for name in names)
    say(f"uploading {counted(len(names), 'file')}, {n_bytes / 1e9:,.2f} GB, to {address.url}")
    hub.upload(staged, private=config.private)
    shutil.rmtree(staged, ignore_errors=True)
    return address.url


def stage(store: Store, place: str) -> Path:
    """A folder of links to the published files, with card, Croissant metadata and list of files beside them."""
    names = files_of(store.path)
    folder = cache_folder().with_name("publish") / f"{place.replace('/', '--')}-{store.fingerprint[:12]}"
    shutil.rmtree(folder, ignore_errors=True)
    for name in names:
        link = folder / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(store.path / name)
    recipe_sha256 = hashlib.sha256((store.path / "recipe.json").read_bytes()).hexdigest()
    (folder / "README.md").write_text(dataset_card(store, place), encoding="utf-8")
    (folder / "croissant.json").write_text(
        json.dumps(croissant(store, place, recipe_sha256), indent=1), encoding="utf-8"
    )
    (folder / LISTING).write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return folder


class _Hub:
    """One dataset repository, through huggingface_hub."""

    def __init__(self, place: str) -> None:
        try:
            import huggingface_hub
        except ImportError as error:
            raise PublishRefused(f"publishing needs huggingface_hub: {EXTRA}") from error
        self.place, self.library = place, huggingface_hub
        self.api: Any = huggingface_hub.HfApi()

    def check_token(self) -> None:
        """Raises PublishRefused where this user has no token."""
        if not self.library.get_token():
            raise PublishRefused(
                "no Hugging Face token is found: `hf auth login` stores one, or set HF_TOKEN; it needs the right to write"
            )

    def check_recipe(self, store: Store) -> None:
        """Raises PublishRefused where the repository holds another store, or something else."""
        with self._named_errors("looking at the repository"):
            if not self.api.repo_exists(self.place, repo_type="dataset"):
                return
            files = self.api.list_repo_files(self.place, repo_type="dataset")
            if "recipe.json" not in files:
                others = [name for name in files if name not in (".gitattributes", "README.md")]
                if others:
                    raise PublishRefused(
                        f"hf://datasets/{self.place} holds other files ({others[0]} …) and no store; give another name"
                    )
                return
            path = self.api.hf_hub_download(self.place, "recipe.json", repo_type="dataset")
        try:
            theirs = str(json.loads(Path(path).read_bytes())["fingerprint"])
        except (ValueError, KeyError, TypeError) as error:
            raise PublishRefused(
                f"hf://datasets/{self.place}: its recipe.json is damaged; give another name"
            ) from error
        if theirs != store.fingerprint:
            raise PublishRefused(
                f"hf://datasets/{self.place} holds a store of another recipe ({theirs[:12]}…; {store.path} has "
                f"{store.fingerprint[:12]}…); give another name"
            )

    def upload(self, folder: Path, *, private: bool) -> None:
        """Make the repository where there is none, and upload the folder."""
        with self._named_errors("uploading"):
            self.api.create_repo(self.place, repo_type="dataset", private=private, exist_ok=True)
            self.api.upload_folder(
                repo_id=self.place,
                repo_type="dataset",
                folder_path=os.fspath(folder),
                commit_message="Publish a Keybed store",
            )

    @contextmanager
    def _named_errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except hub_errors() as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise PublishRefused(
                f"hf://datasets/{self.place}: {doing} failed ({first[:200]}); check the name, your token's rights and the "
                "connection, then run the same command again: what has arrived is not sent again"
            ) from error
