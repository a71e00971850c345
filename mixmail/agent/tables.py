"""The tables of a profile and their primary keys: what the agent persists and gets back at start.

The columns stand, each with a comment, in `mixmail/storage/schema/`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mixmail.effects import Change, Delete, Put, Update

PRIMARY_KEYS: dict[str, tuple[str, ...]] = {
    "identities": ("id",),
    "prekeys": ("identity", "week"),
    "inboxes": ("identity", "salt"),
    "profiles_published": ("identity", "kind", "week"),
    "contacts": ("id",),
    "sessions": ("id",),
    "mails": ("id",),
    "outgoing": ("id",),
    "incoming": ("session", "message", "part"),
    "seen": ("id",),
    "drafts": ("id",),
    "settings": ("name",),
}

REQUESTS = "requests"
INCOMING = ("inbox", REQUESTS)
"""The folders of mails that came: of contacts, and of strangers about whom the user has not decided."""

Row = dict[str, Any]
Rows = dict[str, list[Row]]


def apply_change(tables: dict[str, dict[tuple[Any, ...], Row]], change: Change) -> None:
    """Apply one change to tables held in memory: the meaning every store must give it."""
    table = tables.setdefault(change.table, {})
    if isinstance(change, Put):
        key = tuple(change.row[column] for column in PRIMARY_KEYS[change.table])
        table[key] = dict(change.row)
        return
    matching = [key for key, row in table.items() if _matches(row, change.where.items())]
    for key in matching:
        if isinstance(change, Update):
            table[key].update(change.values)
        elif isinstance(change, Delete):
            del table[key]


def _matches(row: Row, where: Iterable[tuple[str, Any]]) -> bool:
    return all(row.get(column) == value for column, value in where)
