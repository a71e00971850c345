"""The one place that knows the database driver.

Both databases go through sqlcipher3: without a key it is ordinary SQLite.  Traps, all met:

- Its exceptions are not those of `sqlite3`: `guard` turns them into the errors of this package.
- sqlite-utils takes `pysqlite3` if there is one, else `sqlite3`: so sqlcipher3 stands under that name
  before sqlite-utils is imported, and only here it is imported.
- A wrong key makes SQLCipher write to stderr unless `cipher_log_level` comes before anything else.
- Temporary tables and sorts would go to disk unencrypted: `temp_store` is memory.
- After "disk full" SQLite may have rolled the whole transaction back by itself.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlcipher3
from sqlcipher3 import dbapi2

from mixmail.storage.errors import Busy, Damaged, DiskError, DiskFull, Newer

sys.modules["pysqlite3"] = sqlcipher3
sys.modules["pysqlite3.dbapi2"] = dbapi2
from sqlite_utils import Database  # noqa: E402  (must come after the two lines above)

Connection = Any  # dbapi2.Connection; the driver has no types

DatabaseFault = dbapi2.Error
BUSY_SECONDS = 5.0  # how long to wait for a reader from another process, such as a backup
KEY_BYTES = 32

_FULL, _CORRUPT, _NOT_A_DATABASE, _BUSY, _LOCKED = 13, 11, 26, 5, 6
_IO, _READ_ONLY, _CANNOT_OPEN, _PERMISSION = 10, 8, 14, 3


@contextlib.contextmanager
def guard(path: Path) -> Iterator[None]:
    """Turn what the driver raises about the file `path` into DiskFull, Damaged, DiskError or Busy.

    Mistakes of our own (wrong SQL, a broken constraint) pass through as they are.
    """
    try:
        yield
    except dbapi2.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == _FULL:
            raise DiskFull(path) from error
        if code in (_CORRUPT, _NOT_A_DATABASE):
            raise Damaged(path, error) from error
        if code in (_BUSY, _LOCKED):
            raise Busy(path) from error
        if code in (_IO, _READ_ONLY, _CANNOT_OPEN, _PERMISSION):
            raise DiskError(path, error) from error
        raise


def open_database(path: Path, scripts: tuple[str, ...], key: bytes | None = None) -> Connection:
    """A connection to `path` with the newest schema, made or upgraded if need be.

    `scripts[0]` makes version 1, `scripts[n]` turns version n into n + 1; the version is kept in
    `user_version`.  Before an upgrade the file is copied to `NAME.v{old version}`.  A database is made under
    another name and moved into place, so an empty or half-made file under `path` is always damage.
    """
    if not path.exists():
        _make(path, scripts, key)
    connection = _connect(path, key)
    try:
        with guard(path):
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            if version > len(scripts):
                raise Newer(path)
            if version < len(scripts):
                _back_up(connection, path, version)
                _run(connection, scripts, version)
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def transaction(connection: Connection, path: Path) -> Iterator[None]:
    """All or nothing, durable at the end; the errors of `guard`."""
    with guard(path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def utils(connection: Connection) -> Database:
    """The sqlite-utils view of a connection."""
    return Database(connection, recursive_triggers=False, execute_plugins=False)


def _connect(path: Path, key: bytes | None, *, fresh: bool = False) -> Connection:
    with guard(path):
        connection = dbapi2.connect(str(path), timeout=BUSY_SECONDS, isolation_level=None)
        try:
            connection.execute("PRAGMA cipher_log_level = NONE")
            if key is not None:
                if len(key) != KEY_BYTES:
                    raise ValueError(f"the key has {len(key)} bytes, not {KEY_BYTES}")
                connection.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
            connection.execute("PRAGMA temp_store = MEMORY")
            # Reads, and so shows damage or a wrong key, before anything is written.
            tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if not tables and not fresh:
                raise Damaged(path, "it is empty")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
        except BaseException:
            connection.close()
            raise
        return connection


def _make(path: Path, scripts: tuple[str, ...], key: bytes | None) -> None:
    fresh = path.with_name(path.name + ".new")
    try:
        for name in (fresh, Path(f"{fresh}-wal"), Path(f"{fresh}-shm")):
            name.unlink(missing_ok=True)
        # Made here for its mode: only its owner ever reads it, also between the first byte and the last.
        os.close(os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        connection = _connect(fresh, key, fresh=True)
        try:
            with guard(path):
                _run(connection, scripts, 0)
        finally:
            connection.close()
        fresh.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise DiskError(path, error.strerror) from error


def _run(connection: Connection, scripts: tuple[str, ...], version: int) -> None:
    for number in range(version, len(scripts)):
        try:
            connection.executescript(
                f"BEGIN;\n{scripts[number]}\nPRAGMA user_version = {number + 1};\nCOMMIT;"
            )
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _back_up(connection: Connection, path: Path, version: int) -> None:
    """The bytes as they are (sealed, if it is sealed) once everything is in the one file."""
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    replace_file(path.with_name(f"{path.name}.v{version}"), path.read_bytes())


def replace_file(path: Path, data: bytes) -> None:
    """Write a file (mode 0600) so that after a crash there is the old one or the new one."""
    fresh = path.with_name(path.name + ".new")
    try:
        fresh.unlink(missing_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise DiskError(path, error.strerror) from error


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
