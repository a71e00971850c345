"""Opening, making, upgrading and refusing database files."""

from __future__ import annotations

import re
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mixmail.storage import driver, node_db, profile_db
from mixmail.storage.errors import Busy, Damaged, DiskError, DiskFull, Newer, StorageError
from mixmail.testing import full_disk

KEY = bytes(range(32))
V1 = "CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB);\nINSERT INTO t (b) VALUES ('one');"
V2 = "ALTER TABLE t ADD COLUMN c TEXT DEFAULT 'new';"
KEYS = pytest.mark.parametrize("key", [None, KEY], ids=["plain", "sealed"])


def texts(path: Path, key: bytes | None, scripts: tuple[str, ...]) -> list[tuple[Any, ...]]:
    connection = driver.open_database(path, scripts, key)
    try:
        return [tuple(row) for row in connection.execute("SELECT * FROM t").fetchall()]
    finally:
        connection.close()


def test_sqlite_utils_uses_sqlcipher() -> None:
    assert sys.modules["sqlite_utils.utils"].sqlite3.__name__ == "sqlcipher3"


@KEYS
def test_made_once_for_its_owner(tmp_path: Path, key: bytes | None) -> None:
    path = tmp_path / "x.db"
    for _ in range(2):
        assert texts(path, key, (V1,)) == [(1, "one")]
    assert [file.name for file in tmp_path.iterdir()] == ["x.db"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes().startswith(b"SQLite format 3\0") is (key is None)


@KEYS
def test_pragmas(tmp_path: Path, key: bytes | None) -> None:
    connection = driver.open_database(tmp_path / "x.db", (V1,), key)
    found = {
        name: connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "temp_store", "user_version")
    }
    assert found == {"journal_mode": "wal", "synchronous": 2, "temp_store": 2, "user_version": 1}
    connection.close()


def test_what_a_crash_left_of_making_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "x.db.new").write_bytes(b"half")
    assert texts(tmp_path / "x.db", None, (V1,)) == [(1, "one")]


@KEYS
def test_upgrade_keeps_a_backup(tmp_path: Path, key: bytes | None) -> None:
    path = tmp_path / "x.db"
    texts(path, key, (V1,))
    assert texts(path, key, (V1, V2)) == [(1, "one", "new")]
    backup = tmp_path / "x.db.v1"
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert texts(backup, key, (V1,)) == [(1, "one")]
    assert texts(path, key, (V1, V2)) == [(1, "one", "new")]


def test_a_backup_holds_what_a_crash_left_beside_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    still_open = driver.open_database(path, (V1,), KEY)
    still_open.execute("INSERT INTO t (b) VALUES ('in the log')")
    assert len(texts(path, KEY, (V1, V2))) == 2
    still_open.close()
    assert [row[1] for row in texts(tmp_path / "x.db.v1", KEY, (V1,))] == ["one", "in the log"]


def test_a_failed_upgrade_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    texts(path, None, (V1,))
    with pytest.raises(driver.DatabaseFault):
        texts(path, None, (V1, V2 + "\nINSERT INTO nowhere VALUES (1);"))
    assert texts(path, None, (V1,)) == [(1, "one")]


@KEYS
def test_a_newer_file_is_refused(tmp_path: Path, key: bytes | None) -> None:
    path = tmp_path / "x.db"
    texts(path, key, (V1, V2))
    before = path.read_bytes()
    with pytest.raises(Newer) as caught:
        driver.open_database(path, (V1,), key)
    assert caught.value.code == "newer"
    assert path.read_bytes() == before


def test_another_key_is_damage_and_says_nothing_on_stderr(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.db"
    texts(path, KEY, (V1,))
    for wrong in (bytes(32), None):
        with pytest.raises(Damaged):
            driver.open_database(path, (V1,), wrong)
    assert texts(path, KEY, (V1,)) == [(1, "one")]
    assert capfd.readouterr() == ("", "")


def empty(raw: bytes) -> bytes:
    return b""


def garbage(raw: bytes) -> bytes:
    return b"\xa5" * len(raw)


def text(raw: bytes) -> bytes:
    return b"Dear diary,\n" * 2000


def first_page_only(raw: bytes) -> bytes:
    return raw[:4096]


def broken_first_page(raw: bytes) -> bytes:
    return raw[:100] + b"\xff" * 400 + raw[500:]


@KEYS
@pytest.mark.parametrize("damage", [empty, garbage, text, first_page_only, broken_first_page])
def test_damage_is_one_sentence(tmp_path: Path, key: bytes | None, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "x.db"
    texts(path, key, (V1,))
    broken = damage(path.read_bytes())
    path.write_bytes(broken)
    with pytest.raises(Damaged) as caught, driver.guard(path):
        texts(path, key, (V1,))
    assert caught.value.code == "database"
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message
    assert path.read_bytes() == broken  # left for who can mend it


@KEYS
def test_damage_in_the_middle_shows_when_it_is_read(tmp_path: Path, key: bytes | None) -> None:
    path = tmp_path / "x.db"
    connection = driver.open_database(path, (V1,), key)
    connection.execute("CREATE TABLE u (a INTEGER PRIMARY KEY, b BLOB)")
    connection.executemany("INSERT INTO u (b) VALUES (?)", [(b"x" * 3000,)] * 50)
    connection.close()
    raw = bytearray(path.read_bytes())
    for page in range(5, len(raw) // 4096):
        raw[page * 4096 : page * 4096 + 200] = b"\xff" * 200
    path.write_bytes(raw)
    connection = driver.open_database(path, (V1,), key)
    with pytest.raises(Damaged), driver.guard(path):
        connection.execute("SELECT sum(length(b)) FROM u").fetchall()
    connection.close()


def test_places_where_no_database_can_be(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", tmp_path / "missing" / "x.db"):
        with pytest.raises(DiskError) as caught:
            driver.open_database(path, (V1,))
        assert caught.value.code == "disk"
        assert str(path) in caught.value.message


def test_a_database_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "BUSY_SECONDS", 0)
    path = tmp_path / "x.db"
    one, two = (driver.open_database(path, (V1,)) for _ in range(2))
    one.execute("BEGIN IMMEDIATE")
    with pytest.raises(Busy) as caught, driver.transaction(two, path):
        raise AssertionError("the transaction must not begin")
    assert caught.value.code == "busy"
    one.close()
    with driver.transaction(two, path):
        two.execute("INSERT INTO t (b) VALUES ('two')")
    two.close()


@KEYS
def test_a_transaction_is_all_or_nothing(tmp_path: Path, key: bytes | None) -> None:
    path = tmp_path / "x.db"
    connection = driver.open_database(path, (V1,), key)
    with pytest.raises(KeyError), driver.transaction(connection, path):
        connection.execute("INSERT INTO t (b) VALUES ('two')")
        raise KeyError
    with full_disk(connection), pytest.raises(DiskFull) as caught, driver.transaction(connection, path):
        connection.execute("INSERT INTO t (b) VALUES ('three')")
        connection.execute("INSERT INTO t (b) VALUES (?)", (bytes(100_000),))
    assert caught.value.code == "disk-full"
    with driver.transaction(connection, path):
        connection.execute("INSERT INTO t (b) VALUES ('four')")
    connection.close()
    assert [row[1] for row in texts(path, key, (V1,))] == ["one", "four"]


def test_own_mistakes_are_not_the_disks(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    connection = driver.open_database(path, (V1,))
    with pytest.raises(driver.DatabaseFault), driver.transaction(connection, path):
        connection.execute("INSERT INTO t (a) VALUES (1)")
    with pytest.raises(driver.DatabaseFault) as caught, driver.guard(path):
        connection.execute("nonsense")
    assert not isinstance(caught.value, StorageError)
    connection.close()


@pytest.mark.parametrize("scripts", [node_db.SCRIPTS, profile_db.SCRIPTS], ids=["node", "profile"])
def test_each_column_has_its_comment(scripts: tuple[str, ...]) -> None:
    columns = [
        line for script in scripts for line in script.splitlines() if re.match(r"  [a-z_]+ [A-Z]", line)
    ]
    assert len(columns) > 10
    assert [line for line in columns if not re.search(r"-- \w", line)] == []
