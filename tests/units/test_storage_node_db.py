"""What node.db adds to the contract of a RecordStore: durability, batches, full disks, damage."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mixmail.boxes.record import FIRST, ZERO_SIGNATURE, Record, RecordType
from mixmail.boxes.status import Status
from mixmail.boxes.store import RecordStore
from mixmail.errors import LocalProtocolError
from mixmail.params import GEOMETRY
from mixmail.storage import node_db
from mixmail.storage.errors import Damaged, DiskFull
from mixmail.storage.node_db import NodeDatabase
from mixmail.testing import full_disk

TODAY = 20_000
LIMIT = 256


def box(number: int, day: int = TODAY) -> Record:
    c = number.to_bytes(4, "big") * (GEOMETRY.box_ct // 4) + bytes(GEOMETRY.box_ct % 4)
    key = number.to_bytes(32, "big")
    return Record(key, b"s" * 64, RecordType.BOX, 7, day, 0, bytes(32), c)


def entry(number: int) -> Record:
    one = box(number)
    return Record(b"q" * 32, ZERO_SIGNATURE, RecordType.QUEUE, 7, TODAY, 0, bytes(32), one.c)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[NodeDatabase]:
    made = NodeDatabase(tmp_path / "node.db")
    yield made
    made.close()


def on_disk(database: NodeDatabase) -> dict[str, int]:
    """What another connection sees, and so what a crash would leave."""
    other = NodeDatabase(database.path)
    try:
        return other.count()
    finally:
        other.close()


def test_it_is_a_record_store(database: NodeDatabase) -> None:
    store: RecordStore = database
    assert store.put(box(1), TODAY) is Status.STORED


def test_everything_is_there_after_closing(tmp_path: Path) -> None:
    for turn in range(2):
        database = NodeDatabase(tmp_path / "node.db")
        assert database.put(box(1), TODAY) is (Status.OK if turn else Status.STORED)
        assert database.queue_add(entry(1), TODAY, LIMIT) is (Status.OK if turn else Status.STORED)
        assert database.queue_add(entry(2), TODAY, LIMIT) is (Status.OK if turn else Status.STORED)
        assert database.queue_delete(entry(2).key, entry(2).entry_id) is Status.OK
        assert database.get(box(1).key) == box(1)
        assert database.queue_list(entry(1).key, FIRST, 9) == [entry(1)]
        database.close()


def test_a_killed_process_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    program = f"""
import os, pathlib, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_storage_node_db import NodeDatabase, TODAY, box
database = NodeDatabase(pathlib.Path({str(path)!r}))
database.put(box(1), TODAY)
database.put_many([box(2), box(3)], TODAY)
with database.batch():
    database.put(box(4), TODAY)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    top = Path(node_db.__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", program], cwd=top).returncode == -9
    database = NodeDatabase(path)
    assert [database.get(box(number).key) for number in (1, 2, 3, 4)] == [box(1), box(2), box(3), None]
    database.close()


def test_a_batch_is_one_commit(database: NodeDatabase) -> None:
    with database.batch():
        assert database.put(box(1), TODAY) is Status.STORED
        assert database.put(box(1), TODAY) is Status.OK
        assert database.queue_add(entry(1), TODAY, LIMIT) is Status.STORED
        assert database.put_many([box(2), box(3)], TODAY) == [Status.STORED] * 2
        assert database.count()["records"] == 3
        assert on_disk(database) == {"records": 0, "entries": 0, "deleted": 0}
    assert on_disk(database) == {"records": 3, "entries": 1, "deleted": 0}


def test_a_batch_that_fails_leaves_nothing(database: NodeDatabase) -> None:
    with pytest.raises(KeyError), database.batch():
        database.put(box(1), TODAY)
        raise KeyError
    assert on_disk(database)["records"] == 0
    assert database.put(box(1), TODAY) is Status.STORED


def test_a_full_disk_inside_a_batch_cannot_be_overlooked(database: NodeDatabase) -> None:
    caught = []
    with full_disk(database.connection, 8), pytest.raises(DiskFull), database.batch():
        for number in range(9):
            try:
                database.put(box(number), TODAY)
            except DiskFull as error:
                caught.append(error)
    assert 1 < len(caught) < 9
    assert on_disk(database)["records"] == database.count()["records"] == 0
    with database.batch():
        database.put(box(1), TODAY)
    assert on_disk(database)["records"] == 1


def test_a_full_disk_loses_nothing_and_stays_readable(database: NodeDatabase) -> None:
    stored = []
    with full_disk(database.connection, 40), pytest.raises(DiskFull) as caught:
        for number in range(100):
            assert database.put(box(number), TODAY) is Status.STORED
            stored.append(box(number))
    assert caught.value.code == "disk-full"
    assert 2 < len(stored) < 20
    with full_disk(database.connection):
        assert [database.get(one.key) for one in stored] == stored
        with pytest.raises(DiskFull):
            database.queue_add(entry(1), TODAY, LIMIT)
        assert database.queue_list(entry(1).key, FIRST, 9) == []
    assert on_disk(database)["records"] == len(stored)
    assert database.put(box(99), TODAY) is Status.STORED
    assert database.queue_add(entry(1), TODAY, LIMIT) is Status.STORED


def test_closing_waits_for_the_end_of_a_batch(database: NodeDatabase) -> None:
    with pytest.raises(LocalProtocolError), database.batch():
        database.put(box(1), TODAY)
        database.close()
    assert database.put(box(1), TODAY) is Status.STORED


def test_expiry_is_one_transaction_of_few_rows(database: NodeDatabase) -> None:
    database.put_many([box(number) for number in range(10)], TODAY)
    database.put_many([box(number, TODAY + 1) for number in range(10, 14)], TODAY)
    left = 14
    for dropped in (3, 3, 3, 1, 0):
        before = database.connection.total_changes
        assert database.expire(TODAY + 8, 3) == dropped
        assert database.connection.total_changes - before == dropped
        left -= dropped
        assert on_disk(database)["records"] == left
    with database.batch():
        assert database.expire(TODAY + 9, 100) == 4
        assert on_disk(database)["records"] == 4
    assert on_disk(database)["records"] == 0


@pytest.mark.parametrize("raw", [b"", b"x" * 17_334, bytes(17_333)])
def test_a_row_that_is_no_record_is_damage(database: NodeDatabase, raw: bytes) -> None:
    database.put(box(1), TODAY)
    database.connection.execute("UPDATE records SET record = ?", (raw,))
    with pytest.raises(Damaged) as caught:
        database.get(box(1).key)
    assert caught.value.code == "database"
    assert database.get(box(2).key) is None
