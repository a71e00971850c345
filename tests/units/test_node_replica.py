"""The replica: what it refuses, in which order, what it costs, and what it does when its disk fails."""

from __future__ import annotations

import dataclasses

import pytest
from low_order import FORGED, SMALL_ORDER, is_forged_by
from node_world import NOON, PARAMS, TODAY

from mixmail.boxes import capability, stamp
from mixmail.boxes.blinding import OwnerKey
from mixmail.boxes.capability import WriteCap
from mixmail.boxes.query import QueryOp, QueueRequest, hour_of
from mixmail.boxes.record import EMPTY_FIELD, FIRST, ZERO_STAMP, Record, RecordType, key_field, queue_entry
from mixmail.boxes.status import Status
from mixmail.boxes.store import RECORD_SPACE
from mixmail.effects import Effect, Emit, Frame, Offload, Send
from mixmail.errors import RemoteProtocolError
from mixmail.jobs import Jobs
from mixmail.node.events import StoreFailed
from mixmail.node.replica import Replica
from mixmail.node.stats import Stats
from mixmail.node.wire import HomeQuery, HomeReply, Kind
from mixmail.params import GEOMETRY, NODE_LIMITS, Network, NetworkParameters, NodeLimits
from mixmail.testing import MemoryStore, SeededRandomness

PEER = bytes([5]) * 32
RNG = SeededRandomness("replica")
OWNER = OwnerKey.from_seed(RNG.bytes(32), "test.own")
CAP = WriteCap.create(RNG.bytes(64))
STRICT = dataclasses.replace(PARAMS, box_bits=3)
SMALL = dataclasses.replace(NODE_LIMITS, stamp_check_cost=0.05)  # four checks a second


def a_box(day: int = TODAY, klass: int = 30, text: int = 0) -> Record:
    rng = SeededRandomness(f"text {text}")
    return capability.seal(CAP, rng.bytes(GEOMETRY.box_text), klass, day, rng)


class Home:
    """One replica over a memory store; its jobs run when `ask` says so."""

    def __init__(
        self,
        params: NetworkParameters = PARAMS,
        jobs: int = 10,
        store: object = None,
        limits: NodeLimits = NODE_LIMITS,
    ) -> None:
        self.network = Network(bytes(32), TODAY, params)
        self.store = MemoryStore() if store is None else store
        self.jobs = Jobs(jobs)
        self.stats = Stats()
        self.replica = Replica(self.network, self.store, self.jobs, self.stats, limits)  # type: ignore[arg-type]
        self.lanes: list[str] = []
        self.others: list[Effect] = []
        self.now = NOON

    def effects(self, op: QueryOp, field: bytes, peer: bytes = PEER) -> list[Effect]:
        frame = Frame(Kind.HOME_QUERY, 77, HomeQuery(op, field).pack())
        return self.replica.handle_query(peer, frame, self.now)

    def ask(self, op: QueryOp, field: bytes, peer: bytes = PEER) -> HomeReply:
        """Ask and run all jobs; the one reply."""
        left, replies = self.effects(op, field, peer), []
        self.lanes.clear()
        while left:
            effect = left.pop(0)
            if isinstance(effect, Offload):
                self.lanes.append(effect.lane)
                try:
                    result = effect.job()
                except OSError as error:
                    result = error
                left.extend(self.jobs.done(effect.token, result, self.now))
            elif isinstance(effect, Send):
                assert (effect.peer, effect.frame.kind, effect.frame.stream) == (peer, Kind.HOME_REPLY, 77)
                replies.append(HomeReply.parse(effect.frame.payload))
            else:
                self.others.append(effect)
        (reply,) = replies
        return reply

    def stamped(self, record: Record, bits: int) -> Record:
        params = self.network.parameters
        day = stamp.stamp_day(record.type, record.day)
        solved = stamp.solve(self.network.hash, params, record, bits, day, 0, 100_000)
        assert solved is not None
        return solved


def test_a_valid_box_is_stored_and_given_back() -> None:
    home, box = Home(), a_box()
    assert home.ask(QueryOp.READ, key_field(box.key)) == HomeReply(Status.NOT_FOUND, 0, EMPTY_FIELD)
    assert home.ask(QueryOp.WRITE, box.pack()).status is Status.STORED
    assert home.lanes == ["store"]  # no bits asked, none claimed: no Argon2id
    assert home.ask(QueryOp.WRITE, box.pack()).status is Status.OK
    reply = home.ask(QueryOp.READ, key_field(box.key))
    assert (reply.status, reply.n, Record.parse(reply.field)) == (Status.OK, 1, box)


@pytest.mark.parametrize(
    ("record", "status"),
    [
        (dataclasses.replace(a_box(), signature=bytes(64)), Status.BAD_SIGNATURE),
        (dataclasses.replace(a_box(), key=bytes([1]) + bytes(31)), Status.BAD_SIGNATURE),
        (a_box(TODAY - 31), Status.EXPIRED),
        (a_box(TODAY + 2), Status.REFUSED),
        (a_box(klass=31), Status.REFUSED),
        (a_box().with_stamp(stamp.Stamp(bytes(8), 1, 25, TODAY).pack()), Status.BAD_STAMP),
        (a_box().with_stamp(stamp.Stamp(bytes(8), 1, 20, stamp.monday(TODAY)).pack()), Status.BAD_STAMP),
    ],
)
def test_a_record_that_breaks_a_rule_is_not_stored(record: Record, status: Status) -> None:
    home = Home()
    assert home.ask(QueryOp.WRITE, record.pack()) == HomeReply(status, 0, EMPTY_FIELD)
    assert home.store.count()["records"] == 0  # type: ignore[attr-defined]


def test_stamps_are_checked_elsewhere_and_only_when_the_record_is_not_here() -> None:
    home, box = Home(STRICT), a_box()
    assert home.ask(QueryOp.WRITE, box.pack()).status is Status.BAD_STAMP
    assert home.lanes == []
    assert home.ask(QueryOp.WRITE, home.stamped(box, 2).pack()).status is Status.BAD_STAMP
    good = home.stamped(box, 3)
    assert home.ask(QueryOp.WRITE, good.pack()).status is Status.STORED
    assert home.lanes == ["store", "cpu", "store"]
    assert home.ask(QueryOp.WRITE, good.pack()).status is Status.OK
    assert home.lanes == ["store", "store"]


def test_another_record_at_the_key_comes_back_with_exists() -> None:
    home = Home()
    home.ask(QueryOp.WRITE, a_box().pack())
    reply = home.ask(QueryOp.WRITE, a_box(text=1).pack())
    assert (reply.status, reply.n, Record.parse(reply.field)) == (Status.EXISTS, 1, a_box())


def test_an_expired_record_is_not_given_back_and_swept() -> None:
    home, box = Home(), a_box()
    home.ask(QueryOp.WRITE, box.pack())
    home.now += 31 * 86_400
    assert home.ask(QueryOp.READ, key_field(box.key)).status is Status.NOT_FOUND
    (sweep,) = home.replica.expire(home.now)
    assert isinstance(sweep, Offload)
    assert sweep.job()[0] == 1


def test_expiry_comes_in_jobs_of_few_rows_one_after_the_other() -> None:
    home = Home(limits=dataclasses.replace(NODE_LIMITS, store_rows=3))
    for number in range(7):
        home.store.put(dataclasses.replace(a_box(), key=bytes([number]) * 32), TODAY)  # type: ignore[attr-defined]
    home.now += 31 * 86_400
    steps = []
    effects = home.replica.expire(home.now)
    while effects:
        (effect,) = effects  # the next job is asked for when the one before is done: reads come in between
        assert isinstance(effect, Offload) and effect.lane == "upkeep"
        assert home.replica.expire(home.now) == []  # one round at a time
        steps.append(effect.job())
        effects = home.jobs.done(effect.token, steps[-1], home.now)
    assert [count for count, _ in steps] == [3, 3, 1]
    assert len(home.replica.expire(home.now)) == 1  # the next round


def test_an_expiry_that_fails_is_told_and_begins_anew() -> None:
    home = Home(limits=dataclasses.replace(NODE_LIMITS, store_rows=3))
    (effect,) = home.replica.expire(home.now)
    assert isinstance(effect, Offload)
    told = home.jobs.done(effect.token, OSError("no space left on device"), home.now)
    assert told == [Emit(StoreFailed("no space left on device"))]
    assert len(home.replica.expire(home.now)) == 1


# the quota, and the work asked for


def box_of(number: int, home: Home, bits: int, day: int = TODAY) -> Record:
    rng = SeededRandomness(f"box {number}")
    cap = WriteCap.create(rng.bytes(64))
    return home.stamped(capability.seal(cap, rng.bytes(GEOMETRY.box_text), 30, day, rng), bits)


def do_all(home: Home, effects: list[Effect]) -> int:
    """Do the jobs one after the other; how many it were."""
    count = 0
    while effects:
        (effect,) = effects
        assert isinstance(effect, Offload)
        effects = home.jobs.done(effect.token, effect.job(), home.now)
        count += 1
    return count


def test_a_full_home_says_so_and_what_has_more_work_comes_in() -> None:
    asking = dataclasses.replace(PARAMS, box_bits=1, asked_bits_max=6)
    home = Home(asking, store=MemoryStore(3 * RECORD_SPACE))
    held = [box_of(number, home, 2) for number in range(3)]
    for box in held:
        assert home.ask(QueryOp.WRITE, box.pack()).status is Status.STORED
    refused = home.ask(QueryOp.WRITE, box_of(4, home, 2).pack())
    assert refused == HomeReply(Status.FULL, 0, EMPTY_FIELD)
    assert len(refused.pack()) == len(HomeReply(Status.OK, 1, held[0].pack()).pack())
    assert home.stats["replica.put_full"] == 1
    better = box_of(5, home, 3)
    assert home.ask(QueryOp.WRITE, better.pack()).status is Status.STORED
    assert home.ask(QueryOp.READ, key_field(held[0].key)).status is Status.NOT_FOUND
    assert home.ask(QueryOp.READ, key_field(better.key)).status is Status.OK
    said: list[Status] = []
    for one in (box_of(6, home, 2), box_of(7, home, 4)):  # and by repair
        effects = home.replica.take_in(one, PEER, lambda status, _: said.append(status) or [], home.now)  # type: ignore[func-returns-value]
        do_all(home, effects)
    assert said == [Status.FULL, Status.STORED]


def test_a_lowered_quota_is_met_in_jobs_of_few_rows() -> None:
    home = Home(limits=dataclasses.replace(NODE_LIMITS, store_rows=3))
    for number in range(9):
        home.store.put(dataclasses.replace(a_box(), key=bytes([number]) * 32), TODAY)  # type: ignore[attr-defined]
    home.store._capacity = 2  # type: ignore[attr-defined]
    assert do_all(home, home.replica.expire(home.now)) == 3  # 3, 3 and 1: reads come in between
    assert home.store.count()["records"] == 2  # type: ignore[attr-defined]


def test_the_claim_follows_the_fill_by_a_bit_a_day_and_is_needed_at_once() -> None:
    asking = dataclasses.replace(PARAMS, box_bits=1, asked_bits_max=3)
    home = Home(asking, store=MemoryStore(4 * RECORD_SPACE))
    assert [home.replica.publish_claim(day) for day in (TODAY, TODAY + 1)] == [1, 1]  # fill not known yet
    for number in range(4):
        home.ask(QueryOp.WRITE, box_of(number, home, 1).pack())
    assert home.replica.publish_claim(TODAY + 2) == 1  # still not
    do_all(home, home.replica.expire(home.now))
    assert [home.replica.publish_claim(TODAY + day) for day in (2, 3, 3, 4, 5)] == [1, 2, 2, 3, 3]
    checked = home.stats["replica.stamps_checked"]
    assert home.ask(QueryOp.WRITE, box_of(0, home, 1).pack()).status is Status.OK  # it is here
    for bits in (1, 2):
        assert home.ask(QueryOp.WRITE, box_of(5, home, bits).pack()).status is Status.BAD_STAMP
    assert home.stats["replica.stamps_checked"] == checked  # nobody pays for what is too little anyhow
    assert home.ask(QueryOp.WRITE, box_of(5, home, 3).pack()).status is Status.STORED
    assert home.ask(QueryOp.QUEUE_ADD, home.stamped(an_entry(0), 2).pack()).status is Status.BAD_STAMP


def test_a_claim_outlives_a_restart() -> None:
    home = Home(dataclasses.replace(PARAMS, box_bits=1, asked_bits_max=9))
    home.replica.restore_claim(7, TODAY - 1)
    assert home.replica.publish_claim(TODAY) == 7  # until it is known how full the store is
    do_all(home, home.replica.expire(home.now))
    assert home.replica.publish_claim(TODAY) == 1


# the budget of Argon2id


def a_flood(home: Home, peer: bytes, count: int, seconds: float) -> list[int]:
    """Boxes with bad stamps by one proxy, evenly over `seconds`; after how many each Argon2id was done."""
    done = []
    bad = stamp.Stamp(bytes(8), 1, 20, stamp.monday(TODAY)).pack()
    raw = a_box(text=7).with_stamp(bad).pack()
    for number in range(count):
        home.now += seconds / count
        status = home.ask(QueryOp.WRITE, raw, peer).status
        if "cpu" in home.lanes:
            assert status is Status.BAD_STAMP
            done.append(number)
        else:
            assert status is Status.TRY_LATER
    return done


def test_a_flood_of_bad_stamps_costs_no_more_than_the_budget() -> None:
    home = Home(STRICT, limits=SMALL)  # four checks a second, 40 at once
    done = a_flood(home, PEER, 2_000, 100.0)  # 20 a second
    assert len(done) <= 40 + 400
    late = [number for number in done if number >= 1_000]  # of the last 50 s
    assert 95 <= len(late) <= 105  # one proxy alone comes to half of the budget
    assert home.stats["replica.stamps_checked"] == home.stats["replica.bad_stamp"] == len(done)
    assert home.stats["replica.stamps_put_off"] == 2_000 - len(done)


def test_a_flood_by_some_proxies_does_not_starve_the_writers_behind_others() -> None:
    home = Home(STRICT, limits=SMALL)
    for second in range(30):
        for number in range(5):
            a_flood(home, bytes([100 + number]) * 32, 20, 0.2)
        if second >= 10:
            rng = SeededRandomness(f"honest {second}")
            cap = WriteCap.create(rng.bytes(64))
            box = home.stamped(capability.seal(cap, rng.bytes(GEOMETRY.box_text), 30, TODAY, rng), 3)
            assert home.ask(QueryOp.WRITE, box.pack(), bytes([second]) * 32).status is Status.STORED
    assert home.stats["replica.stamps_put_off"] > 2_000


def test_what_a_home_holds_costs_no_argon2id_and_is_answered_when_the_budget_is_used_up() -> None:
    home, entry, box = Home(STRICT, limits=SMALL), an_entry(0), a_box()
    entry, box = home.stamped(entry, PARAMS.stranger_bits), home.stamped(box, 3)
    held = ((QueryOp.QUEUE_ADD, entry), (QueryOp.WRITE, box))
    for op, record in held:
        assert home.ask(op, record.pack()).status is Status.STORED
    assert home.stats["replica.stamps_checked"] == 2
    a_flood(home, PEER, 100, 0.1)
    checked = home.stats["replica.stamps_checked"]
    for op, record in held:
        for _ in range(50):
            assert home.ask(op, record.pack()).status is Status.OK
            assert home.lanes == ["store", "store"]
    assert home.stats["replica.stamps_checked"] == checked


def test_a_deleted_entry_that_comes_again_costs_no_argon2id_either() -> None:
    home = Home()
    entry = home.stamped(an_entry(0), PARAMS.stranger_bits)
    home.ask(QueryOp.QUEUE_ADD, entry.pack())
    home.ask(QueryOp.QUEUE_DELETE, request(QueryOp.QUEUE_DELETE, entry.entry_id))
    assert home.ask(QueryOp.QUEUE_ADD, entry.pack()).status is Status.OK
    assert home.lanes == ["store", "store"]
    assert home.ask(QueryOp.QUEUE_READ, request(QueryOp.QUEUE_READ, FIRST)).status is Status.NOT_FOUND


# queues


def an_entry(number: int, klass: int = 30) -> Record:
    return queue_entry(OWNER.public, klass, TODAY, SeededRandomness(f"entry {number}").bytes(GEOMETRY.box_ct))


def request(op: QueryOp, after: bytes, owner: OwnerKey = OWNER, hour: int = hour_of(NOON)) -> bytes:
    made = QueueRequest.create(owner, op, after, hour, bytes(32), RNG)
    return dataclasses.replace(made, key=OWNER.public).to_field()


def test_a_queue_entry_needs_its_work_and_the_list_its_owner() -> None:
    home = Home()
    assert home.ask(QueryOp.QUEUE_ADD, an_entry(0).pack()).status is Status.BAD_STAMP
    entry = home.stamped(an_entry(0), PARAMS.stranger_bits)
    assert home.ask(QueryOp.QUEUE_ADD, entry.pack()).status is Status.STORED
    assert home.lanes == ["store", "cpu", "store"]
    assert home.ask(QueryOp.QUEUE_ADD, entry.pack()).status is Status.OK

    reply = home.ask(QueryOp.QUEUE_READ, request(QueryOp.QUEUE_READ, FIRST))
    assert Record.parse(reply.field) == entry
    assert (
        home.ask(QueryOp.QUEUE_READ, request(QueryOp.QUEUE_READ, entry.position)).status is Status.NOT_FOUND
    )

    stranger = OwnerKey.from_seed(RNG.bytes(32), "test.own")
    now = hour_of(NOON)
    for wrong in (
        request(QueryOp.QUEUE_READ, FIRST, stranger),
        request(QueryOp.QUEUE_READ, FIRST, hour=now - 2),
        request(QueryOp.QUEUE_READ, FIRST, hour=now + 2),
        request(QueryOp.QUEUE_DELETE, FIRST),  # signed for the other operation
    ):
        assert home.ask(QueryOp.QUEUE_READ, wrong).status is Status.BAD_SIGNATURE
        assert home.lanes == []
    for near in (now - 1, now + 1):
        field = request(QueryOp.QUEUE_READ, FIRST, hour=near)
        assert home.ask(QueryOp.QUEUE_READ, field).status is Status.OK

    delete = request(QueryOp.QUEUE_DELETE, entry.entry_id)
    assert home.ask(QueryOp.QUEUE_DELETE, delete).status is Status.OK
    assert home.ask(QueryOp.QUEUE_READ, request(QueryOp.QUEUE_READ, FIRST)).status is Status.NOT_FOUND


def test_an_expired_entry_does_not_hide_those_behind_it() -> None:
    home = Home()
    first = home.stamped(an_entry(1, klass=7), 5)
    second = home.stamped(an_entry(2), 2)
    for entry in (first, second):
        home.ask(QueryOp.QUEUE_ADD, entry.pack())
    home.now += 8 * 86_400
    field = request(QueryOp.QUEUE_READ, FIRST, hour=hour_of(home.now))
    assert Record.parse(home.ask(QueryOp.QUEUE_READ, field).field) == second


# keys that anybody could sign with


@pytest.mark.parametrize("kind", [RecordType.BOX, RecordType.TOMBSTONE, RecordType.MUTABLE])
@pytest.mark.parametrize("point", SMALL_ORDER, ids=lambda point: point.hex()[:8] + point.hex()[-2:])
def test_a_small_order_key_signs_no_record_though_its_sums_are_right(point: bytes, kind: RecordType) -> None:
    home = Home()
    c = bytes(GEOMETRY.box_ct)
    made = (
        Record(point, FORGED, kind, klass, day, 0, ZERO_STAMP, c)
        for klass in PARAMS.classes_days
        for day in range(TODAY - klass, TODAY + 2)
    )
    record = next(one for one in made if is_forged_by(point, one.signed_message()))
    assert home.ask(QueryOp.WRITE, record.pack()) == HomeReply(Status.BAD_SIGNATURE, 0, EMPTY_FIELD)
    assert home.lanes == []


@pytest.mark.parametrize("op", [QueryOp.QUEUE_READ, QueryOp.QUEUE_DELETE])
@pytest.mark.parametrize("point", SMALL_ORDER, ids=lambda point: point.hex()[:8] + point.hex()[-2:])
def test_a_small_order_key_has_no_queue_though_its_sums_are_right(point: bytes, op: QueryOp) -> None:
    home, hour = Home(), hour_of(NOON)
    entry = queue_entry(point, 30, TODAY, bytes(GEOMETRY.box_ct))
    assert home.ask(QueryOp.QUEUE_ADD, entry.pack()).status is Status.BAD_SIGNATURE
    places = (bytes([number]) * 32 for number in range(256))

    def signed(after: bytes) -> bytes:
        return b"mm1-queue" + bytes([op]) + point + after + bytes(32) + hour.to_bytes(4, "little")

    after = next(place for place in places if is_forged_by(point, signed(place)))
    field = QueueRequest(point, after, hour, FORGED, bytes(32)).to_field()
    assert home.ask(op, field) == HomeReply(Status.BAD_SIGNATURE, 0, EMPTY_FIELD)
    assert home.lanes == []


# what is not a query, too much at once, and a failing disk


@pytest.mark.parametrize("op", list(QueryOp))
def test_a_field_that_does_not_fit_its_operation_is_refused(op: QueryOp) -> None:
    home = Home()
    assert home.ask(op, bytes([255]) * GEOMETRY.record).status is Status.REFUSED
    other = an_entry(0) if op is QueryOp.WRITE else a_box()
    assert home.ask(op, other.pack()).status in (Status.REFUSED,)
    assert home.lanes == []


def test_a_frame_that_no_proxy_sends_raises() -> None:
    for payload in (b"", bytes(17_337), bytes([9]) + bytes(17_337), bytes([0, 1]) + bytes(17_336)):
        with pytest.raises(RemoteProtocolError):
            Home().replica.handle_query(PEER, Frame(Kind.HOME_QUERY, 1, payload), NOON)


def test_beyond_its_budget_a_home_says_try_later() -> None:
    home = Home(jobs=2)
    waiting = [home.effects(QueryOp.READ, key_field(bytes([n]) * 32)) for n in range(2)]
    assert home.ask(QueryOp.READ, key_field(bytes(32))).status is Status.TRY_LATER
    (job,) = waiting[0]
    assert isinstance(job, Offload)
    home.jobs.done(job.token, None, NOON)
    assert home.ask(QueryOp.READ, key_field(bytes(32))).status is Status.NOT_FOUND


class FullDisk(MemoryStore):
    def put(self, record: Record, today: int, repair: bool = False) -> Status:
        raise OSError("no space left on device")

    def get(self, key: bytes) -> Record | None:
        raise OSError("cannot read")


@pytest.mark.parametrize("params", [PARAMS, STRICT])
def test_a_failing_disk_puts_the_asker_off_and_is_told(params: NetworkParameters) -> None:
    home = Home(params, store=FullDisk())
    box = home.stamped(a_box(), params.box_bits)
    for op, field in ((QueryOp.WRITE, box.pack()), (QueryOp.READ, key_field(box.key))):
        home.others.clear()
        assert home.ask(op, field).status is Status.TRY_LATER
        (told,) = home.others
        assert isinstance(told, Emit) and isinstance(told.event, StoreFailed)
    assert home.others == [Emit(StoreFailed("cannot read"))]
    assert home.stats["replica.failed_jobs"] == 2
