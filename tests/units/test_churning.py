"""`scripts/soak churn` around its network: nobody writes a mail twice, and what is wrong is found."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "processes"))

from churning import HELLO, WINDOW, Correspondent, faults, planned  # type: ignore[import-not-found]

from mixmail.control.client import ConnectionLost


class FakePerson:
    """Takes mails; the daemon goes away in the sends number `lost` (not taken) and `dead` (taken)."""

    def __init__(self, lost: set[int] = frozenset(), dead: set[int] = frozenset()) -> None:  # type: ignore[assignment]
        self.folders: dict[str, list[str]] = {"inbox": [], "outbox": [], "sent": []}
        self.sends = 0
        self._lost, self._dead = lost, dead

    def ask(self, question: Any) -> Any:
        return question(SimpleNamespace(mail_list=self._page))

    def _page(self, folder: str, offset: int, limit: int) -> Any:
        rows = [SimpleNamespace(subject=subject) for subject in self.folders[folder]]
        return SimpleNamespace(mails=rows[offset : offset + limit])

    def send(self, to: str, subject: str, text: str) -> None:
        self.sends += 1
        if self.sends in self._lost:
            raise ConnectionLost
        self.folders["outbox"].append(subject)
        if self.sends in self._dead:
            raise ConnectionLost

    def deliver(self) -> None:
        self.folders["sent"] += self.folders["outbox"]
        self.folders["outbox"] = []


def write_all(person: FakePerson, subjects: list[str]) -> Correspondent:
    one = Correspondent(person, subjects)
    for _ in range(100):
        try:
            one.step()
        except ConnectionLost:
            person.deliver()
            continue
        person.deliver()
    return one


@pytest.mark.parametrize(
    ("lost", "dead"), [(set(), set()), ({1, 5}, set()), (set(), {1, 6}), ({2, 3}, {4, 9})]
)
def test_a_mail_that_nobody_confirmed_is_looked_for_before_it_is_written_again(
    lost: set[int], dead: set[int]
) -> None:
    subjects = [f"mail {number}" for number in range(3 * WINDOW)]
    person = FakePerson(lost, dead)
    one = write_all(person, subjects)
    assert sorted(person.folders["sent"]) == sorted(subjects)
    assert one.taken.keys() == set(subjects)
    assert person.sends == len(subjects) + len(lost)


def test_the_outbox_is_never_fuller_than_the_window() -> None:
    person = FakePerson()
    one = Correspondent(person, [f"mail {number}" for number in range(3 * WINDOW)])
    for _ in range(3):
        one.step()
    assert len(person.folders["outbox"]) == WINDOW


def test_all_pages_of_the_inbox_are_read() -> None:
    person = FakePerson()
    person.folders["inbox"] = [f"mail {number}" for number in range(170)]
    one = Correspondent(person, [])
    one.step()
    assert one.arrived.keys() == set(person.folders["inbox"])


def test_the_soak_finds_what_is_missing_double_or_in_a_wrong_place() -> None:
    inboxes = [[*planned(10, 4, at ^ 1), HELLO[at % 2 ^ 1]] for at in range(4)]
    assert sum(map(len, inboxes)) == 14 and faults(inboxes, 10) == []
    lost = inboxes[1].pop(0)
    assert faults(inboxes, 10) == [f"{lost} is missing in inbox 1"]
    inboxes[1] += [lost, lost]
    assert faults(inboxes, 10) == [f"{lost} is 2 times in inbox 1"]
    inboxes[1].pop()
    inboxes[2].append(lost)
    assert faults(inboxes, 10) == [f"{lost} is in inbox 2"]
    inboxes[2][-1:] = [HELLO[1]]
    assert faults(inboxes, 10) == [f"{HELLO[1]} is 2 times in inbox 2"]
