"""`keybed phase5 serve`: serve the rating page from this machine, or write it as folders for raters without a connection."""

from __future__ import annotations

import shutil

from rich.console import Console
from rich.table import Table

from keybed.experiments.listening.app.database import Database
from keybed.experiments.listening.app.offline import write_offline
from keybed.experiments.listening.app.rating_set import RatingSet, read_set
from keybed.experiments.listening.config import ServeConfig
from keybed.store.command import command
from keybed.store.errors import KeybedError


def links(config: ServeConfig, rating_set: RatingSet) -> dict[str, str]:
    """Rater → personal link."""
    host = f"[{config.host}]" if ":" in config.host else config.host
    base = (config.public_url or f"http://{host}:{config.port}").rstrip("/")
    return {rater: f"{base}/r/{token}/" for rater, token in rating_set.tokens.items()}


def serve(config: ServeConfig, console: Console) -> None:
    """Serve until stopped, or write the offline folders and return."""
    rating_set = read_set(config.folder)
    if config.static:
        out = config.folder / "static"
        if out.exists():
            shutil.rmtree(out)
        for rater, folder in write_offline(rating_set, out).items():
            console.print(f"{rater}: {folder / 'index.html'}", highlight=False)
        console.print(
            f"Send each rater their own folder. Put the files they send back into {rating_set.returned}, "
            f"then run: {command('phase5', 'ingest', config.folder)}",
            highlight=False,
        )
        return
    import uvicorn

    from keybed.experiments.listening.app.http_server import server_config
    from keybed.experiments.listening.app.server import build_app

    database = Database(rating_set.database)
    app = build_app(rating_set, database, allowed_hosts=_hosts(config))
    server = uvicorn.Server(server_config(app, config.host, config.port, config.proxy))
    console.print(_links_table(config, rating_set, database))
    console.print(
        f"Stop with Ctrl-C; ratings are kept. Then run: {command('phase5', 'ingest', config.folder)}",
        highlight=False,
    )
    try:
        server.run()
    except SystemExit as stopped:
        raise KeybedError(
            f"cannot listen on {config.host}:{config.port}; another program may use it, so give another --port"
        ) from stopped


def _links_table(config: ServeConfig, rating_set: RatingSet, database: Database) -> Table:
    table = Table("rater", "rated", title="Personal links (each rates as that rater)")
    table.add_column("link", overflow="fold")  # a link that is cut short opens nothing
    for rater, link in links(config, rating_set).items():
        done = sum(r.done for r in database.current(rater).values())
        table.add_row(rater, f"{done} of {len(rating_set.orders[rater])}", link)
    return table


def _hosts(config: ServeConfig) -> list[str]:
    """Host names that a request may carry; any where the server listens on every interface (tokens protect it then)."""
    if config.host in ("0.0.0.0", "::"):  # noqa: S104
        return ["*"]
    named = [config.public_url.split("//")[-1].split("/")[0].rsplit(":", 1)[0]] if config.public_url else []
    return ["127.0.0.1", "localhost", "[::1]", config.host, *named]
