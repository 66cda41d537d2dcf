"""Ratings in SQLite, append-only: every save stays, the newest edit counts, a repeated save is stored once.

Each call opens its own connection, so threads share none; a save is on disk before it is acknowledged.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from keybed.experiments.listening.app.ratings import Rating
from keybed.store.errors import KeybedError

_TABLE = """
CREATE TABLE IF NOT EXISTS save (
  rater TEXT NOT NULL,
  position INTEGER NOT NULL,
  edit INTEGER NOT NULL,
  save_id TEXT NOT NULL,
  scores TEXT NOT NULL,
  done INTEGER NOT NULL,
  listened_s REAL NOT NULL,
  plays INTEGER NOT NULL,
  saved_at TEXT NOT NULL,
  PRIMARY KEY (rater, position, edit),
  UNIQUE (rater, position, save_id)
) STRICT
"""
_CONSENT_TABLE = """
CREATE TABLE IF NOT EXISTS consent (
  rater TEXT NOT NULL,
  text_sha256 TEXT NOT NULL,
  agreed_at TEXT NOT NULL,
  PRIMARY KEY (rater, text_sha256)
) STRICT
"""
_COLUMNS = "save_id, edit, scores, done, listened_s, plays"


class EditConflict(Exception):
    """Another browser window saved this presentation first; `current` is its rating."""

    def __init__(self, current: Rating) -> None:
        super().__init__(f"edit {current.edit} exists already")
        self.current = current


class DatabaseUnusable(KeybedError):
    """SQLite cannot read or write the file of ratings."""


class Database:
    """The ratings of one set."""

    def __init__(self, path: Path) -> None:
        """Open or make the file. This and every call raise DatabaseUnusable where SQLite cannot use it."""
        self.path = path
        with self._connection() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(_TABLE)
            connection.execute(_CONSENT_TABLE)

    def save(self, rater: str, position: int, rating: Rating) -> Rating:
        """Append one edit and return the rating that now counts. Saving the same save_id again changes nothing.

        Raises EditConflict where the edit is not the one after the newest.
        """
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            if self._find(connection, rater, position, "AND save_id = ?", rating.save_id):
                newest = self._newest(connection, rater, position)
                connection.execute("COMMIT")
                assert newest is not None
                return newest
            newest = self._newest(connection, rater, position)
            if rating.edit != (newest.edit if newest else 0) + 1:
                connection.execute("ROLLBACK")
                raise EditConflict(newest or Rating("none-yet", 0, {}, False, 0.0, 0))
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            scores = json.dumps(dict(rating.scores))
            values = (
                rater,
                position,
                rating.save_id,
                rating.edit,
                scores,
                rating.done,
                rating.listened_s,
                rating.plays,
                now,
            )
            connection.execute(
                f"INSERT INTO save (rater, position, {_COLUMNS}, saved_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                values,
            )
            connection.execute("COMMIT")
            return rating

    def current(self, rater: str) -> dict[int, Rating]:
        """Position → the newest rating, of one rater."""
        with self._connection() as connection:
            rows = connection.execute(
                f"SELECT position, {_COLUMNS} FROM save WHERE rater = ? ORDER BY position, edit",  # noqa: S608
                (rater,),
            ).fetchall()
        return {row[0]: _rating(row[1:]) for row in rows}

    def agree(self, rater: str, text_sha256: str) -> None:
        """Record that a rater agreed to the text of consent with this hash; a second time changes nothing."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._connection() as connection:
            connection.execute("INSERT OR IGNORE INTO consent VALUES (?, ?, ?)", (rater, text_sha256, now))

    def has_agreed(self, rater: str, text_sha256: str) -> bool:
        """Whether the rater agreed to the text of consent with this hash; True for "", which asks for nothing."""
        if not text_sha256:
            return True
        with self._connection() as connection:
            found = connection.execute(
                "SELECT 1 FROM consent WHERE rater = ? AND text_sha256 = ?", (rater, text_sha256)
            ).fetchone()
        return found is not None

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=15, isolation_level=None)) as connection:
                connection.execute("PRAGMA synchronous = FULL")
                yield connection
        except sqlite3.DatabaseError as error:
            raise DatabaseUnusable(
                f"{self.path}: {error}; check the disk and the file's owner, or copy the file again from a backup"
            ) from error

    def _newest(self, connection: sqlite3.Connection, rater: str, position: int) -> Rating | None:
        return self._find(connection, rater, position, "ORDER BY edit DESC LIMIT 1")

    def _find(
        self, connection: sqlite3.Connection, rater: str, position: int, clause: str, *values: str
    ) -> Rating | None:
        row = connection.execute(
            f"SELECT {_COLUMNS} FROM save WHERE rater = ? AND position = ? {clause}",  # noqa: S608
            (rater, position, *values),
        ).fetchone()
        return _rating(row) if row else None


def _rating(row: tuple[str, int, str, int, float, int]) -> Rating:
    save_id, edit, scores, done, listened_s, plays = row
    return Rating(save_id, edit, json.loads(scores), bool(done), listened_s, plays)
