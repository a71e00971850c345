"""A daemon that dies at named points, one after the other, while one mail makes its way."""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

from on_disk import keepers, profile_rows
from real_network import Person, RealNetwork
from waiting import wait_for

from mixmail.boxes.record import Record
from mixmail.control.client import ConnectionLost
from mixmail.params import DEMO

QUEUED, SENT, STORED, ANSWERED = "queued", "sent", "stored", "answered"

TRUTH: dict[str, tuple[str, str] | None] = {
    "before mail.queued": None,
    "after mail.queued": ("outbox", QUEUED),
    "before mail.sealed": ("outbox", QUEUED),
    "after mail.sealed": ("outbox", QUEUED),
    "before part.stamped": ("outbox", QUEUED),
    "after part.stamped": ("outbox", QUEUED),
    "before part.sent": ("outbox", QUEUED),
    "after part.sent": ("outbox", SENT),
    "before part.stored": ("outbox", SENT),
    "after part.stored": ("outbox", SENT),
    "before mail.stored": ("outbox", SENT),
    "after mail.stored": ("sent", STORED),
    "before inbox.part": ("sent", STORED),
    "after inbox.part": ("sent", STORED),
    "before inbox.mail": ("sent", STORED),
    "after inbox.mail": ("sent", ANSWERED),
}
"""Moments in the order in which a mail of two boxes and its answer of two boxes come by them, and what has to
stand on disk then: nothing, or (folder, state)."""
MOMENTS = tuple(TRUTH)
RECEIVER = ("inbox.part", "inbox.mail")
FRIEND = "friend"


@dataclass(frozen=True)
class Look:
    """What was found on disk after a kill."""

    moment: str
    id: str
    folder: str
    state: str
    sent_parts: int
    parts: int


def big_text() -> str:
    """Text that needs two boxes, each way."""
    return "".join(base64.b64encode(os.urandom(45)).decode() + "\n" for _ in range(330))


def walk(network: RealNetwork, moments: Sequence[str], subject: str) -> list[Look]:
    """You write to the friend, the friend answers; your daemon dies at each of the moments.

    They are in the order of MOMENTS.  After each kill the disk must say the truth.  The friend answers only
    when the mail has passed the sender's moments, so each moment has its time.  At the end an ordinary daemon
    has everything once.
    """
    you, friend, text = network.you, network.echo, big_text()
    looks: list[Look] = []
    taken = False  # the mail into the outbox, as far as the disk says
    answered = False
    for moment in moments:
        you.start_faulty(moment)
        if not taken and you.answers_or_died():
            # The daemon may die under this call: whether it has taken the mail shows on disk.
            with contextlib.suppress(ConnectionLost):
                you.send(FRIEND, subject, text)
        if moment.endswith(RECEIVER) and not answered:
            answer(friend, subject)
            answered = True
        you.killed(moment)
        looks += look(network, moment, subject)
        taken = bool(looks)
    you.start()
    if not taken:
        you.send(FRIEND, subject, text)
    if not answered:
        answer(friend, subject)
    mails = [row for name in ("outbox", "sent") for row in you.folder(name)]
    (id,) = [row.id for row in mails if row.subject == subject]
    wait_for(lambda: [row for row in you.folder("inbox") if row.in_reply_to == id], "the answer arrives")
    wait_for(lambda: you.folder("outbox") == [], "the outbox is empty")
    assert you.state(id) == ANSWERED
    (arrived,) = [row for row in friend.folder("inbox") if row.subject == subject]
    assert friend.mail(arrived.id).text == text
    (back,) = [row for row in you.folder("inbox") if row.in_reply_to == id]
    assert you.mail(back.id).text == f"{text}It arrived.\n"
    return looks


def answer(friend: Person, subject: str) -> None:
    """Wait for the mail at the friend's and answer it with all of its text."""
    (row,) = wait_for(
        lambda: [row for row in friend.folder("inbox") if row.subject == subject], "the mail arrives"
    )
    text = f"{friend.mail(row.id).text}It arrived.\n"
    friend.send(row.contact or "", f"Re: {subject}", text, row.id)


def look(network: RealNetwork, moment: str, subject: str) -> list[Look]:
    """What the disk says about the mail; it must be what is true."""
    home = network.you.home.folder
    rows = [row for row in profile_rows(home, "mails") if row["subject"] == subject]
    truth = TRUTH[moment]
    if truth is None:
        assert not rows, f"{moment}: a mail that nobody was told is safe"
        return []
    assert len(rows) == 1, f"{moment}: the mail stands there {len(rows)} times"
    (row,) = rows
    assert (row["folder"], row["state"]) == truth, f"{moment}: {row['folder']}, {row['state']}"
    parts = profile_rows(home, "outgoing", mail=row["id"])
    if truth[1] in (QUEUED, SENT):
        assert row["parts"] == len(parts)
        assert row["sent_parts"] == sum(part["tries"] > 0 for part in parts), moment
    if truth[1] == STORED:
        assert row["parts"] == row["sent_parts"] == len(parts)
        assert row["stored_min"] >= DEMO.quorum_of(row["replicas"]), moment
    for part in parts:
        if part["state"] == STORED:
            assert len(keepers(network.folder, Record.parse(part["record"]))) >= part["acks"] > 0, moment
    return [Look(moment, row["id"], row["folder"], row["state"], row["sent_parts"], row["parts"])]
