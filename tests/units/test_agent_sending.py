"""The outbox: queued, sent (k/N), stored (r of R), answered, and never ahead of the truth."""

from __future__ import annotations

import dataclasses

import pytest
from agent_world import PARAMS, QUORUM, Desk, Homes, crash

from mixmail.agent.commands import AddContact, CancelMail, RemoveContact, SendMail
from mixmail.agent.outbox import MORE_WORK, NOTES
from mixmail.agent.tables import apply_change
from mixmail.boxes import stamp
from mixmail.boxes.capability import seal
from mixmail.boxes.query import SPREAD, Answer, QueryOp
from mixmail.boxes.record import EMPTY_FIELD, Record, RecordType
from mixmail.boxes.status import Status
from mixmail.effects import Emit, Persist, Put
from mixmail.errors import UserError
from mixmail.mail.identity import Identity
from mixmail.params import GEOMETRY
from mixmail.testing import SeededRandomness

LONG = "".join(f"a long mail, line {number}\n" for number in range(1_500))  # three parts


@pytest.fixture
def homes() -> Homes:
    return Homes()


@pytest.fixture
def bob(homes: Homes) -> Desk:
    desk = Desk(homes, "bob")
    assert desk.run(200, desk.published)
    return desk


@pytest.fixture
def alice(homes: Homes, bob: Desk) -> Desk:
    desk = Desk(homes, "alice", now=bob.now)
    assert desk.run(200, desk.published)
    desk.command(AddContact(bob.address, "Bob"))
    assert desk.run(200, lambda: desk.agent.state.contacts[bob.address].profile is not None)
    return desk


def send(desk: Desk, to: str, text: str, reply_to: bytes | None = None) -> str:
    mail, eml = desk.mail(text, reply_to)
    desk.command(SendMail(to, desk.address, eml))
    return mail


def catch_up(desk: Desk, other: Desk) -> None:
    desk.now = max(desk.now, other.now)


def test_the_way_of_a_mail_of_three_parts(alice: Desk, bob: Desk) -> None:
    mail = send(alice, bob.address, LONG)
    assert alice.row(mail)["folder"] == "outbox"
    assert alice.points[-5:] == ["mail.queued", "mail.sealed", *["part.stamped"] * 3]
    assert alice.agent.packets_waiting == 3
    assert alice.run(200, lambda: not alice.agent.state.outbox)
    assert alice.states(mail) == [
        ("queued", 0, 0),
        ("queued", 0, 3),
        ("sent", 1, 3),
        ("sent", 2, 3),
        ("sent", 3, 3),
        ("stored", 3, 3),
    ]
    row = alice.row(mail)
    assert (row["folder"], row["state"], row["stored_min"], row["replicas"]) == ("sent", "stored", 6, 12)
    assert alice.agent.packets_waiting == 0

    catch_up(bob, alice)
    assert bob.run(400, lambda: bob.inbox() == [LONG])
    (arrived,) = bob.agent.state.delivered
    assert bob.row(arrived)["contact"] == alice.address
    answer = send(bob, alice.address, "thanks\n", reply_to=bytes.fromhex(mail))
    assert bob.run(200, lambda: not bob.agent.state.outbox)
    catch_up(alice, bob)
    assert alice.run(400, lambda: alice.inbox() == ["thanks\n"])
    assert alice.row(mail)["state"] == "answered"
    assert alice.states(mail)[-1] == ("answered", 3, 3)
    assert not [part for part in alice.tables["outgoing"].values() if part["mail"] == mail]
    assert bob.row(answer)["state"] == "stored"


def test_sent_counts_a_part_once_however_often_it_leaves(alice: Desk, bob: Desk) -> None:
    mail = send(alice, bob.address, "short\n")
    for tries in range(1, 4):
        task = alice.next_of(QueryOp.QUEUE_ADD)
        assert (alice.row(mail)["state"], alice.row(mail)["sent_parts"]) == ("sent", 1)
        assert alice.tables["outgoing"][(f"{mail}:0",)]["tries"] == tries
        alice.end(task, None)
        assert alice.row(mail)["folder"] == "outbox"


def test_a_part_under_way_is_not_sent_a_second_time(alice: Desk, bob: Desk) -> None:
    send(alice, bob.address, "short\n")
    task = alice.next_of(QueryOp.QUEUE_ADD)
    with pytest.raises(AssertionError, match="no QUEUE_ADD"):
        alice.next_of(QueryOp.QUEUE_ADD, slots=60)
    alice.end(task, None)
    again = alice.next_of(QueryOp.QUEUE_ADD)
    assert again.field(bytes(32)) == task.field(bytes(32)), "every try sends the same bytes"


@pytest.mark.parametrize("acks", range(7))
def test_stored_needs_the_quorum(alice: Desk, bob: Desk, acks: int) -> None:
    mail = send(alice, bob.address, "short\n")
    task = alice.next_of(QueryOp.QUEUE_ADD)
    status = Status.STORED if acks else Status.TRY_LATER
    alice.end(task, Answer(status, acks, (1 << acks) - 1, EMPTY_FIELD))
    row = alice.row(mail)
    if acks >= QUORUM:
        assert (row["folder"], row["state"], row["stored_min"]) == ("sent", "stored", acks)
        return
    assert (row["folder"], row["state"]) == ("outbox", "sent")
    expected = f"only {acks} storage nodes answered" if acks else "the storage nodes are busy"
    assert expected in row["note"]
    assert alice.tables["outgoing"][(f"{mail}:0",)]["state"] == "queued"
    assert alice.run(100, lambda: not alice.agent.state.outbox), "tried again until it is stored"
    assert alice.row(mail)["note"] == ""


def test_an_unproven_claim_that_somebody_else_writes_is_not_believed(alice: Desk, bob: Desk) -> None:
    mail = send(alice, bob.address, "short\n")
    task = alice.next_of(QueryOp.QUEUE_ADD)
    alice.end(task, Answer(Status.EXISTS, 0, 0, EMPTY_FIELD))
    assert alice.row(mail)["note"] == ""
    again = alice.next_of(QueryOp.QUEUE_ADD)
    alice.end(again, Answer(Status.EXISTS, 0, 0, task.field(bytes(32))))
    assert alice.row(mail)["note"] == "", "our own record is no proof"
    assert alice.run(100, lambda: not alice.agent.state.outbox)


def test_a_proven_claim_that_somebody_else_writes_is_told(alice: Desk, bob: Desk) -> None:
    send(alice, bob.address, "short\n")
    assert alice.run(200, lambda: not alice.agent.state.outbox)
    (session,) = alice.agent.state.sessions.values()
    cap = session.write_cap
    assert cap is not None
    mail = send(alice, bob.address, "the second one\n")
    task = alice.next_of(QueryOp.WRITE)
    while (own := Record.parse(task.field(bytes(32)))).type is not RecordType.BOX:
        alice.end(task, alice.homes.answer(task, alice.now))
        task = alice.next_of(QueryOp.WRITE)
    other = seal(cap, bytes(GEOMETRY.box_text), own.klass, own.day, SeededRandomness("another machine"))
    assert other.key == own.key and not other.identical(own)
    alice.end(task, Answer(Status.EXISTS, 0, 0, other.pack()))
    assert alice.row(mail)["note"] == NOTES[Status.EXISTS]


@pytest.mark.parametrize(("n", "bits"), [(255, 0), (6, 0b111), (7, 0b111111 << 26)])
def test_acks_that_contradict_themselves_do_not_count(alice: Desk, bob: Desk, n: int, bits: int) -> None:
    mail = send(alice, bob.address, "short\n")
    alice.end(alice.next_of(QueryOp.QUEUE_ADD), Answer(Status.STORED, n, bits, EMPTY_FIELD))
    assert alice.row(mail)["folder"] == "outbox"


REFUSALS = [s for s in Status if not s.acknowledges and s is not Status.EXISTS]


@pytest.mark.parametrize("status", REFUSALS)
def test_what_the_homes_refuse_is_said_and_tried_again(alice: Desk, bob: Desk, status: Status) -> None:
    mail = send(alice, bob.address, "short\n")
    alice.end(alice.next_of(QueryOp.QUEUE_ADD), Answer(status, 6, 0b111111, EMPTY_FIELD))
    row = alice.row(mail)
    assert (row["folder"], row["state"]) == ("outbox", "sent"), "acks beside a refusal do not count"
    more_work = status in (Status.BAD_STAMP, Status.FULL)  # test_agent_more_work.py
    note = MORE_WORK.format(bits="1 bit", seconds=1) if more_work else NOTES[status]
    assert row["note"] == note
    assert alice.run(100, lambda: not alice.agent.state.outbox)


def test_what_is_stored_is_written_once_more_to_other_homes(alice: Desk, bob: Desk) -> None:
    send(alice, bob.address, "short\n")
    assert alice.run(200, lambda: not alice.agent.state.outbox)
    (part,) = alice.agent.state.parts.values()
    cover = alice.agent._cover
    early, due = part.again - 1.0, part.again
    assert 0.0 < due - alice.now < 12 * PARAMS.follow_wait_slots * PARAMS.slot
    assert cover.write(early).flags == 0
    again = cover.write(due)
    assert (again.flags, again.field(bytes(32))) == (SPREAD, part.record)
    assert cover.write(due).flags == 0, "one at a time"
    again.ended(None, due + 1.0)
    assert cover.write(due).flags == 0
    again = cover.write(due + 1.0)
    assert again.flags == SPREAD, "the query got lost"
    again.ended(Answer(Status.OK, 1, 1, EMPTY_FIELD), due + 2.0)
    assert {cover.write(due + 1e6).flags for _ in range(5)} == {0}


def test_a_mail_can_be_taken_back_until_it_is_sealed(alice: Desk, bob: Desk) -> None:
    nobody = Identity(bytes(32)).address.text
    alice.command(AddContact(nobody, "Nobody"))
    mail = send(alice, nobody, "never mind\n")
    assert alice.row(mail)["note"] == "looking up the address"
    with pytest.raises(UserError, match="still in the outbox"):
        alice.command(RemoveContact(nobody))
    alice.command(CancelMail(mail))
    assert (mail,) not in alice.tables["mails"]
    assert mail not in crash(alice).agent.state.outbox

    sealed = send(alice, bob.address, "short\n")
    for _ in range(2):
        with pytest.raises(UserError) as caught:
            alice.command(CancelMail(sealed))
        assert caught.value.code == "too-late"
        if alice.row(sealed)["sent_parts"] == 0:
            alice.end(alice.next_of(QueryOp.QUEUE_ADD), None)
    for unknown in ("no such mail", mail):
        with pytest.raises(UserError) as caught:
            alice.command(CancelMail(unknown))
        assert caught.value.code == "unknown-mail"


def test_what_cannot_be_sent_is_refused_in_one_sentence(alice: Desk, bob: Desk) -> None:
    _, eml = alice.mail("twice\n")
    alice.command(SendMail(bob.address, alice.address, eml))
    cases = [
        (SendMail(bob.address, alice.address, eml), "known-mail"),
        (SendMail(bob.address, "nobody", alice.mail("x")[1]), "no-identity"),
        (SendMail("nobody", alice.address, alice.mail("x")[1]), "unknown-contact"),
        (SendMail(bob.address, alice.address, alice.mail("x" * PARAMS.mail_limit)[1]), "too-large"),
    ]
    before = dict(alice.tables["mails"])
    for command, code in cases:
        with pytest.raises(UserError) as caught:
            alice.command(command)
        assert caught.value.code == code
    assert alice.tables["mails"] == before


def test_a_restart_in_each_state_goes_on_where_it_was(alice: Desk, bob: Desk) -> None:
    mail = send(alice, bob.address, LONG)
    first = [part["record"] for part in alice.tables["outgoing"].values()]
    again = crash(alice)  # sealed
    assert again.agent.packets_waiting == 3
    task = again.next_of(QueryOp.QUEUE_ADD)  # its answer is lost with the memory
    sent = again.row(mail)["sent_parts"]
    assert sent >= 1
    third = crash(again)
    assert third.row(mail)["sent_parts"] == sent
    assert third.next_of(QueryOp.QUEUE_ADD).field(bytes(32)) == task.field(bytes(32))
    fourth = crash(third)
    assert fourth.run(300, lambda: not fourth.agent.state.outbox)
    assert fourth.row(mail)["sent_parts"] == 3
    assert [part["record"] for part in fourth.tables["outgoing"].values()] == first
    catch_up(bob, fourth)
    assert bob.run(400, lambda: bob.inbox() == [LONG])


def test_the_index_is_taken_before_anything_leaves(alice: Desk, bob: Desk) -> None:
    """Session, sealed records and outbox row are one transaction, before the first packet."""
    mail, eml = alice.mail(LONG)
    effects = alice.agent.handle_command(SendMail(bob.address, alice.address, eml), alice.now)
    sealed = [effect for effect in effects if isinstance(effect, Persist) and effect.point == "mail.sealed"]
    assert len(sealed) == 1
    puts = [change for change in sealed[0].changes if isinstance(change, Put)]
    assert sorted(put.table for put in puts) == ["outgoing", "outgoing", "outgoing", "sessions"]
    (session,) = [put.row for put in puts if put.table == "sessions"]
    live = alice.agent.state.sessions[session["id"]]
    assert live.write_cap is not None and session["write_cap"] == live.write_cap.pack()
    for effect in effects:
        assert isinstance(effect, Persist | Emit)
        for change in effect.changes if isinstance(effect, Persist) else ():
            apply_change(alice.tables, change)
    assert alice.tables["mails"][(mail,)]["parts"] == 3


def test_stamps_are_searched_for_before_the_first_try() -> None:
    params = dataclasses.replace(PARAMS, stranger_bits=2, box_bits=1, stamp_memory=8_192)
    homes = Homes()
    bob = Desk(homes, "bob", params=params)
    assert bob.run(300, bob.published)
    alice = Desk(homes, "alice", now=bob.now, params=params)
    alice.command(AddContact(bob.address, ""))
    mail = send(alice, bob.address, LONG)
    assert alice.run(300, lambda: not alice.agent.state.outbox)
    for part in alice.tables["outgoing"].values():
        record = Record.parse(part["record"])
        needed = 2 if part["op"] == QueryOp.QUEUE_ADD else 1
        assert stamp.check(alice.agent._context.network.hash, params, record, needed), part["id"]
    assert alice.row(mail)["state"] == "stored"


def test_a_stamp_that_a_crash_interrupted_is_searched_for_again() -> None:
    params = dataclasses.replace(PARAMS, stranger_bits=2, box_bits=1, stamp_memory=8_192)
    homes = Homes()
    bob = Desk(homes, "bob", params=params)
    assert bob.run(300, bob.published)
    alice = Desk(homes, "alice", now=bob.now, params=params)
    alice.command(AddContact(bob.address, ""))
    assert alice.run(300, lambda: alice.agent.state.contacts[bob.address].profile is not None)
    mail, eml = alice.mail(LONG)
    for effect in alice.agent.handle_command(SendMail(bob.address, alice.address, eml), alice.now):
        if isinstance(effect, Persist):  # and then the power fails, before any job is done
            for change in effect.changes:
                apply_change(alice.tables, change)
    assert {part["state"] for part in alice.tables["outgoing"].values()} == {"stamping"}
    again = crash(alice)
    assert again.run(300, lambda: not again.agent.state.outbox)
    assert again.row(mail)["state"] == "stored"
