"""The proxy: silent, lying and differing homes, blobs opened before, and answers that wait."""

from __future__ import annotations

import dataclasses

import pytest
from node_world import NOON, PARAMS, TODAY, World

from mixmail.boxes import capability, stamp
from mixmail.boxes.blinding import OwnerKey
from mixmail.boxes.capability import WriteCap
from mixmail.boxes.placement import ranking
from mixmail.boxes.query import Answer, Query, QueryOp, QueueRequest, hour_of, open_answer
from mixmail.boxes.record import EMPTY_FIELD, FIRST, Record, RecordType, key_field, queue_entry
from mixmail.boxes.status import Status
from mixmail.directory.descriptor import Descriptor
from mixmail.effects import Frame, Send
from mixmail.errors import RemoteProtocolError
from mixmail.mixing.ticks import tick_number, tick_time
from mixmail.node import proxy as proxy_module
from mixmail.node.commands import LinkDown
from mixmail.node.wire import HomeReply, Kind
from mixmail.params import GEOMETRY
from mixmail.testing import SeededRandomness


class Asked:
    """A proxy in a world of 12 whose homes may be silenced or replaced."""

    def __init__(self, key: bytes, count: int = 12) -> None:
        self.world = World(count)
        self.homes = ranking(key, self.world.client.view.storage_ids(NOON), 24)
        # The proxy is the farthest home, the courier (who only listens) the one before.
        self.proxy = self.world.by_id[self.homes[-1]]
        self.courier = self.homes[-2]
        self.world.hang(self.courier)
        self.streams = 0
        self.lies: dict[bytes, HomeReply] = {}

    def blob(self, op: QueryOp, field: bytes, reply_key: bytes, flags: int = 0) -> bytes:
        return self.world.blob(Query(op, flags, reply_key, field), Descriptor.parse(self.proxy.descriptor))

    def give(self, blob: bytes) -> int:
        self.streams += 1
        self.world.frame(self.proxy, self.courier, Kind.PROXY_QUERY, blob, self.streams)
        return self.streams

    def sealed(self, stream: int, seconds: float = 30.0) -> bytes | None:
        """What the courier gets for a stream."""

        def found() -> list[bytes]:
            replies = self.world.frames(Kind.PROXY_REPLY)
            return [seen.frame.payload for seen in replies if seen.frame.stream == stream]

        self.world.run(seconds, lambda: bool(found()))
        answers = found()
        assert len(answers) <= 1
        return answers[0] if answers else None

    def ask(self, op: QueryOp, field: bytes, flags: int = 0) -> Answer:
        reply_key = self.world.rng.bytes(32)
        return self.ask_with(reply_key, op, field, flags)

    def ask_with(self, reply_key: bytes, op: QueryOp, field: bytes, flags: int = 0) -> Answer:
        sealed = self.sealed(self.give(self.blob(op, field, reply_key, flags)))
        assert sealed is not None
        return open_answer(reply_key, sealed)

    def lie(self, home: bytes, reply: HomeReply) -> None:
        """Let a home answer every query with `reply`."""
        node = self.world.by_id[home]

        class Liar:
            def handle_query(self, peer: bytes, frame: Frame, now: float) -> list[Send]:
                return [Send(peer, Frame(Kind.HOME_REPLY, frame.stream, reply.pack()))]

        node._replica = Liar()  # type: ignore[assignment]


def a_cap(seed: int = 0) -> WriteCap:
    return WriteCap.create(SeededRandomness(f"cap {seed}").bytes(64))


def a_box(cap: WriteCap, text: int = 0, day: int = TODAY) -> Record:
    rng = SeededRandomness(f"text {text}")
    return capability.seal(cap, rng.bytes(GEOMETRY.box_text), 30, day, rng)


BOX = a_box(a_cap())


def test_silent_homes_are_passed_over_and_the_bitmap_tells_who_holds_it() -> None:
    asked = Asked(BOX.key)
    silent = [0, 2, 3]
    asked.world.hang(*(asked.homes[rank] for rank in silent))
    answer = asked.ask(QueryOp.WRITE, BOX.pack())
    assert (answer.status, answer.n) == (Status.STORED, PARAMS.write_acks)
    held = [rank for rank, home in enumerate(asked.homes) if _holds(asked.world, home, BOX)]
    assert [rank for rank in range(32) if answer.acks >> rank & 1] == held == [1, 4, 5, 6, 7, 8]


def _holds(world: World, home: bytes, record: Record) -> bool:
    number = [node.node_id for node in world.nodes].index(home)
    return world.stores[number].get(record.key) == record


def test_homes_that_were_silent_are_asked_last_for_a_while() -> None:
    asked = Asked(BOX.key)
    asked.world.hang(*asked.homes[:2])
    asked.ask(QueryOp.WRITE, BOX.pack())
    asked.world.seen.clear()
    begun = asked.world.now
    assert asked.ask(QueryOp.READ, key_field(BOX.key)).status is Status.OK
    assert asked.world.now - begun < PARAMS.home_timeout
    queried = {seen.receiver for seen in asked.world.frames(Kind.HOME_QUERY)}
    assert queried == set(asked.homes[2:4])


def test_a_home_without_a_link_is_passed_over_at_once() -> None:
    asked = Asked(BOX.key)
    asked.world.hang(asked.homes[0])
    stream = asked.give(asked.blob(QueryOp.WRITE, BOX.pack(), bytes(32)))
    asked.world.command(asked.proxy, LinkDown(asked.homes[0]))
    assert asked.sealed(stream, PARAMS.home_timeout / 2) is not None


def test_with_all_homes_silent_the_answer_is_try_later_within_the_round_trip() -> None:
    asked = Asked(BOX.key)
    asked.world.hang(*(home for home in asked.homes if home != asked.proxy.node_id))
    begun = asked.world.now
    answer = asked.ask(QueryOp.READ, key_field(BOX.key))
    # The proxy itself is the last home: it is not reached before the asking ends.
    assert answer == Answer(Status.TRY_LATER, 0, 0, EMPTY_FIELD)
    assert asked.world.now - begun < PARAMS.rto


def test_a_proxy_that_is_a_home_asks_itself() -> None:
    asked = Asked(BOX.key, 3)
    asked.world.unhang()
    answer = asked.ask(QueryOp.WRITE, BOX.pack())
    assert (answer.n, answer.acks) == (3, 0b111)
    assert _holds(asked.world, asked.proxy.node_id, BOX)


def test_a_blob_is_opened_once_and_the_courier_cannot_see_why_not() -> None:
    asked = Asked(BOX.key)
    reply_key = asked.world.rng.bytes(32)
    blob = asked.blob(QueryOp.WRITE, BOX.pack(), reply_key)
    first = asked.sealed(asked.give(blob))
    assert first is not None and open_answer(reply_key, first).status is Status.STORED
    queries = len(asked.world.frames(Kind.HOME_QUERY))

    for refused in (blob, blob[:-1] + bytes([blob[-1] ^ 1]), bytes(GEOMETRY.blob)):
        sealed = asked.sealed(asked.give(refused))
        assert sealed is not None and len(sealed) == GEOMETRY.reply_ct and sealed != first
        with pytest.raises(RemoteProtocolError):
            open_answer(reply_key, sealed)
    assert len(asked.world.frames(Kind.HOME_QUERY)) == queries
    assert asked.proxy.stats["drop.proxy_replay"] == 1
    assert asked.proxy.stats["drop.proxy_blob"] == 2


def test_a_blob_of_another_length_is_dropped_without_an_answer() -> None:
    asked = Asked(BOX.key)
    assert asked.sealed(asked.give(bytes(GEOMETRY.blob - 1)), 3.0) is None
    assert asked.proxy.stats[f"drop.frame_{Kind.PROXY_QUERY}"] == 1


def test_a_query_whose_field_does_not_fit_is_refused_under_its_reply_key() -> None:
    asked, rng = Asked(BOX.key), SeededRandomness("refused")
    owner = OwnerKey.from_seed(rng.bytes(32), "test.own")
    stolen = QueueRequest.create(owner, QueryOp.QUEUE_READ, FIRST, hour_of(NOON), rng.bytes(32), rng)
    entry = queue_entry(owner.public, 30, TODAY, bytes(GEOMETRY.box_ct))
    for op, field in (
        (QueryOp.READ, BOX.pack()),
        (QueryOp.WRITE, bytes([255]) * GEOMETRY.record),
        (QueryOp.WRITE, entry.pack()),
        (QueryOp.QUEUE_ADD, BOX.pack()),
        (QueryOp.QUEUE_READ, stolen.to_field()),  # signed for another reply key
    ):
        assert asked.ask(op, field).status is Status.REFUSED
    assert asked.world.frames(Kind.HOME_QUERY) == []


def test_answers_wait_for_a_drawn_time_and_leave_on_ticks() -> None:
    asked = Asked(BOX.key)
    waits = []
    for _ in range(40):
        begun = asked.world.now
        asked.ask(QueryOp.READ, key_field(BOX.key))  # the courier, which is silent, is a far home of it
        left = asked.world.frames(Kind.PROXY_REPLY)[-1].time
        assert left == pytest.approx(tick_time(PARAMS, tick_number(PARAMS, left)), abs=1e-6)
        waits.append(left - begun)
    assert max(waits) > 3 * PARAMS.tick  # without a wait of its own: the next tick


def test_too_many_queries_at_once_get_an_answer_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = dataclasses.replace(proxy_module.NODE_LIMITS, proxy_queries=4)  # half of them for one courier
    monkeypatch.setattr(proxy_module, "NODE_LIMITS", limits)
    asked = Asked(BOX.key)
    asked.world.hang(*(home for home in asked.homes if home != asked.proxy.node_id))
    for number in range(3):
        asked.give(asked.blob(QueryOp.READ, key_field(BOX.key), bytes([number]) * 32))
    assert asked.proxy.stats["drop.proxy_full"] == 1
    assert asked.proxy._proxy.asker.running == 2
    asked.world.run(PARAMS.rto)
    assert asked.proxy._proxy.asker.running == 0
    assert asked.proxy._proxy.asker._asks == {}
    assert asked.proxy._proxy.asker.next_timeout() is None


# lying homes


def reply_with(record: Record, status: Status = Status.OK) -> HomeReply:
    return HomeReply(status, 1, record.pack())


def test_a_record_that_its_owner_did_not_sign_is_never_the_answer() -> None:
    asked = Asked(BOX.key)
    asked.ask(QueryOp.WRITE, BOX.pack())
    forged = dataclasses.replace(BOX, c=bytes(GEOMETRY.box_ct))
    other = a_box(a_cap(1))
    expired = a_box_of_day(TODAY - 40)
    for lie in (forged, other, expired):
        for home in asked.homes[:2]:
            asked.lie(home, reply_with(lie))
        answer = asked.ask(QueryOp.READ, key_field(BOX.key))
        assert Record.parse(answer.field) == BOX
        assert answer.acks == 0b1100  # the next two homes had to be asked


def a_box_of_day(day: int) -> Record:
    rng = SeededRandomness("old")
    return capability.seal(a_cap(), rng.bytes(GEOMETRY.box_text), 30, day, rng)


def test_a_tombstone_beats_the_box() -> None:
    asked, rng = Asked(BOX.key), SeededRandomness("tomb")
    asked.ask(QueryOp.WRITE, BOX.pack())
    tomb = capability.entomb(a_cap(), BOX, rng)
    asked.lie(asked.homes[1], reply_with(tomb))
    answer = asked.ask(QueryOp.READ, key_field(BOX.key))
    assert Record.parse(answer.field).type is RecordType.TOMBSTONE
    assert (answer.n, answer.acks) == (1, 0b10)


def test_exists_is_believed_only_with_another_record_signed_by_the_owner() -> None:
    asked = Asked(BOX.key)
    for home, lie in zip(
        asked.homes,
        (
            HomeReply(Status.EXISTS, 0, EMPTY_FIELD),
            reply_with(BOX, Status.EXISTS),  # the very record that was written
            reply_with(a_box(a_cap(1)), Status.EXISTS),
            reply_with(dataclasses.replace(BOX, c=bytes(GEOMETRY.box_ct)), Status.EXISTS),
            reply_with(a_box(a_cap(), 2, TODAY - 31), Status.EXISTS),  # expired, so no longer there
        ),
        strict=False,
    ):
        asked.lie(home, lie)
    answer = asked.ask(QueryOp.WRITE, BOX.pack())
    assert (answer.status, answer.n, answer.acks) == (Status.STORED, 6, 0b101111100000)  # rank 10 is silent

    second = a_box(a_cap(), 1)
    answer = asked.ask(QueryOp.WRITE, second.pack())
    assert answer.status is Status.EXISTS
    assert Record.parse(answer.field) == BOX


def test_a_write_that_the_homes_refuse_ends_early() -> None:
    asked = Asked(BOX.key, 20)
    forged = dataclasses.replace(BOX, signature=bytes(64))
    answer = asked.ask(QueryOp.WRITE, forged.pack())
    assert (answer.status, answer.n) == (Status.BAD_SIGNATURE, 0)
    assert len(asked.world.frames(Kind.HOME_QUERY)) < 2 * PARAMS.write_acks < len(asked.homes) - 1


def test_garbage_and_strangers_replies_do_not_count() -> None:
    asked = Asked(BOX.key)
    asked.world.hang(*asked.homes[:2])
    stream = asked.give(asked.blob(QueryOp.READ, key_field(BOX.key), bytes(32)))
    first, second = asked.world.frames(Kind.HOME_QUERY)
    good = HomeReply(Status.NOT_FOUND, 0, EMPTY_FIELD).pack()
    asked.world.frame(asked.proxy, second.receiver, Kind.HOME_REPLY, good, first.frame.stream)
    asked.world.frame(asked.proxy, first.receiver, Kind.HOME_REPLY, good[:-1], first.frame.stream)
    assert asked.proxy.stats[f"drop.frame_{Kind.HOME_REPLY}"] == 1
    assert asked.proxy.stats["drop.home_reply"] == 1
    assert len(asked.world.frames(Kind.HOME_QUERY)) == 3  # the next home is asked in its place
    assert asked.sealed(stream) is not None


def test_an_entry_that_claims_work_it_did_not_do_does_not_come_first() -> None:
    rng = SeededRandomness("entries")
    owner = OwnerKey.from_seed(rng.bytes(32), "test.own")
    asked = Asked(owner.public)
    entry = queue_entry(owner.public, 30, TODAY, bytes(GEOMETRY.box_ct))
    honest = stamp.solve(asked.world.network.hash, PARAMS, entry, PARAMS.stranger_bits, TODAY, 0, 10_000)
    assert honest is not None
    assert asked.ask(QueryOp.QUEUE_ADD, honest.pack()).n == PARAMS.write_acks
    claim = stamp.Stamp(bytes(8), stamp.ALG_ARGON2ID, 20, TODAY).pack()
    lie = queue_entry(owner.public, 30, TODAY, rng.bytes(GEOMETRY.box_ct)).with_stamp(claim)
    asked.lie(asked.homes[0], reply_with(lie))

    def ask(after: bytes) -> Answer:
        key = rng.bytes(32)
        request = QueueRequest.create(owner, QueryOp.QUEUE_READ, after, hour_of(asked.world.now), key, rng)
        return asked.ask_with(key, QueryOp.QUEUE_READ, request.to_field())

    answer = ask(FIRST)
    assert (answer.status, Record.parse(answer.field)) == (Status.OK, honest)
    assert ask(honest.position).status is Status.NOT_FOUND

    asked.lie(asked.homes[0], reply_with(honest))  # again what the owner has read
    assert ask(honest.position).status is Status.NOT_FOUND


def test_homes_that_ask_for_more_work_are_not_asked() -> None:
    """They say so in their descriptors; the others take their place."""
    asked = Asked(BOX.key)
    claims = {home: 2 for home in asked.homes[1:4]}
    view = asked.proxy.view
    get = view.get

    def claiming(node_id: bytes) -> Descriptor | None:
        found = get(node_id)
        assert found is not None
        return dataclasses.replace(found, stamp_bits=claims.get(node_id, 0))

    view.get = claiming  # type: ignore[method-assign]
    answer = asked.ask(QueryOp.WRITE, BOX.pack())
    assert (answer.status, answer.n, answer.acks) == (Status.STORED, PARAMS.write_acks, 0b111110001)
    claims.update({home: 255 for home in asked.homes})
    before = len(asked.world.frames(Kind.HOME_QUERY))
    answer = asked.ask(QueryOp.WRITE, a_box(a_cap(1)).pack())
    assert answer == Answer(Status.BAD_STAMP, 0, 0, EMPTY_FIELD)
    assert len(asked.world.frames(Kind.HOME_QUERY)) == before
    world, rng = asked.world, SeededRandomness("more")
    box = a_box(a_cap(2))
    day = stamp.stamp_day(box.type, box.day)
    most = stamp.solve(world.network.hash, PARAMS, box, PARAMS.asked_bits_max, day, rng.below(99), 10_000)
    assert most is not None  # no home asks for more than the network's limit, whatever it claims
    assert asked.ask(QueryOp.WRITE, most.pack()).n == PARAMS.write_acks
