"""What the homes of a network have on disk, read beside their daemons."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

from mixmail.boxes.record import Record
from mixmail.storage import profile_key
from mixmail.storage.profile_db import ProfileDatabase


def homes_of(folder: Path) -> list[Path]:
    """All homes below a folder."""
    return [path for path in sorted(folder.iterdir()) if (path / "node.key").exists()]


def keepers(folder: Path, record: Record) -> list[str]:
    """Which homes of the network hold the record under a valid signature.

    An entry of an inbox queue may have been read and deleted by its owner already: then its id stands there.
    """
    return [home.name for home in homes_of(folder) if _keeps(home / "node.db", record)]


def _keeps(database: Path, record: Record) -> bool:
    """Read by Python's own SQLite."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:

        def rows(sql: str, *values: bytes) -> list[tuple[bytes]]:
            return connection.execute(sql, values).fetchall()

        found = rows("SELECT record FROM records WHERE key = ?", record.key)
        found += rows("SELECT record FROM entries WHERE queue = ?", record.key)
        deleted = rows("SELECT id FROM deleted WHERE queue = ?", record.key)
    kept = [Record.parse(raw) for (raw,) in found]
    assert all(one.check_signature() for one in kept)
    return any(one.identical(record) for one in kept) or (record.entry_id,) in deleted


def profile_rows(home: Path, table: str, **where: Any) -> list[dict[str, Any]]:
    """Rows of the profile of a daemon that does not run."""
    database = ProfileDatabase(home / "profile.db", profile_key.load(home / "profile.key"))
    try:
        return database.rows(table, where)
    finally:
        database.close()
