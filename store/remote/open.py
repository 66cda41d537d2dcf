"""Bring the small files of a remote store, so that its mirror can be opened as a store."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

from keybed.store.disk.json_files import read_json_object
from keybed.store.errors import NotAStore
from keybed.store.format import shards
from keybed.store.format.layout import Layout
from keybed.store.format.recipe import Recipe
from keybed.store.remote.address import Remote, parse
from keybed.store.remote.mirror import AT_ONCE, Mirror

LISTING = "files.txt"
"""File with the names of all files, one a line, for servers that give no listing. `keybed publish` writes it."""
FIRST_FILES = ("recipe.json", "features.zarr/zarr.json", "commits/plan.json", "recordings.json")


def mirror_of(url: str) -> Mirror:
    """The mirror of the store at a URL, with its records, metadata and commits. Raises RemoteRefused, RemoteUnreachable, NotAStore."""
    mirror = Mirror(Remote(parse(url)))
    layout = Layout(mirror.root)
    if mirror.listing is None and mirror.has(LISTING):
        names = (mirror.root / LISTING).read_text(encoding="utf-8", errors="replace").split("\n")
        mirror.listing = frozenset(name for name in names if name)
    if mirror.fixed and layout.machine_paths.is_file():
        return mirror
    before = layout.recipe.read_bytes() if layout.recipe.is_file() else None
    try:
        mirror.fetch_all(list(FIRST_FILES))
    except FileNotFoundError as error:
        raise NotAStore(f"{mirror.url} is no store, or not all of one: {error} is missing") from error
    if before is not None and layout.recipe.read_bytes() != before:
        mirror.clear()
        mirror.fetch_all(list(FIRST_FILES))
    try:
        planned = read_json_object(layout.plan_commit)["objects"]
        recipe = Recipe.from_json(read_json_object(layout.recipe)["recipe"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotAStore(f"{mirror.url}: recipe.json or commits/plan.json cannot be read ({error})") from error
    layers, derived = _beside(mirror)
    small = [name for name in planned if name.endswith(".json") and name not in FIRST_FILES]
    try:
        mirror.fetch_all([*small, *layers, *derived])
    except FileNotFoundError as error:
        raise NotAStore(f"{mirror.url} is not all of a store: {error} is missing") from error
    n_shards = shards.count(recipe.n_rows, recipe.shard_rows)
    added = sorted({name.split("/")[1] for name in layers if name.startswith("commits/")})
    for layer in (None, *added):
        _bring_commits(mirror, layout.of_layer(layer), n_shards)
    layout.machine_paths.write_text(json.dumps({}), encoding="utf-8")  # paths of another machine are not published
    return mirror


def _beside(mirror: Mirror) -> tuple[list[str], list[str]]:
    """Files of added and dropped encoders, and metadata of derived arrays; none without a listing."""
    names = sorted(mirror.listing or ())
    layers = [n for n in names if n.startswith("layers/") or (n.startswith("commits/") and n.endswith("/plan.json"))]
    derived = [n for n in names if n.startswith("features.zarr/derived/") and n.endswith("/zarr.json")]
    return [name for name in layers if name != "commits/plan.json"], derived


def _bring_commits(mirror: Mirror, layout: Layout, n_shards: int) -> None:
    """Fetch the commits of one layer. Where one has changed, what the mirror holds of its shard is forgotten."""

    def bring(shard: int) -> None:
        file = layout.commit_of(shard)
        name = file.relative_to(mirror.root).as_posix()
        before = file.read_bytes() if file.is_file() else None
        try:
            if mirror.listing is not None and name not in mirror.listing:
                raise FileNotFoundError(name)
            mirror.fetch(name)
        except FileNotFoundError:
            file.unlink(missing_ok=True)
        if before is not None and (not file.is_file() or file.read_bytes() != before):
            mirror.drop(_objects(before, layout, shard))

    layout.commits.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="commits") as workers:
        list(workers.map(bring, range(n_shards)))


def _objects(commit: bytes, layout: Layout, shard: int) -> list[str]:
    """Paths within the store of the files that a commit lists."""
    try:
        return [f"features.zarr/{path}" for path in json.loads(commit)["objects"]]
    except (ValueError, KeyError, TypeError):
        return [f.relative_to(layout.root).as_posix() for f in layout.features.glob(f"**/c.{shard}.*")]
