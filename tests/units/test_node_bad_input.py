"""Bad records and queries at a home, and on the whole way through courier and proxy: the right word, nothing
kept, and nothing that the size or the wait of the answer would tell."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from bad_input import (
    BOX,
    ENTRY,
    KEPT,
    NAMES,
    NETWORK,
    OTHER,
    QUEUED,
    READER,
    ROWS,
    STRICT,
    TEXT_2,
    Field,
    asks,
    fixed,
    good,
)
from node_world import TODAY, Seen, World
from test_node_replica import Home

from mixmail.boxes.query import Query, QueryOp, open_answer
from mixmail.boxes.record import EMPTY_FIELD, Record, RecordType, key_field
from mixmail.boxes.status import Status
from mixmail.boxes.store import START, RecordStore
from mixmail.directory.descriptor import Descriptor
from mixmail.directory.path import draw_route
from mixmail.effects import Effect, Offload
from mixmail.errors import RemoteProtocolError
from mixmail.mixing import delays
from mixmail.mixing.ticks import tick_number, tick_time
from mixmail.node.replica import Replica
from mixmail.node.wire import HOME_QUERY_BYTES, HOME_REPLY_BYTES, HomeQuery, HomeReply, Kind
from mixmail.params import GEOMETRY
from mixmail.storage.node_db import NodeDatabase
from mixmail.testing import MemoryStore

each_row = pytest.mark.parametrize(("op", "field", "status"), [row[1:] for row in ROWS], ids=NAMES)
REPLY_KEY = bytes(range(32))


def fill(store: RecordStore) -> None:
    assert store.put(KEPT, TODAY) is Status.STORED
    for entry in QUEUED:
        assert store.queue_add(entry, TODAY, STRICT.queue_limit) is Status.STORED


def everything(store: RecordStore) -> tuple[dict[str, int], list[bytes]]:
    return store.count(), [record.pack() for record in store.scan(START, 1_000)]


# At a home.


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> Any:
    store = NodeDatabase(tmp_path_factory.mktemp("bad input") / "node.db")
    fill(store)
    yield store
    store.close()


class StrictHome(Home):
    """A home of the network of the table."""

    def __init__(self, store: RecordStore) -> None:
        super().__init__(STRICT, store=store)
        self.network = NETWORK
        self.replica = Replica(NETWORK, store, self.jobs, self.stats)


@each_row
def test_a_home_says_what_is_wrong_and_keeps_nothing(
    on_disk: RecordStore, op: QueryOp, field: Field, status: Status
) -> None:
    in_memory = MemoryStore()
    fill(in_memory)
    for store in (in_memory, on_disk):
        home, before = StrictHome(store), everything(store)
        reply = home.ask(op, field(REPLY_KEY))
        assert reply == HomeReply(status, 0, EMPTY_FIELD)
        assert len(reply.pack()) == HOME_REPLY_BYTES
        assert everything(store) == before


def test_what_the_table_changes_is_taken_as_it_was() -> None:
    store = MemoryStore()
    fill(store)
    home = StrictHome(store)
    for kind in RecordType:
        record = good(kind, owner=OTHER, seq=6 if kind is RecordType.MUTABLE else 0, c=TEXT_2)
        op = QueryOp.QUEUE_ADD if kind is RecordType.QUEUE else QueryOp.WRITE
        for day in (TODAY + 1, TODAY - 30):
            store = MemoryStore()
            moved = good(kind, owner=OTHER, day=day)
            assert StrictHome(store).ask(op, moved.pack()).status is Status.STORED
        if kind in (RecordType.MUTABLE, RecordType.QUEUE):
            assert home.ask(op, record.pack()).status is Status.STORED
        else:
            assert StrictHome(MemoryStore()).ask(op, record.pack()).status is Status.STORED
    for op, after, status in (
        (QueryOp.QUEUE_READ, bytes(32), Status.OK),
        (QueryOp.QUEUE_READ, min(entry.position for entry in QUEUED), Status.OK),
        (QueryOp.QUEUE_DELETE, QUEUED[0].entry_id, Status.OK),
    ):
        assert home.ask(op, asks(op, after)(REPLY_KEY)).status is status
    assert home.ask(QueryOp.READ, key_field(OTHER.public)).status is Status.OK


RECORDS = [row for row in ROWS if row[1] in (QueryOp.WRITE, QueryOp.QUEUE_ADD) and " in a " not in row[0]]


@pytest.mark.parametrize(
    ("field", "status"), [row[2:] for row in RECORDS], ids=[name for name, *_ in RECORDS]
)
def test_another_home_cannot_bring_it_either(field: Field, status: Status) -> None:
    store = MemoryStore()
    fill(store)
    home, before = StrictHome(store), everything(store)
    try:
        record = Record.parse(field(REPLY_KEY))
    except RemoteProtocolError:
        assert status is Status.REFUSED
        return
    said: list[Status] = []

    def answer(status: Status, other: Record | None) -> list[Effect]:
        assert other is None
        said.append(status)
        return []

    left = home.replica.take_in(record, bytes(32), answer, home.now)
    while left:
        effect = left.pop()
        assert isinstance(effect, Offload)
        left.extend(home.jobs.done(effect.token, effect.job(), home.now))
    assert said == [status]
    assert everything(store) == before


# On the whole way.


class Way:
    """A client, twelve nodes that are all homes, and one way for all queries."""

    def __init__(self) -> None:
        self.world = World(12, STRICT)
        assert self.world.network.hash == NETWORK.hash
        for store in self.world.stores:
            fill(store)
        self.route = draw_route(
            self.world.client.view, self.world.client.node_id, self.world.now, self.world.rng
        )

    def everything(self) -> list[Any]:
        return [everything(store) for store in self.world.stores]

    def frames(self, kind: Kind) -> list[Seen]:
        """What courier and proxy sent of this kind."""
        ends = {self.route.courier.node_id, self.route.proxy.node_id}
        return [seen for seen in self.world.frames(kind) if seen.sender in ends]


@pytest.fixture(scope="module")
def way() -> Way:
    return Way()


LENGTHS = {
    Kind.PACKET: GEOMETRY.packet,
    Kind.PROXY_QUERY: GEOMETRY.blob,
    Kind.PROXY_REPLY: GEOMETRY.reply_ct,
    Kind.HOME_QUERY: HOME_QUERY_BYTES,
    Kind.HOME_REPLY: HOME_REPLY_BYTES,
}


@each_row
def test_the_client_hears_it_by_courier_and_proxy(
    way: Way, op: QueryOp, field: Field, status: Status
) -> None:
    world, before = way.world, way.everything()
    world.seen.clear()
    answer = world.ask(op, field, way.route)
    held = answer.n if op is QueryOp.QUEUE_DELETE and status is Status.NOT_FOUND else 0
    assert (answer.status, answer.n, answer.field) == (status, held, EMPTY_FIELD)
    assert way.everything() == before
    assert [len(way.frames(kind)) for kind in (Kind.PROXY_QUERY, Kind.PROXY_REPLY)] == [1, 1]
    for seen in world.frames(*LENGTHS):
        assert len(seen.frame.payload) == LENGTHS[Kind(seen.frame.kind)]


def outcomes() -> list[tuple[str, QueryOp, Field]]:
    """One query for each status and each place at which it is decided."""
    first_of = {status: row for row in reversed(ROWS) for status in [(row[1], row[3])]}
    refused = [(name, op, field) for name, op, field, _ in first_of.values()]
    new = good(RecordType.BOX, owner=READER)
    newer, older = (good(RecordType.MUTABLE, owner=OTHER, seq=seq, c=TEXT_2) for seq in (9, 1))
    return [
        *refused,
        ("a new record", QueryOp.WRITE, fixed(new)),
        ("the same again", QueryOp.WRITE, fixed(new)),
        ("one that takes the place of another", QueryOp.WRITE, fixed(newer)),
        ("one that does not", QueryOp.WRITE, fixed(older)),
        ("a new entry", QueryOp.QUEUE_ADD, fixed(ENTRY)),
        ("what is there", QueryOp.READ, fixed(key_field(OTHER.public))),
        ("the first entry", QueryOp.QUEUE_READ, asks(QueryOp.QUEUE_READ)),
        ("an entry deleted", QueryOp.QUEUE_DELETE, asks(QueryOp.QUEUE_DELETE, QUEUED[0].entry_id)),
    ]


OUTCOMES = outcomes()


def test_no_outcome_waits_longer_or_shorter_than_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """With all drawn waits the same, each answer leaves proxy and courier as many ticks after its question.

    So the waits are drawn by one law whatever the outcome, and nothing but the homes' round trips, which are
    short here and below a tick, adds to them.
    """
    drawn: list[float] = []

    def draw(params: Any, rng: Any) -> float:
        drawn.append(4.5 * params.tick)
        return drawn[-1]

    monkeypatch.setattr(delays, "draw_courier_delay", draw)
    way, statuses, took = Way(), Counter[Status](), Counter[tuple[int, ...]]()
    world, courier, proxy = way.world, way.route.courier.node_id, way.route.proxy.node_id
    for _, op, field in OUTCOMES:
        world.seen.clear()
        drawn.clear()
        statuses[world.ask(op, field, way.route).status] += 1
        (asked,), (answered,) = way.frames(Kind.PROXY_QUERY), way.frames(Kind.PROXY_REPLY)
        (back,) = (
            seen for seen in world.frames(Kind.PACKET) if seen.sender == courier and seen.time > answered.time
        )
        assert (asked.sender, answered.sender) == (courier, proxy)
        took[len(drawn), ticks(world, asked, answered), ticks(world, answered, back)] += 1
    assert set(statuses) >= set(Status) - {Status.TRY_LATER}
    assert took == {(3, 5, 5): len(OUTCOMES)}


def ticks(world: World, first: Seen, second: Seen) -> int:
    numbers = [tick_number(world.params, seen.time) for seen in (first, second)]
    for seen, number in zip((first, second), numbers, strict=True):
        assert seen.time == pytest.approx(tick_time(world.params, number), abs=1e-6)
    return numbers[1] - numbers[0]


def test_what_a_proxy_does_not_open_waits_as_long_and_is_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delays, "draw_courier_delay", lambda params, rng: 4.5 * params.tick)
    way = Way()
    world, proxy, courier = way.world, way.route.proxy, way.route.courier.node_id
    world.hang(courier)
    good_one = world.blob(Query(QueryOp.READ, 0, REPLY_KEY, key_field(OTHER.public)), proxy)
    other_way = Query(QueryOp.READ, 2, REPLY_KEY, key_field(OTHER.public))  # a flag that there is not
    broken = good_one[:-1] + bytes([good_one[-1] ^ 1])
    blobs = (good_one, good_one, broken, bytes(GEOMETRY.blob), world.blob(other_way, proxy))
    begun = tick_time(STRICT, tick_number(STRICT, world.now) + 1)
    for number, blob in enumerate(blobs):
        world.run(begun + number * 20 * STRICT.tick - world.now)
        world.frame(world.by_id[proxy.node_id], courier, Kind.PROXY_QUERY, blob, number + 1)
    world.run(1.0)
    left = {seen.frame.stream: seen for seen in way.frames(Kind.PROXY_REPLY)}
    assert sorted(left) == [1, 2, 3, 4, 5]
    for stream, seen in left.items():
        assert len(seen.frame.payload) == GEOMETRY.reply_ct
        asked = tick_number(STRICT, begun + (stream - 1) * 20 * STRICT.tick)
        assert tick_number(STRICT, seen.time) - asked == 5
    assert open_answer(REPLY_KEY, left[1].frame.payload).status is Status.OK
    for stream in (2, 3, 4, 5):
        with pytest.raises(RemoteProtocolError):
            open_answer(REPLY_KEY, left[stream].frame.payload)


@pytest.mark.parametrize("kind", [Kind.HOME_QUERY, Kind.PROXY_QUERY, Kind.RECORD])
@pytest.mark.parametrize("change", [-17_000, -1, 1, 15_000])
def test_a_frame_that_is_cut_off_or_too_long_is_dropped_without_a_word(
    way: Way, kind: Kind, change: int
) -> None:
    world, node, before = way.world, way.world.nodes[3], way.everything()
    query = Query(QueryOp.WRITE, 0, REPLY_KEY, BOX.pack())
    whole = {
        Kind.HOME_QUERY: HomeQuery(QueryOp.WRITE, BOX.pack()).pack(),
        Kind.PROXY_QUERY: world.blob(query, Descriptor.parse(node.descriptor)),
        Kind.RECORD: BOX.pack(),
    }[kind]
    payload = whole[:change] if change < 0 else whole + bytes(change)
    world.seen.clear()
    dropped = node.stats[f"drop.frame_{kind}"]
    world.frame(node, bytes(32), kind, payload, 9)
    world.run(1.0)
    assert node.stats[f"drop.frame_{kind}"] == dropped + 1
    assert not [seen for seen in world.seen if seen.sender == node.node_id and seen.frame.stream == 9]
    assert way.everything() == before
