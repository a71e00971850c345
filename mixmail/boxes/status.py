"""What a home, a proxy or a courier says about a request (docs/protocol/store.md, "Status")."""

from __future__ import annotations

import enum

from mixmail.errors import RemoteProtocolError


class Status(enum.IntEnum):
    """One byte on the wire."""

    OK = 0  # found; or the identical record was there already; or done
    STORED = 1  # the record is new here and was stored
    EXISTS = 2  # another record is at this key and stays
    NOT_FOUND = 3
    BAD_SIGNATURE = 4
    BAD_STAMP = 5
    EXPIRED = 6
    FULL = 7  # no room for an entry with so few bits
    REFUSED = 8  # against the rules: type, class, day, token
    TRY_LATER = 9  # nobody answered, or the node is busy

    @classmethod
    def parse(cls, value: int) -> Status:
        """The status with this byte; RemoteProtocolError if there is none."""
        status = _STATUSES.get(value)
        if status is None:
            raise RemoteProtocolError(f"no status has the number {value}")
        return status

    @property
    def acknowledges(self) -> bool:
        """True if a home that says so holds the record that was written."""
        return self in (Status.OK, Status.STORED)


_STATUSES = {int(status): status for status in Status}
