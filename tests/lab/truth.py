"""What the outbox and the inbox say, held against what really happened in a lab network."""

from __future__ import annotations

from collections import Counter

from mixmail.boxes.record import FIRST, Record, RecordType
from mixmail.effects import Frame, Persist, Put, Update
from mixmail.lab.network import LabHost, LabNetwork
from mixmail.node.wire import Kind


def holders(lab: LabNetwork, record: Record) -> list[int]:
    """The hosts whose store has this very record (or had it, until the owner of the queue deleted it)."""
    return [host.number for host in lab.hosts if _holds(host, record)]


def _holds(host: LabHost, record: Record) -> bool:
    if record.type is not RecordType.QUEUE:
        held = host.store.get(record.key)
        return held is not None and held.identical(record)
    if (record.key, record.entry_id) in host.store._deleted:
        return True  # it was here until its reader deleted it
    return any(entry.identical(record) for entry in host.store.queue_list(record.key, FIRST, 1_000))


ARRIVED = ("inbox", "requests")


class Truth:
    """Follows a lab from its start; AssertionError in the step in which something is claimed too early.

    - "sent": the packet with these very bytes has left this host (to be seen under the stand-ins only);
    - "stored": at least the quorum of homes, and as many as claimed, have had this very record;
    - a mail leaves the outbox only when all its parts are stored;
    - no mail is delivered twice.
    """

    def __init__(self, lab: LabNetwork) -> None:
        self.lab = lab
        self.points: Counter[str] = Counter()
        self.delivered: Counter[tuple[int, str]] = Counter()
        self.left: set[tuple[int, str]] = set()
        self.claims = Counter[str]()
        self._had: set[str] = set()
        self._records: dict[str, Record] = {}
        self._last: dict[int, bytes] = {}
        lab.on_persist.append(self._persisted)
        lab.observers.append(self._frame)

    def _frame(self, number: int, peer: bytes, frame: Frame) -> None:
        if frame.kind == Kind.PACKET:
            self._last[number] = frame.payload

    def _persisted(self, host: LabHost, effect: Persist) -> None:
        self.points[effect.point] += 1
        for change in effect.changes:
            if isinstance(change, Put) and change.table == "mails" and change.row["folder"] in ARRIVED:
                key = host.number, change.row["id"]
                self.delivered[key] += 1
                assert self.delivered[key] == 1, f"host {host.number}: one mail delivered twice"
        if effect.point == "part.sent":
            self._check_left(host, effect)
        if effect.point in ("part.stored", "mail.stored"):
            self._check_stored(host, effect)

    def _check_left(self, host: LabHost, effect: Persist) -> None:
        part = effect.changes[0].where["id"]  # type: ignore[union-attr]
        record = Record.parse(host.tables["outgoing"][(part,)]["record"])
        assert record.c[:-32] in self._last[host.number], "said to be sent, but no packet left with it"
        self.left.add((host.number, part))
        self._records[part] = record
        for row in host.tables["mails"].values():
            gone = sum(f"{row['id']}:{i}" == name for number, name in self.left for i in range(row["parts"]))
            assert row["folder"] != "outbox" or row["sent_parts"] <= gone, "k/N is ahead of the packets"
        self.claims["sent"] += 1

    def _check_stored(self, host: LabHost, effect: Persist) -> None:
        for part in host.tables["outgoing"].values():
            if part["state"] == "stored" and part["id"] not in self._had:
                self._check_part(part["id"], part["acks"])
        for change in effect.changes:
            if isinstance(change, Update) and change.values.get("folder") == "sent":
                row = host.tables["mails"][(change.where["id"],)]
                assert row["parts"] > 0, "a mail left the outbox without any part"
                for number in range(row["parts"]):
                    part_id = f"{row['id']}:{number}"
                    assert part_id in self._records, "a mail left the outbox with a part that was never sent"
                    self._check_part(part_id, row["stored_min"])
                self.claims["stored"] += 1

    def _check_part(self, part_id: str, acks: int) -> None:
        found = holders(self.lab, self._records[part_id])
        quorum = self.lab.params.quorum_of(len(self.lab.hosts))
        assert len(found) >= quorum, f"said to be stored, but {len(found)} homes hold it"
        assert len(found) >= acks >= quorum, "more acks are claimed than homes hold it"
        self._had.add(part_id)
