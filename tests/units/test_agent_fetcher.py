"""Reading: every mail once, whatever comes twice, out of turn, damaged or from a liar."""

from __future__ import annotations

import pytest
from agent_world import PARAMS, QUORUM, Desk, Homes, crash

from mixmail.agent.commands import AddContact, RemoveContact, SendMail
from mixmail.agent.events import MailArrived
from mixmail.agent.queries import Task
from mixmail.boxes.query import SPREAD, Answer, QueryOp
from mixmail.boxes.record import EMPTY_FIELD, Record, queue_entry
from mixmail.boxes.status import Status
from mixmail.mail.inbox import inbox_owner
from mixmail.params import DAY, GEOMETRY, day_of


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
    desk.command(AddContact(bob.address, "Bob"))
    return desk


def write(desk: Desk, to: str, *texts: str, reply_to: bytes | None = None) -> list[str]:
    """Send mails and wait until they are stored."""
    mails = []
    for text in texts:
        mail, eml = desk.mail(text, reply_to)
        desk.command(SendMail(to, desk.address, eml))
        assert desk.run(400, lambda: not desk.agent.state.outbox)
        mails.append(mail)
    return mails


def catch_up(desk: Desk, other: Desk) -> None:
    desk.now = max(desk.now, other.now)


def arrivals(desk: Desk) -> int:
    return sum(isinstance(event, MailArrived) for event in desk.events)


def opened(alice: Desk, bob: Desk) -> None:
    """A conversation in which both have written: Alice knows where Bob writes."""
    (mail,) = write(alice, bob.address, "hello\n")
    catch_up(bob, alice)
    assert bob.run(400, lambda: bob.inbox() == ["hello\n"])
    write(bob, alice.address, "hello yourself\n", reply_to=bytes.fromhex(mail))
    catch_up(alice, bob)
    assert alice.run(400, lambda: alice.inbox() == ["hello yourself\n"])


def read(desk: Desk, ahead: int) -> Task:
    """The READ of the box at the next index of the only session, or of one after it."""
    (session,) = desk.agent.state.sessions.values()
    task = desk.agent._fetcher._read_session(session, polled=False)
    if ahead:
        draws = iter([0.0] * ahead + [0.999])
        desk.rng.uniform = lambda: next(draws)  # type: ignore[method-assign]
        task = desk.agent._fetcher._read_session(session, polled=True)
        del desk.rng.uniform
    return task


def test_a_mail_read_ahead_of_its_turn_comes_once_even_after_a_crash(alice: Desk, bob: Desk) -> None:
    opened(alice, bob)
    write(bob, alice.address, "one\n", "two\n")
    catch_up(alice, bob)
    task = read(alice, ahead=1)
    alice.end(task, alice.homes.answer(task, alice.now))
    assert alice.inbox()[1:] == ["two\n"]

    again = crash(alice)  # it stands in the inbox; that its box was read is forgotten
    assert again.run(400, lambda: len(again.inbox()) == 3)
    again.run(200)
    assert sorted(again.inbox()) == sorted(["hello yourself\n", "two\n", "one\n"])
    assert arrivals(again) == 1, "the one that was not here yet"
    assert again.agent.state.incoming == {} and not again.tables["incoming"]


def test_the_same_box_by_two_queries_counts_once(alice: Desk, bob: Desk) -> None:
    opened(alice, bob)
    write(bob, alice.address, "one\n")
    catch_up(alice, bob)
    tasks = [read(alice, ahead=0) for _ in range(3)]
    for task in tasks:
        alice.end(task, alice.homes.answer(task, alice.now))
    assert alice.inbox()[1:] == ["one\n"] and arrivals(alice) == 2
    (session,) = alice.agent.state.sessions.values()
    assert session.read_cap is not None
    assert session.ahead == set()
    write(bob, alice.address, "two\n")
    catch_up(alice, bob)
    assert alice.run(200, lambda: "two\n" in alice.inbox()), "no index was skipped"


def test_both_boxes_read_in_the_wrong_order_move_the_stream_past_both(alice: Desk, bob: Desk) -> None:
    opened(alice, bob)
    write(bob, alice.address, "one\n", "two\n")
    catch_up(alice, bob)
    (session,) = alice.agent.state.sessions.values()
    assert session.read_cap is not None
    start = session.read_cap.index
    for ahead in (1, 0):
        task = read(alice, ahead)
        alice.end(task, alice.homes.answer(task, alice.now))
    assert alice.inbox()[1:] == ["two\n", "one\n"]
    assert session.read_cap.index == start + 2
    assert alice.tables["sessions"][(session.id,)]["read_cap"] == session.read_cap.pack()


@pytest.mark.parametrize("lie", ["changed", "another box", "nothing", "no record"])
def test_a_lie_about_a_box_moves_nothing_and_other_homes_are_asked(alice: Desk, bob: Desk, lie: str) -> None:
    opened(alice, bob)
    write(bob, alice.address, "one\n", "two\n")
    catch_up(alice, bob)
    task, other = read(alice, ahead=0), read(alice, ahead=1)
    good = alice.homes.answer(task, alice.now)
    raw = good.field
    answer = {
        "changed": Answer(Status.OK, 2, 3, raw[:9_000] + bytes([raw[9_000] ^ 1]) + raw[9_001:]),
        "another box": alice.homes.answer(other, alice.now),
        "nothing": Answer(Status.NOT_FOUND, 0, 0, EMPTY_FIELD),
        "no record": Answer(Status.OK, 2, 3, EMPTY_FIELD),
    }[lie]
    before = {**alice.tables["sessions"]}
    alice.end(task, answer)
    assert alice.inbox() == ["hello yourself\n"]
    assert alice.tables["sessions"] == before
    again = read(alice, ahead=0)
    assert again.flags == SPREAD and again.field(bytes(32)) == task.field(bytes(32))
    alice.end(again, good)
    assert read(alice, ahead=0).flags == 0
    assert "one\n" in alice.inbox()


def junk(desk: Desk, number: int) -> Record:
    """An entry that nobody can open, in the newest inbox queue."""
    person = desk.agent.state.people[desk.address]
    key = inbox_owner(person.identity, person.inboxes[-1].salt).public
    return queue_entry(key, PARAMS.mail_class, day_of(desk.now), bytes([number]) * GEOMETRY.box_ct)


def test_junk_in_the_inbox_is_read_over_and_deleted(alice: Desk, bob: Desk) -> None:
    for number in range(5):
        bob.homes.store.queue_add(junk(bob, number), day_of(bob.now), 256)
    write(alice, bob.address, "hello\n")
    catch_up(bob, alice)
    assert bob.run(2_000, lambda: bob.inbox() == ["hello\n"] and bob.homes.store.count()["entries"] == 0)
    assert bob.points.count("inbox.junk") == 5
    assert bob.agent._fetcher._deletions == {}
    assert bob.inbox() == ["hello\n"]


def test_an_entry_is_deleted_until_the_quorum_has_done_it(alice: Desk, bob: Desk) -> None:
    write(alice, bob.address, "hello\n")
    catch_up(bob, alice)
    task = bob.next_of(QueryOp.QUEUE_DELETE, slots=600)
    with pytest.raises(AssertionError, match="no QUEUE_DELETE"):
        bob.next_of(QueryOp.QUEUE_DELETE, slots=40)
    bob.end(task, None)
    task = bob.next_of(QueryOp.QUEUE_DELETE)
    bob.end(task, Answer(Status.OK, QUORUM - 1, (1 << (QUORUM - 1)) - 1, EMPTY_FIELD))
    assert len(bob.agent._fetcher._deletions) == 1, "too few homes: once more"
    task = bob.next_of(QueryOp.QUEUE_DELETE)
    bob.end(task, Answer(Status.OK, QUORUM, (1 << QUORUM) - 1, EMPTY_FIELD))
    assert bob.agent._fetcher._deletions == {}


def test_a_first_message_that_is_read_again_is_no_second_mail(alice: Desk, bob: Desk) -> None:
    write(alice, bob.address, "hello\n")
    catch_up(bob, alice)
    task = bob.next_of(QueryOp.QUEUE_READ)
    answer = bob.homes.answer(task, bob.now)
    bob.end(task, answer)
    assert bob.inbox() == ["hello\n"]
    write(bob, alice.address, "hello yourself\n")
    (before,) = bob.tables["sessions"].values()
    assert before["state"] == "open"
    again = crash(bob)
    task = again.next_of(QueryOp.QUEUE_READ)
    points = list(again.points)
    again.end(task, answer)
    assert again.inbox() == ["hello\n"] and arrivals(again) == 0
    assert list(again.tables["sessions"].values()) == [before], "not begun anew"
    assert again.points == points, "no work and no disk for it"

    # Whoever has seen it can leave it in another of his queues: another entry, the same message.
    later = Desk(bob.homes, "later", again.tables, again.now + DAY)
    salt = later.agent.state.people[bob.address].inboxes[-1].salt
    key = inbox_owner(later.agent.state.people[bob.address].identity, salt).public
    copy = queue_entry(key, PARAMS.mail_class, day_of(later.now), Record.parse(answer.field).c)
    later.homes.store.queue_add(copy, day_of(later.now), 256)
    assert later.run(600, lambda: copy.entry_id in later.agent._fetcher._deletions)
    assert later.inbox() == ["hello\n"] and arrivals(later) == 0
    assert list(later.tables["sessions"].values()) == [before]


@pytest.mark.parametrize("restarted", [False, True])
def test_an_answer_that_overtakes_the_acks_is_not_forgotten(alice: Desk, bob: Desk, restarted: bool) -> None:
    """The mail is read and answered before its sender has heard that it is stored."""
    alice.homes.acks = QUORUM - 1
    mail, eml = alice.mail("hello\n")
    alice.command(SendMail(bob.address, alice.address, eml))
    assert alice.run(400, lambda: alice.row(mail)["sent_parts"] == 1)
    alice.run(1)
    alice.homes.acks = 6
    catch_up(bob, alice)
    assert bob.run(600, lambda: bob.inbox() == ["hello\n"])
    write(bob, alice.address, "yes\n", reply_to=bytes.fromhex(mail))
    catch_up(alice, bob)
    alice.homes.acks = QUORUM - 1
    assert alice.run(600, lambda: alice.inbox() == ["yes\n"])
    assert (alice.row(mail)["folder"], alice.row(mail)["state"]) == ("outbox", "answered")
    alice.homes.acks = 6
    desk = crash(alice) if restarted else alice
    assert desk.run(200, lambda: not desk.agent.state.outbox)
    assert (desk.row(mail)["folder"], desk.row(mail)["state"]) == ("sent", "answered")
    assert not desk.tables["outgoing"]


def test_an_entry_of_another_queue_is_a_lie_and_other_homes_are_asked(alice: Desk, bob: Desk) -> None:
    carol = Desk(Homes(), "carol", now=bob.now)
    write(alice, bob.address, "hello\n")
    catch_up(bob, alice)
    task = bob.next_of(QueryOp.QUEUE_READ)
    before = list(bob.points)
    bob.end(task, Answer(Status.OK, 2, 3, junk(carol, 1).pack()))
    assert bob.points == before, "nothing is remembered of it, nothing will be deleted for it"
    assert bob.agent._fetcher._deletions == {}
    again = bob.next_of(QueryOp.QUEUE_READ)
    assert again.flags == SPREAD
    bob.end(again, bob.homes.answer(again, bob.now))
    assert bob.inbox() == ["hello\n"]


def test_an_old_entry_does_not_bring_a_removed_contact_back(alice: Desk, bob: Desk) -> None:
    write(alice, bob.address, "hello\n")
    catch_up(bob, alice)
    entries = bob.homes.store.count()["entries"]
    task = bob.next_of(QueryOp.QUEUE_READ)
    answer = bob.homes.answer(task, bob.now)
    bob.end(task, answer)
    assert bob.inbox() == ["hello\n"] and bob.homes.store.count()["entries"] == entries
    bob.command(RemoveContact(alice.address))
    # A home gives the entry out again, as if it had not been deleted.
    bob.end(bob.next_of(QueryOp.QUEUE_READ), answer)
    assert bob.tables["contacts"] == {} and bob.tables["sessions"] == {}
    assert bob.agent.state.contacts == {} and bob.inbox() == ["hello\n"]
