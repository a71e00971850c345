"""The room in `node.db`: how many rows it has, and which of them go when it is full.

The numbers of rows are kept in memory, since counting a million takes a moment, and counted anew after a
transaction that failed.
"""

from __future__ import annotations

from typing import Any

from mixmail.boxes.store import Rank, Usage
from mixmail.storage import driver

FORGET_AT_ONCE = 50  # remembered ids that one deletion makes give way, after the quota was lowered

# In the order of the index: a flood of equal rank must not be sorted for each record that comes.
_LOWEST = "SELECT bits, day, class, rowid FROM {} ORDER BY bits, day, class, rowid LIMIT 1"


class Space:
    """The rows of one database.  Everything that changes them is called inside of its transaction."""

    def __init__(self, connection: driver.Connection, capacity: int | None) -> None:
        self._connection = connection
        self.capacity = capacity
        self.evicted = 0
        self._kept: int | None = None
        self._remembered: int | None = None

    @property
    def kept(self) -> int:
        """How many records and entries there are."""
        if self._kept is None:
            self._kept = self._count("records") + self._count("entries")
        return self._kept

    @property
    def remembered(self) -> int:
        """How many ids of deleted entries are remembered."""
        if self._remembered is None:
            self._remembered = self._count("deleted")
        return self._remembered

    def _count(self, table: str) -> int:
        return int(self._one(f"SELECT count(*) FROM {table}")[0])

    def _one(self, sql: str, *values: object) -> Any:
        return self._connection.execute(sql, values).fetchone()

    def add(self, kept: int = 0, remembered: int = 0) -> None:
        """Rows were added or (negative) deleted; said right after it was done."""
        if self._kept is not None:
            self._kept += kept
        if self._remembered is not None:
            self._remembered += remembered

    def undo(self, evicted: int) -> None:
        """A transaction failed: what is known may be wrong; `evicted` is what it was before."""
        self.evicted = evicted
        self._kept = self._remembered = None

    def make_room(self, rank: Rank, today: int) -> bool:
        """Make sure that one more record or entry of `rank` fits, dropping one if need be; False if not.

        One goes for one that comes: a store above its quota stays above it until `shrink`.
        """
        if self.capacity is None or self.kept < self.capacity:
            return True
        for table in ("records", "entries"):
            row = self._one(f"SELECT rowid FROM {table} WHERE expiry < ? LIMIT 1", today)
            if row is not None:
                self._drop(table, row[0])
                return True
        lowest = self._lowest()
        if lowest is None or lowest[0] >= rank:
            return False
        self._evict(*lowest[1:])
        return True

    def shrink(self, limit: int) -> int:
        """Drop at most `limit` rows that are above the quota; how many it were."""
        if self.capacity is None:
            return 0
        count = max(0, min(limit, self.kept - self.capacity))
        for _ in range(count):
            lowest = self._lowest()
            assert lowest is not None  # `kept` is above 0
            self._evict(*lowest[1:])
        return count + self.forget_excess(limit - count)

    def forget_excess(self, limit: int = FORGET_AT_ONCE) -> int:
        """Forget at most `limit` of the remembered ids that are too many, those first that expire first."""
        if self.capacity is None or self.remembered <= self.capacity:
            return 0
        dropped: int = self._connection.execute(
            "DELETE FROM deleted WHERE rowid IN (SELECT rowid FROM deleted ORDER BY expiry, rowid LIMIT ?)",
            (min(limit, self.remembered - self.capacity),),
        ).rowcount
        self.add(remembered=-dropped)
        return dropped

    def usage(self) -> Usage:
        """See RecordStore.usage."""
        classes: dict[int, int] = {}
        for table in ("records", "entries"):
            sql = f"SELECT class, count(*) FROM {table} GROUP BY class"
            for klass, count in self._connection.execute(sql).fetchall():
                classes[klass] = classes.get(klass, 0) + count
        entries = self._count("entries")
        return Usage(
            self.kept - entries,
            entries,
            self.remembered,
            self.capacity,
            self.evicted,
            dict(sorted(classes.items())),
        )

    @property
    def fill(self) -> float:
        """See RecordStore.fill."""
        return 0.0 if self.capacity is None else self.kept / self.capacity

    def _lowest(self) -> tuple[Rank, str, int] | None:
        """Rank, table and row of what goes first; of equals the shorter class, a record, what came first."""
        found = []
        for table in ("records", "entries"):
            row = self._one(_LOWEST.format(table))
            if row is not None:
                found.append((tuple(row[:3]), table, row[3]))
        lowest = min(found, key=lambda one: one[0], default=None)
        return None if lowest is None else (lowest[0][:2], *lowest[1:])

    def _evict(self, table: str, row: int) -> None:
        self._drop(table, row)
        self.evicted += 1

    def _drop(self, table: str, row: int) -> None:
        self._connection.execute(f"DELETE FROM {table} WHERE rowid = ?", (row,))
        self.add(kept=-1)
