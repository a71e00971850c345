"""`scripts/soak crash --store`: its operations, and that it finds what a bad store would do."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import soak_store  # type: ignore[import-not-found]
from store_load import KINDS, Load  # type: ignore[import-not-found]

from mixmail.boxes.status import Status
from mixmail.storage.node_db import NodeDatabase

DAY = soak_store.FIRST_DAY
COUNT, ANSWERED = 300, 250


def ran(path: Path, seed: int, upto: int) -> tuple[Load, list[Status]]:
    """A store on disk after the operations before `upto`, and what it answered."""
    load = Load(seed, [(0, DAY)])
    database = NodeDatabase(path)
    answers = [load.apply(load.operation(number), database) for number in range(upto)]
    database.close()
    return load, answers


def judge(path: Path, load: Load, answers: list[Status], begun: int = COUNT) -> int:
    """What the soak says of it: how many operations more than `answers` are on disk."""
    heard = soak_store.Heard()
    heard.begun = begun - 1
    heard.answers = dict(enumerate(answers))
    return int(soak_store.check(soak_store.Model(load), 0, heard, soak_store.look(path, DAY)))


def test_operations_are_the_same_for_everybody_and_of_every_kind() -> None:
    one, other = Load(1, [(0, DAY)]), Load(1, [(0, DAY)])
    numbers = range(400)
    assert [one.operation(n) for n in reversed(numbers)] == [other.operation(n) for n in numbers][::-1]
    kinds = Counter(one.operation(n).kind for n in numbers)
    assert kinds.keys() == KINDS.keys() and min(kinds.values()) >= 5
    assert sum(one.operation(n).target != n for n in numbers) > 100
    assert Load(2, [(0, DAY)]).operation(7) != one.operation(7)


def test_each_life_has_its_day() -> None:
    load = Load(1, [(0, DAY)])
    load.operation(30)
    load.begin((20, DAY + 1))
    assert [load.day(number) for number in (0, 19, 20, 99)] == [DAY, DAY, DAY + 1, DAY + 1]
    box = next(n for n in range(20, 60) if load.operation(n).kind == "box")
    assert load.operation(box).record.day == DAY + 1


def test_a_store_that_keeps_its_word_passes_wherever_it_was_killed(tmp_path: Path) -> None:
    for number, upto in enumerate((ANSWERED, ANSWERED + 17, COUNT)):
        path = tmp_path / f"{number}.db"
        load, answers = ran(path, 1, upto)
        assert set(answers) >= {Status.OK, Status.STORED, Status.NOT_FOUND}
        assert 0 <= upto - ANSWERED - judge(path, load, answers[:ANSWERED]) < 5  # reads leave no trace


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM records WHERE rowid = (SELECT min(rowid) FROM records)",
        "DELETE FROM entries WHERE rowid = (SELECT max(rowid) FROM entries)",
        "DELETE FROM deleted WHERE rowid = (SELECT min(rowid) FROM deleted)",
        "UPDATE entries SET (queue, id) = (SELECT queue, id FROM deleted)"
        " WHERE rowid = (SELECT min(rowid) FROM entries)",
        "UPDATE records SET expiry = expiry + 1 WHERE rowid = (SELECT max(rowid) FROM records)",
    ],
)
def test_one_row_that_is_not_as_it_was_answered_is_found(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "node.db"
    load, answers = ran(path, 1, ANSWERED)
    database = NodeDatabase(path)
    assert database.connection.execute(damage).rowcount == 1
    database.close()
    with pytest.raises(soak_store.Lost, match=r"[12] rows or more"):
        judge(path, load, answers)


def test_the_last_answer_given_too_early_is_found(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    load, answers = ran(path, 1, COUNT)
    last = max(n for n in range(COUNT) if load.operation(n).kind == "box")
    path.unlink()
    ran(path, 1, last)  # killed before it
    with pytest.raises(soak_store.Lost, match=f"operation {last} was answered"):
        judge(path, load, answers[: last + 1], last + 1)


def test_half_of_an_operation_is_found(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    load, answers = ran(path, 1, COUNT)
    last = max(n for n, one in enumerate(answers) if load.operation(n).kind == "delete" and one is Status.OK)
    path.unlink()
    ran(path, 1, last)
    record = load.operation(last).record
    database = NodeDatabase(path)
    database.connection.execute("DELETE FROM entries WHERE id = ?", (record.entry_id,))  # but not remembered
    database.close()
    with pytest.raises(soak_store.Lost, match="1 rows or more"):
        judge(path, load, answers[:last], last + 1)


@pytest.mark.parametrize("change", [lambda status: Status.STORED, lambda status: Status.TRY_LATER])
def test_a_wrong_answer_is_found(tmp_path: Path, change: Callable[[Status], Status]) -> None:
    load, answers = ran(tmp_path / "node.db", 1, ANSWERED)
    number = answers.index(Status.NOT_FOUND)
    answers[number] = change(answers[number])
    with pytest.raises(soak_store.Lost, match=f"operation {number} was answered"):
        judge(tmp_path / "node.db", load, answers)


def test_a_record_with_a_bad_signature_is_found(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    ran(path, 1, 20)
    database = NodeDatabase(path)
    (raw,) = database.connection.execute("SELECT record FROM records").fetchone()
    changed = raw[:200] + bytes([raw[200] ^ 1]) + raw[201:]
    database.connection.execute("UPDATE records SET record = ? WHERE record = ?", (changed, raw))
    database.close()
    with pytest.raises(soak_store.Lost, match="signature"):
        soak_store.look(path, DAY)
