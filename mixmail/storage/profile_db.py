"""`profile.db`: the user's identities, contacts, conversations and mails, sealed with SQLCipher.

The agent owns the rows: it reads them at start and changes them by the changes of its `Persist` effects.  The
screen's lists are read here.  One thread makes and uses it.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mixmail.effects import Change, Delete, Put, Update
from mixmail.errors import LocalProtocolError
from mixmail.storage import driver

_SCHEMA = importlib.resources.files("mixmail.storage") / "schema"
SCRIPTS = tuple((_SCHEMA / f"profile_v{version}.sql").read_text("utf-8") for version in (1, 2))
NOT_LISTED = ("search_text", "eml")


class ProfileDatabase:
    """The profile in the file `path`, sealed under `key` (32 bytes).

    All calls raise the errors of `mixmail.storage.errors` (a wrong key looks like damage); LocalProtocolError
    for a table or column that the schema does not have.
    """

    def __init__(self, path: Path, key: bytes) -> None:
        self.path = path
        self.connection = driver.open_database(path, SCRIPTS, key)
        with driver.guard(path):
            self._db = driver.utils(self.connection)
            self._columns = {
                table.name: tuple(column.name for column in table.columns) for table in self._db.tables
            }
        listed = [column for column in self._columns["mails"] if column not in NOT_LISTED]
        self._listed = ", ".join(listed)

    def close(self) -> None:
        """Close the file."""
        with driver.guard(self.path):
            self.connection.close()

    # what the agent needs

    def apply(self, changes: Iterable[Change]) -> None:
        """Carry out all changes in one transaction, durable on return; nothing of them on an error."""
        statements = [self._statement(change) for change in changes]
        if not statements:
            return
        with driver.transaction(self.connection, self.path):
            for sql, values in statements:
                self.connection.execute(sql, values)

    def rows(self, table: str, where: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """The rows of a table whose columns equal `where` (all rows without it), with all their columns."""
        self._check(table, where or ())
        condition = f"WHERE {_equal(where)}" if where else ""
        with driver.guard(self.path):
            found = self._db.query(
                f"SELECT * FROM {table} {condition} ORDER BY rowid", list((where or {}).values())
            )
            return list(found)

    def _statement(self, change: Change) -> tuple[str, list[Any]]:
        """The SQL of one change.  Names come from the schema, values go in as parameters."""
        table = change.table
        given = change.row if isinstance(change, Put) else change.where
        if not given or (isinstance(change, Update) and not change.values):
            raise LocalProtocolError(f"a change of {table} that names no rows or sets nothing")
        if isinstance(change, Put):
            self._check(table, change.row)
            names, marks = ", ".join(change.row), ", ".join("?" * len(change.row))
            return f"INSERT OR REPLACE INTO {table} ({names}) VALUES ({marks})", list(change.row.values())
        self._check(table, change.where)
        where = _equal(change.where)
        if isinstance(change, Update):
            self._check(table, change.values)
            sets = ", ".join(f"{column} = ?" for column in change.values)
            values = [*change.values.values(), *change.where.values()]
            return f"UPDATE {table} SET {sets} WHERE {where}", values
        assert isinstance(change, Delete)
        return f"DELETE FROM {table} WHERE {where}", list(change.where.values())

    def _check(self, table: str, columns: Iterable[str]) -> None:
        known = self._columns.get(table)
        if known is None:
            raise LocalProtocolError(f"the profile has no table {table}")
        for column in columns:
            if column not in known:
                raise LocalProtocolError(f"the table {table} has no column {column}")

    # what the screen needs

    def list_mails(
        self, folder: str, offset: int, limit: int, search: str = ""
    ) -> tuple[int, int, list[dict[str, Any]]]:
        """A page of a folder, newest first: (number of mails, number of unread ones, rows).

        Both numbers count the whole folder under the search.  Each word of `search` must occur in subject,
        name or text.  The rows have no `eml` and no `search_text`.
        """
        where, values = "folder = ?", [folder]
        for word in search.lower().split():
            where += " AND search_text LIKE ? ESCAPE '\\'"
            escaped = word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            values.append(f"%{escaped}%")
        with driver.guard(self.path):
            total, unread = self.connection.execute(
                f"SELECT count(*), coalesce(sum(unread), 0) FROM mails WHERE {where}", values
            ).fetchone()
            rows = self._db.query(
                f"SELECT {self._listed} FROM mails WHERE {where}"
                " ORDER BY date DESC, id DESC LIMIT ? OFFSET ?",
                [*values, limit, offset],
            )
            return int(total), int(unread), list(rows)

    def get_mail(self, id: str) -> dict[str, Any] | None:
        """One mail with its `eml`; None if there is none with this id."""
        with driver.guard(self.path):
            return next(iter(self._db.query("SELECT * FROM mails WHERE id = ?", [id])), None)


def _equal(where: Iterable[str]) -> str:
    return " AND ".join(f"{column} IS ?" for column in where)
