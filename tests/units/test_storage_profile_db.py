"""profile.db: changes as the agent means them, lists as the screen needs them, nothing in the clear."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixmail.agent.tables import PRIMARY_KEYS, apply_change
from mixmail.effects import Change, Delete, Put, Update
from mixmail.errors import LocalProtocolError
from mixmail.storage import driver, profile_db
from mixmail.storage.errors import Damaged, DiskFull
from mixmail.storage.profile_db import ProfileDatabase
from mixmail.testing import full_disk

KEY = bytes(range(32))
CANARY = "the heron flies at dawn"


@pytest.fixture
def profile(tmp_path: Path) -> Iterator[ProfileDatabase]:
    made = ProfileDatabase(tmp_path / "profile.db", KEY)
    yield made
    made.close()


def mail(id: str, date: float, **more: Any) -> Put:
    row = {"id": id, "folder": "inbox", "date": date, "unread": 1, "subject": id, "search_text": id}
    return Put("mails", {**row, "eml": b"text of " + id.encode(), **more})


def contact(id: str, name: str = "n") -> Put:
    return Put("contacts", {"id": id, "name": name, "created": 1.5, "last_traffic": 0.0})


def test_the_tables_are_those_of_the_agent(profile: ProfileDatabase) -> None:
    keys = {
        table: tuple(
            row["name"]
            for row in sorted(profile._db.query(f"PRAGMA table_info({table})"), key=lambda row: row["pk"])
            if row["pk"]
        )
        for table in PRIMARY_KEYS
    }
    assert keys == PRIMARY_KEYS
    assert set(profile._columns) == set(PRIMARY_KEYS)


def test_put_update_delete(profile: ProfileDatabase) -> None:
    profile.apply((contact("a"), contact("b"), contact("c")))
    profile.apply(
        (
            Update("contacts", {"id": "a"}, {"name": "anna", "profile": b"\0\1"}),
            Put("contacts", {"id": "b", "name": "bert", "created": 2.0}),
            Delete("contacts", {"id": "c"}),
        )
    )
    one, two = profile.rows("contacts")
    assert one == {
        "id": "a",
        "name": "anna",
        "created": 1.5,
        "profile": b"\0\1",
        "profile_week": None,
        "last_traffic": 0.0,
        "blocked": None,
        "request": 0,
    }
    assert (two["id"], two["name"], two["last_traffic"]) == ("b", "bert", None)
    assert profile.rows("contacts", {"name": "anna", "profile_week": None}) == [one]
    assert profile.rows("contacts", {"name": "nobody"}) == []


def test_all_or_nothing(profile: ProfileDatabase) -> None:
    profile.apply((contact("a"),))
    profile.apply(())
    no_id = Put("identities", {"id": "x", "name": "without a seed", "created": 1.0})
    with pytest.raises(profile_db.driver.DatabaseFault):
        profile.apply((contact("b"), Delete("contacts", {"id": "a"}), no_id))
    assert [row["id"] for row in profile.rows("contacts")] == ["a"]


@pytest.mark.parametrize(
    "change",
    [
        Put("nothing", {"id": "a"}),
        Put("contacts", {"id": "a", "x) VALUES (1); DROP TABLE mails; --": 1}),
        Put("contacts", {}),
        Update("contacts", {"id": "a"}, {"nonsense": 1}),
        Update("contacts", {"id": "a"}, {}),
        Update("contacts", {"1=1 OR id": "a"}, {"name": "x"}),
        Update("contacts", {}, {"name": "x"}),
        Delete("contacts", {}),
        Delete("sqlite_master", {"name": "mails"}),
    ],
)
def test_own_mistakes_touch_nothing(profile: ProfileDatabase, change: Change) -> None:
    profile.apply((contact("a"),))
    with pytest.raises(LocalProtocolError):
        profile.apply((contact("b"), change))
    assert [row["id"] for row in profile.rows("contacts")] == ["a"]


small = st.sampled_from(["a", "b", "c"])
weeks = st.integers(0, 2)
values = st.one_of(st.none(), st.integers(0, 1))
puts = st.builds(
    lambda identity, kind, week, seq: Put(
        "profiles_published",
        {"identity": identity, "kind": kind, "week": week, "seq": seq, "published": None},
    ),
    small,
    weeks,
    weeks,
    st.integers(0, 1),
)
wheres = st.dictionaries(
    st.sampled_from(["identity", "kind", "week", "seq", "published"]), values, min_size=1
)
changes = st.one_of(
    puts,
    st.builds(lambda where: Delete("profiles_published", where), wheres),
    st.builds(
        lambda where, seq, published: Update(
            "profiles_published", where, {"seq": seq, "published": published}
        ),
        wheres,
        st.integers(0, 1),
        st.one_of(st.none(), st.just(1.0)),
    ),
)


def test_changes_mean_what_they_mean_in_memory() -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = ProfileDatabase(Path(folder) / "profile.db", KEY)

        @settings(max_examples=60)
        @given(st.lists(st.lists(changes, max_size=5), max_size=6))
        def compare(batches: list[list[Change]]) -> None:
            database.connection.execute("DELETE FROM profiles_published")
            tables: dict[str, dict[tuple[Any, ...], dict[str, Any]]] = {}
            for batch in batches:
                database.apply(tuple(batch))
                for change in batch:
                    apply_change(tables, change)
            expected = list(tables.get("profiles_published", {}).values())
            found = database.rows("profiles_published")
            assert sorted(found, key=repr) == sorted(expected, key=repr)

        compare()
        database.close()


def test_pages_newest_first(profile: ProfileDatabase) -> None:
    profile.apply(tuple(mail(f"m{number}", float(number), unread=number % 2) for number in range(10)))
    profile.apply((mail("other", 99.0, folder="sent"), mail("m5b", 5.0, unread=None)))
    total, unread, rows = profile.list_mails("inbox", 0, 4)
    assert (total, unread) == (11, 5)
    assert [row["id"] for row in rows] == ["m9", "m8", "m7", "m6"]
    assert [row["id"] for row in profile.list_mails("inbox", 4, 3)[2]] == ["m5b", "m5", "m4"]
    assert [row["id"] for row in profile.list_mails("inbox", 9, 9)[2]] == ["m1", "m0"]
    assert profile.list_mails("inbox", 50, 9) == (11, 5, [])
    assert profile.list_mails("nowhere", 0, 9) == (0, 0, [])
    assert not {"eml", "search_text"} & set(rows[0])
    assert set(rows[0]) | {"eml", "search_text"} == set(profile._columns["mails"])


def test_search(profile: ProfileDatabase) -> None:
    words = {
        "a": "lunch on friday anna bring the 100% juice",
        "b": "holiday plans bert see you on friday",
        "c": "snake_case or snakexcase carla",
        "d": "grüße aus köln dora back\\slash",
    }
    profile.apply(
        tuple(
            mail(id, float(number), search_text=text, unread=number % 2)
            for number, (id, text) in enumerate(words.items())
        )
    )

    def found(search: str) -> list[str]:
        return [row["id"] for row in profile.list_mails("inbox", 0, 9, search)[2]]

    assert found("friday") == ["b", "a"]
    assert found("FRIDAY anna") == found("anna friday") == ["a"]
    assert found("KÖLN") == ["d"]
    assert found("100%") == ["a"]
    assert found("%") == ["a"]
    assert found("snake_case") == ["c"]
    assert found("_") == ["c"]
    assert found("back\\slash") == ["d"]
    assert found("'; DROP TABLE mails; --") == []
    assert found("  ") == ["d", "c", "b", "a"]
    assert profile.list_mails("inbox", 1, 9, "friday")[:2] == (2, 1)
    assert profile.list_mails("sent", 0, 9, "friday") == (0, 0, [])


def test_lists_use_their_index(profile: ProfileDatabase) -> None:
    def plan(sql: str) -> str:
        return " ".join(row["detail"] for row in profile._db.query("EXPLAIN QUERY PLAN " + sql))

    page = plan("SELECT id, subject FROM mails WHERE folder = 'x' ORDER BY date DESC, id DESC LIMIT 9")
    assert "mails_list" in page
    assert "TEMP B-TREE" not in page
    assert "COVERING INDEX mails_list" in plan("SELECT count(*), sum(unread) FROM mails WHERE folder = 'x'")


def test_one_mail(profile: ProfileDatabase) -> None:
    profile.apply((mail("a", 1.0, note="hello"),))
    row = profile.get_mail("a")
    assert row is not None
    assert (row["eml"], row["note"]) == (b"text of a", "hello")
    assert profile.get_mail("b") is None


def test_nothing_is_in_the_clear(tmp_path: Path) -> None:
    profile = ProfileDatabase(tmp_path / "profile.db", KEY)
    profile.apply((mail("a", 1.0, subject=CANARY, search_text=CANARY, eml=CANARY.encode() * 1000),))
    profile.list_mails("inbox", 0, 9, "heron")
    names = {path.name for path in tmp_path.iterdir()}
    assert {"profile.db", "profile.db-wal"} <= names
    for path in tmp_path.iterdir():
        assert b"heron" not in path.read_bytes(), path.name
        assert b"CREATE TABLE" not in path.read_bytes(), path.name
    profile.close()
    raw = (tmp_path / "profile.db").read_bytes()
    assert b"heron" not in raw
    # the test can see: unsealed, it would be there
    assert CANARY.encode() in ProfileDatabase(tmp_path / "profile.db", KEY).get_mail("a")["eml"]  # type: ignore[index]


def test_another_key(tmp_path: Path) -> None:
    ProfileDatabase(tmp_path / "profile.db", KEY).close()
    with pytest.raises(Damaged) as caught:
        ProfileDatabase(tmp_path / "profile.db", bytes(32))
    assert caught.value.code == "database"
    with pytest.raises(ValueError, match="5 bytes"):
        ProfileDatabase(tmp_path / "profile.db", b"short")


def test_a_full_disk(profile: ProfileDatabase) -> None:
    profile.apply((mail("a", 1.0),))
    with full_disk(profile.connection):
        with pytest.raises(DiskFull):
            profile.apply((Delete("mails", {"id": "a"}), mail("b", 2.0, eml=bytes(200_000))))
        assert [row["id"] for row in profile.list_mails("inbox", 0, 9)[2]] == ["a"]
    profile.apply((mail("b", 2.0, eml=bytes(200_000)),))
    assert profile.list_mails("inbox", 0, 9)[0] == 2


def test_a_killed_process_loses_nothing_that_was_applied(tmp_path: Path) -> None:
    path = tmp_path / "profile.db"
    program = f"""
import os, pathlib, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_storage_profile_db import KEY, ProfileDatabase, contact
profile = ProfileDatabase(pathlib.Path({str(path)!r}), KEY)
profile.apply((contact("a"), contact("b")))
profile.connection.execute("BEGIN")
profile.connection.execute("DELETE FROM contacts")
os.kill(os.getpid(), signal.SIGKILL)
"""
    top = Path(profile_db.__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", program], cwd=top).returncode == -9
    profile = ProfileDatabase(path, KEY)
    assert [row["id"] for row in profile.rows("contacts")] == ["a", "b"]
    profile.close()


def test_a_profile_from_before_requests_opens_with_all_its_contacts_and_keeps_a_copy(tmp_path: Path) -> None:
    path = tmp_path / "profile.db"
    old = driver.open_database(path, profile_db.SCRIPTS[:1], KEY)
    old.execute(
        "INSERT INTO contacts (id, name, created, last_traffic, blocked) VALUES ('a', 'Ada', 1.5, 2.5, 0)"
    )
    old.close()
    profile = ProfileDatabase(path, KEY)
    (row,) = profile.rows("contacts")
    assert (row["name"], row["request"], row["blocked"]) == ("Ada", 0, 0)
    profile.close()
    copy = driver.open_database(tmp_path / "profile.db.v1", profile_db.SCRIPTS[:1], KEY)
    assert [tuple(row) for row in copy.execute("SELECT name FROM contacts")] == [("Ada",)]
    copy.close()
