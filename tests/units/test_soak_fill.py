"""`scripts/soak store`: it runs with few records, and finds what is missing or changed."""

from __future__ import annotations

import sys
from collections import namedtuple
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import soak_fill  # type: ignore[import-not-found]

from mixmail.errors import UserError
from mixmail.storage.node_db import NodeDatabase

COUNT = 90
EXPIRED = 3
DiskUsage = namedtuple("DiskUsage", ("total", "used", "free"))


@pytest.fixture
def few_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak_fill, "READS", 50)


def filled(path: Path, count: int = COUNT) -> Path:
    database = NodeDatabase(path)
    for number in range(count):
        database.put(soak_fill.a_box(number), soak_fill.TODAY)
    database.close()
    return path


def test_it_fills_kills_and_measures(tmp_path: Path) -> None:
    told = soak_fill.run(200, tmp_path)
    assert told["failed"] == [] and told["n"] == 200 and told["records"] >= 200
    assert told["put_per_s"] > 0 and told["open_s"] > 0 and told["expired"] >= 7
    assert list(tmp_path.iterdir()) == []


def test_it_takes_what_the_disk_has_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = soak_fill.SPARE + 40 * soak_fill.ROW_BYTES
    monkeypatch.setattr(soak_fill.shutil, "disk_usage", lambda path: DiskUsage(free, 0, free))
    assert soak_fill.run(200, tmp_path)["n"] == 40
    monkeypatch.setattr(soak_fill.shutil, "disk_usage", lambda path: DiskUsage(free, 0, 1_000))
    with pytest.raises(UserError) as caught:
        soak_fill.run(200, tmp_path)
    assert caught.value.code == "disk-full"


def test_what_is_measured_is_counted_right(tmp_path: Path, few_reads: None) -> None:
    told = soak_fill.measure(filled(tmp_path / "node.db"), COUNT)
    assert (told["records"], told["expired"]) == (COUNT, EXPIRED)
    assert told["get_worst_expiring_ms"] >= told["get_p99_expiring_ms"] > 0


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM records WHERE rowid = 1",
        "UPDATE records SET record = (SELECT record FROM records WHERE rowid = 2) WHERE rowid = 1",
    ],
)
def test_a_record_that_is_not_as_it_was_is_found(tmp_path: Path, few_reads: None, damage: str) -> None:
    path = filled(tmp_path / "node.db")
    database = NodeDatabase(path)
    database.connection.execute(damage)
    database.put(soak_fill.a_box(COUNT), soak_fill.TODAY)  # so that the number of them is right
    database.close()
    with pytest.raises(UserError) as caught:
        soak_fill.measure(path, COUNT)
    assert caught.value.code == "lost"
