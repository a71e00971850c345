"""Writes are read back by another way, and whoever lied is not asked again."""

from __future__ import annotations

import dataclasses

import pytest
from agent_world import Desk, Homes, crash

from mixmail.agent import read_back
from mixmail.agent.commands import AddContact, SendMail
from mixmail.agent.outbox import DOUBTED
from mixmail.agent.queries import Task
from mixmail.agent.read_back import ReadBacks
from mixmail.agent.suspects import Suspects
from mixmail.boxes.blinding import OwnerKey
from mixmail.boxes.query import SPREAD, Answer, QueryOp
from mixmail.boxes.record import EMPTY_FIELD, Record, RecordType, sign_record
from mixmail.boxes.status import Status
from mixmail.effects import Effect
from mixmail.mail.address import Address
from mixmail.mail.identity import week_of
from mixmail.mail.profile import profile_key
from mixmail.params import GEOMETRY, NODE_LIMITS, day_of
from mixmail.testing import SeededRandomness

LONG = "".join(
    f"a long mail, line {number}\n" for number in range(1_500)
)  # three parts, the first in a queue
LIE = Answer(Status.STORED, 6, 0b111111, EMPTY_FIELD)
NOT_HERE = Answer(Status.NOT_FOUND, 0, 0, EMPTY_FIELD)
VERIFIED = "verified: read back by another way"


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every stored write is read back."""
    monkeypatch.setattr(read_back, "NODE_LIMITS", dataclasses.replace(NODE_LIMITS, read_back_share=1.0))


@pytest.fixture
def alice() -> Desk:
    """She knows Bob, and all that there was to read back has been."""
    homes = Homes()
    bob = Desk(homes, "bob")
    assert bob.run(200, bob.published)
    desk = Desk(homes, "alice", now=bob.now)
    desk.command(AddContact(bob.address, "Bob"))
    assert desk.run(400, lambda: desk.agent.state.contacts[bob.address].profile is not None)
    assert desk.run(800, lambda: desk.published() and not waiting(desk))
    return desk


def waiting(desk: Desk) -> list[Record]:
    return [check.record for check in desk.agent._read_backs._waiting]


def send(desk: Desk, text: str = LONG) -> str:
    mail, eml = desk.mail(text)
    (bob,) = desk.agent.state.contacts
    desk.command(SendMail(bob, desk.address, eml))
    return mail


def boxes(desk: Desk, mail: str) -> list[Record]:
    parts = [part for part in desk.agent.state.parts.values() if part.mail == mail]
    return [Record.parse(part.record) for part in parts if part.op == QueryOp.WRITE]


def is_read_back(task: Task, records: list[Record]) -> bool:
    return task.op is QueryOp.READ and task.field(bytes(32))[:32] in {record.key for record in records}


def next_read_back(desk: Desk, records: list[Record]) -> Task:
    for _ in range(800):
        task = desk.slot()
        if is_read_back(task, records):
            return task
        desk.end(task, desk.homes.answer(task, desk.now))
    raise AssertionError("no read-back")


def stored_by_a_lie(desk: Desk) -> tuple[str, Record]:
    """A mail one part of which is said to be stored, and is not."""
    mail = send(desk)
    lost = boxes(desk, mail)[0]
    desk.homes.lost = {lost.key}
    while desk.row(mail)["state"] != "stored":
        task = desk.slot()
        assert not is_read_back(task, [lost]), (
            "another seed, please: this one reads back before all is stored"
        )
        desk.end(task, desk.homes.answer(task, desk.now))
    return mail, lost


def test_one_stored_write_in_ten_is_read_back(alice: Desk) -> None:
    raw = send_one_box(alice)
    read_backs = ReadBacks(alice.agent._context, Suspects())
    for _ in range(4_000):
        read_backs.stored(raw, (b"courier", b"proxy"), lambda found, now: [], alice.now)
    assert NODE_LIMITS.read_back_share == 0.1
    assert 320 < len(read_backs._waiting) < 480  # 4 standard deviations


def send_one_box(desk: Desk) -> bytes:
    return boxes(desk, send(desk))[0].pack()


@pytest.mark.usefixtures("always")
def test_boxes_are_read_back_by_other_nodes_and_the_mail_says_so(alice: Desk) -> None:
    mail = send(alice)
    records = boxes(alice, mail)
    assert len(records) == 2
    assert alice.run(400, lambda: alice.row(mail)["state"] == "stored")
    assert alice.row(mail)["note"] in ("", f"{VERIFIED} (1 of 3)")
    for number in range(2):
        if alice.row(mail)["note"] == "" or number:
            task = next_read_back(alice, records)
            written = [p.way for p in alice.agent.state.parts.values() if p.mail == mail]
            assert task.real and task.flags == 0
            assert any(task.avoid == set(way) for way in written)
            alice.end(task, alice.homes.answer(task, alice.now))
    assert alice.row(mail)["note"] == f"{VERIFIED} (2 of 3)"
    assert not waiting(alice), "entries of queues are read by their owner only"
    assert not alice.agent.suspects.avoided(100)


@pytest.mark.usefixtures("always")
def test_what_nobody_finds_is_written_again_and_its_proxy_avoided(alice: Desk) -> None:
    mail, lost = stored_by_a_lie(alice)
    (part,) = [p for p in alice.agent.state.parts.values() if Record.parse(p.record).key == lost.key]
    liar = part.way[1]
    used: list[frozenset[bytes]] = []
    flags: list[int] = []
    while part.state == "stored":
        task = next_read_back(alice, [lost])
        used.append(task.avoid)
        flags.append(task.flags)
        alice.end(task, alice.homes.answer(task, alice.now))
    assert flags == [0, 0, SPREAD, SPREAD]
    assert [len(nodes) for nodes in used] == [2, 4, 6, 8], "each by another way"
    assert alice.row(mail)["note"] == DOUBTED and alice.row(mail)["folder"] == "sent"
    alice.homes.lost = set()
    assert alice.tables["outgoing"][(part.id,)]["state"] == "queued"
    assert alice.agent.suspects.avoided(100) == {liar}
    assert alice.run(800, lambda: VERIFIED in alice.row(mail)["note"])
    assert alice.homes.store.get(lost.key) == lost
    assert alice.agent.suspects.avoided(100) == {liar}


@pytest.mark.usefixtures("always")
def test_a_doubted_part_is_written_again_after_a_crash_as_well(alice: Desk) -> None:
    mail, lost = stored_by_a_lie(alice)
    while alice.row(mail)["note"] != DOUBTED:
        task = next_read_back(alice, [lost])
        alice.end(task, alice.homes.answer(task, alice.now))
    alice = crash(alice)
    alice.homes.lost = set()
    assert alice.run(400, lambda: alice.homes.store.get(lost.key) is not None)
    assert alice.run(10, lambda: all(p.state == "stored" for p in alice.agent.state.parts.values()))
    assert alice.row(mail)["state"] == "stored"


@pytest.mark.usefixtures("always")
def test_a_reader_who_denies_what_the_next_one_finds_is_avoided(alice: Desk) -> None:
    mail = send(alice)
    records = boxes(alice, mail)
    task = next_read_back(alice, records)
    (denier,) = [b"proxy %d" % alice._caught.ways]
    alice.end(task, NOT_HERE)
    key = [record for record in records if record.key == task.field(bytes(32))[:32]]
    task = next_read_back(alice, key)
    assert denier in task.avoid and task.flags == 0
    alice.end(task, alice.homes.answer(task, alice.now))
    assert alice.agent.suspects.avoided(100) == {denier}
    assert alice.run(800, lambda: alice.row(mail)["note"] == f"{VERIFIED} (2 of 3)")


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("said", ["another record", "no record", "busy"])
def test_only_the_very_record_counts(alice: Desk, said: str) -> None:
    mail = send(alice)
    first, second = boxes(alice, mail)
    task = next_read_back(alice, [first])
    field = {"another record": second.pack(), "no record": b"\xff" * len(EMPTY_FIELD), "busy": EMPTY_FIELD}[
        said
    ]
    alice.end(task, Answer(Status.TRY_LATER if said == "busy" else Status.OK, 2, 3, field))
    (check,) = [one for one in alice.agent._read_backs._waiting if one.record.key == first.key]
    assert len(check.denials) == (0 if said == "busy" else 1)


@pytest.mark.parametrize("what", ["tombstone", "box that stays", "box that goes", "forged tombstone"])
def test_who_shares_a_key_does_not_make_an_honest_proxy_a_liar(alice: Desk, what: str) -> None:
    """The first answer to a stranger goes to a box that the stranger can write and remove as well."""
    owner, day = OwnerKey.from_seed(bytes(32), "test.own"), day_of(alice.now)

    def a_record(type: RecordType, text: int) -> Record:
        c = bytes(GEOMETRY.box_ct - 1) + bytes([text])
        return sign_record(owner, type, 30, day, 0, c, SeededRandomness("shared key"))

    low, high = sorted((a_record(RecordType.BOX, text) for text in (1, 2)), key=lambda one: one.body_hash)
    tombstone = a_record(RecordType.TOMBSTONE, 0)
    mine, other = {
        "tombstone": (low, tombstone),
        "box that stays": (high, low),
        "box that goes": (low, high),
        "forged tombstone": (low, dataclasses.replace(tombstone, signature=low.signature)),
    }[what]
    suspects, verdicts = Suspects(), []
    read_backs = ReadBacks(alice.agent._context, suspects)

    def verdict(found: bool, now: float) -> list[Effect]:
        verdicts.append(found)
        return []

    read_backs.stored(mine.pack(), (b"courier", b"honest"), verdict, alice.now, always=True)
    reads, now = 0, alice.now
    while not verdicts:
        now += 100 * alice.agent._context.params.follow_wait_slots * alice.agent._context.params.slot
        task = read_backs.next_read(now)
        assert task is not None and task.sent is not None
        task.sent(now, (b"courier %d" % reads, b"proxy %d" % reads))
        task.ended(Answer(Status.OK, 1, 1, other.pack()), now)
        reads += 1
    proven = what in ("tombstone", "box that stays")
    assert verdicts == [False]
    assert (reads, suspects.avoided(100)) == ((1, set()) if proven else (4, {b"honest"}))


@pytest.mark.usefixtures("always")
def test_a_read_back_that_is_lost_is_tried_again_and_given_up_at_last(alice: Desk) -> None:
    mail = send(alice)
    (record, _) = boxes(alice, mail)
    for _ in range(NODE_LIMITS.read_back_tries):
        alice.end(next_read_back(alice, [record]), None)
    assert record.key not in {one.key for one in waiting(alice)}
    assert alice.row(mail)["note"] in ("", f"{VERIFIED} (1 of 3)"), "nothing was found out"
    assert not alice.agent.suspects.avoided(100)


def test_a_profile_that_nobody_finds_is_published_again(alice: Desk) -> None:
    week = week_of(day_of(alice.now))
    fresh = Desk(alice.homes, "carol", now=alice.now)
    keys = [profile_key(Address.parse(fresh.address), week, kind) for kind in (0, 1)]
    while not fresh.published():
        task = fresh.slot()
        fresh.end(task, LIE if task.op is QueryOp.WRITE else fresh.homes.answer(task, fresh.now))
    assert all(fresh.homes.store.get(key) is None for key in keys)
    assert len(waiting(fresh)) == 2, "a profile is always read back"
    assert fresh.run(2_000, lambda: all(fresh.homes.store.get(key) is not None for key in keys))
    assert len(fresh.agent.suspects.avoided(100)) == 2


def test_a_quarter_of_the_network_is_avoided_at_most_and_the_worst_of_all() -> None:
    suspects = Suspects()
    for number in range(10):
        for _ in range(number + 1):
            suspects.checked(b"liar %d" % number, lied=True)
    assert suspects.avoided(12) == {b"liar 9", b"liar 8", b"liar 7"}
    assert suspects.avoided(400) == {b"liar %d" % number for number in range(10)}
    assert suspects.avoided(3) == frozenset()


@pytest.mark.parametrize("role", ["courier", "proxy", "mix"])
def test_a_courier_or_proxy_that_never_answers_is_avoided_and_a_mix_is_not(role: str) -> None:
    rng = SeededRandomness(f"suspects {role}")
    suspects, nodes = Suspects(), [b"node %d" % number for number in range(12)]
    places = {"courier": (3,), "proxy": (4,), "mix": (0, 1, 2, 5, 6, 7)}[role]
    for _ in range(5 * NODE_LIMITS.loss_look):
        way = [*rng.sample(nodes, 4), rng.choice(nodes), *rng.sample(nodes, 3)]
        lost = any(way[place] == b"node 5" for place in places) or rng.uniform() < 0.05
        suspects.ended(not lost, tuple(way))
    assert suspects.avoided(12) == (set() if role == "mix" else {b"node 5"})


def test_a_single_false_word_against_many_true_ones_is_no_lie() -> None:
    """Somebody may have lied about an honest proxy, or its homes may have lost the record."""
    suspects = Suspects()
    suspects.checked(b"proxy", lied=True)
    assert suspects.avoided(40) == {b"proxy"}
    for _ in range(4):
        suspects.checked(b"proxy", lied=False)
    assert suspects.avoided(40) == frozenset()


def test_what_was_long_ago_is_forgotten() -> None:
    suspects = Suspects()
    suspects.checked(b"liar", lied=True)
    for number in range(NODE_LIMITS.checked_words - 1):
        suspects.checked(b"honest %d" % number, lied=False)
    assert suspects.avoided(40) == {b"liar"}
    suspects.checked(b"honest", lied=False)
    assert suspects.avoided(40) == frozenset()
