"""Every way in which the homes can refuse a write is told to the user in words of its own."""

from __future__ import annotations

from mixmail.agent.outbox import NOTES
from mixmail.boxes.status import Status


def test_each_status_that_does_not_acknowledge_has_its_own_sentence() -> None:
    assert set(NOTES) == {status for status in Status if not status.acknowledges}
    assert len(set(NOTES.values())) == len(NOTES)
    assert all(" " in note and not any(status.name in note for status in Status) for note in NOTES.values())
