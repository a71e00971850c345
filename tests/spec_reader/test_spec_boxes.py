"""Every vector of boxes.json, read by a program written from docs/protocol/boxes.md and store.md alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import boxes_reader as boxes
import home_reader as homes
import network_reader as networks
import pytest
import spec_primitives
import spec_vectors
import spec_xwing as xwing
import store_reader as store
from cryptography.hazmat.primitives import hpke
from spec_primitives import (
    ORDER,
    Refused,
    blake2b,
    owner_keys,
    point_is_valid,
    reduce_scalar,
    scalar_bytes,
    shake,
    sign,
    signature_is_good,
    times_base,
    times_point,
    u64be,
)
from spec_vectors import unhex

VECTORS = spec_vectors.load("boxes.json")
STATUS = {"OK", "STORED", "EXISTS"}


def from_seed(name: str, length: int) -> bytes:
    return shake("boxes vectors, " + name, length)


def scalar_of(text: str) -> int:
    scalar = int.from_bytes(unhex(text), "little")
    assert scalar < ORDER
    return scalar


def check_record_fields(entry: Any, record: boxes.Record) -> None:
    assert record.key.hex() == entry["key"]
    assert record.signature.hex() == entry["signature"]
    assert record.meta.hex() == entry["meta"]
    assert record.stamp.hex() == entry["stamp"]
    assert blake2b(256, record.c).hex() == entry["c_blake2b_256"]
    assert blake2b(256, record.encode()).hex() == entry["record_blake2b_256"]
    assert record.last_day == entry["expiry_day"]
    assert (record.keep_days, record.day) == (entry["class"], entry["day"])
    assert record.keep_days in boxes.CLASSES
    assert boxes.parse_record(record.encode()) == record
    boxes.check_authentic(record)


def check_stream(entry: Any, _: Any) -> None:
    ctx, seed, chain = unhex(entry["ctx"]), unhex(entry["stream_seed"])[:32], unhex(entry["stream_seed"])[32:]
    a, prefix, public = owner_keys(seed, "mm1.root")
    assert scalar_bytes(a).hex() == entry["root_scalar"]
    assert prefix.hex() == entry["root_prefix"]
    assert public.hex() == entry["root_public"]
    reader = boxes.box_of_read_cap(boxes.read_cap(public, 0, chain), ctx)
    for i, vector in enumerate(entry["boxes"]):
        assert vector["index"] == i
        write_cap, read_cap = unhex(vector["write_cap"]), unhex(vector["read_cap"])
        assert write_cap == seed + u64be(i) + chain
        assert read_cap == boxes.read_cap(public, i, chain)
        box, nonces = boxes.box_of_write_cap(write_cap, ctx)
        assert nonces == prefix
        assert boxes.box_of_read_cap(read_cap, ctx) == reader == replace(box, scalar=None)
        assert box.chain.hex() == vector["H"]
        assert box.e_key.hex() == vector["E"]
        assert box.k_key.hex() == vector["K"]
        assert scalar_bytes(box.factor).hex() == vector["k"]
        assert scalar_bytes(box.scalar).hex() == vector["scalar"]
        assert box.box_id.hex() == vector["box_id"] == vector["key"]
        assert times_base(box.scalar) == box.box_id
        assert box.enc.hex() == vector["e"]
        text = from_seed(vector["text_seed"], 17182)
        meta = boxes.make_meta(boxes.BOX, vector["class"], vector["day"])
        c = boxes.seal(box, meta, text)
        record = boxes.make_record(box.scalar, prefix, box.box_id, meta, c, unhex(vector["rand32"]))
        check_record_fields(vector, record)
        assert boxes.read_box(reader, record.encode()) == text
        if "record" in vector:
            assert vector["record"] == record.encode().hex()
        chain = box.next_chain
        reader = boxes.box_at(public, i + 1, chain, ctx)


def check_blinding(entry: Any, _: Any) -> None:
    a, prefix, public = owner_keys(unhex(entry["seed"]), entry["person"])
    assert scalar_bytes(a).hex() == entry["scalar"]
    assert prefix.hex() == entry["prefix"]
    assert public.hex() == entry["public"]
    k = scalar_of(entry["factor"])
    blinded = a * k % ORDER
    assert scalar_bytes(blinded).hex() == entry["blinded_scalar"]
    assert times_point(k, public).hex() == times_base(blinded).hex() == entry["blinded_public"]
    message = unhex(entry["message"])
    signature = sign(blinded, prefix, message, unhex(entry["rand32"]))
    assert signature.hex() == entry["signature_by_blinded"]
    assert signature_is_good(times_base(blinded), message, signature)
    assert not signature_is_good(public, message, signature)


def records_of(entry: Any) -> Iterator[tuple[Any, boxes.Record]]:
    scalar, prefix = scalar_of(entry["owner_scalar"]), unhex(entry["owner_prefix"])
    for vector in entry["records"]:
        kind = boxes.TYPES[vector["type"]]
        c = bytes(17198) if kind == boxes.TOMBSTONE else from_seed(entry["c_seed"], 17198)
        meta = boxes.make_meta(kind, vector["class"], vector["day"], vector["seq"])
        key, rand32 = times_base(scalar), unhex(vector["rand32"])
        yield vector, boxes.make_record(scalar, prefix, key, meta, c, rand32)


def check_records(entry: Any, _: Any) -> None:
    assert [vector["type"] for vector in entry["records"]] == list(boxes.TYPES)
    for vector, record in records_of(entry):
        check_record_fields(vector, record)
        queue = record.type == boxes.QUEUE
        assert vector["signed_message"] == ("" if queue else record.signed_message().hex())
        assert len(unhex(vector["rand32"])) == (0 if queue else 32)
        assert queue == ("entry_id" in vector) == ("position" in vector)
        if queue:
            assert record.entry_id().hex() == vector["entry_id"]
            assert record.position().hex() == vector["position"]


def whole_record(vectors: Any) -> bytes:
    return unhex(vectors["streams"][0]["boxes"][0]["record"])


# The check that must refuse, and not another one behind it. A new reason has to be entered here.
REASONS = {
    "shorter by a byte": "length",
    "its head only": "length",
    "nothing": "length",
    "longer by a byte": "length",
    "twice as long": "length",
    "type 4": "type",
    "a sequence number in a BOX": "seq",
    "the last bytes of the stamp are not zero": "end of the stamp",
    "a TOMBSTONE with a text": "TOMBSTONE",
    "the identity point signs everything": "signature",
    "another text than was signed": "signature",
    "another day than was signed": "signature",
    "S of the signature is not reduced": "signature",
}


def check_refused(entry: Any, vectors: Any) -> None:
    good = whole_record(vectors)
    boxes.check_authentic(boxes.parse_record(good))
    raw = good
    if "cut" in entry:
        raw = raw[: -entry["cut"]]
    elif "append" in entry:
        raw += unhex(entry["append"])
        assert len(raw) > len(good)
    else:
        change, at = unhex(entry["bytes"]), entry["at"]
        raw = raw[:at] + change + raw[at + len(change) :]
        assert len(raw) == len(good)
        assert raw != good
    with pytest.raises(Refused, match=REASONS[entry["why"]]):
        boxes.check_authentic(boxes.parse_record(raw))
    if "not reduced" in entry["why"]:
        s = [int.from_bytes(record[64:96], "little") for record in (good, raw)]
        assert s[1] == s[0] + ORDER
    if "identity" in entry["why"]:
        assert not point_is_valid(raw[:32])


def check_stamp(entry: Any, _: Any) -> None:
    kind, stamp, memory = boxes.TYPES[entry["type"]], unhex(entry["stamp"]), entry["memory_bytes"]
    assert memory in (8192, boxes.STAMP_MEMORY)
    assert entry["passes"] == 1
    assert unhex(entry["salt"]) == boxes.STAMP_SALT
    network, key, body = unhex(entry["network_hash"]), unhex(entry["key"]), unhex(entry["body"])
    assert len(body) == (32 if kind in (boxes.QUEUE, boxes.MUTABLE) else 0)
    boxes.check_stamp_form(kind, entry["record_day"], stamp)
    bits, day, nonce = entry["bits"], entry["stamp_day"], int.from_bytes(stamp[:8], "big")
    assert stamp == boxes.make_stamp(nonce, bits, day)
    assert boxes.work_of(network, key, kind, entry["class"], body, stamp, memory) >= bits
    assert entry["start"] == 0
    for earlier in range(entry["start"], nonce):
        wrong = boxes.make_stamp(earlier, bits, day)
        assert boxes.work_of(network, key, kind, entry["class"], body, wrong, memory) < bits


def queue_key(vectors: Any) -> bytes:
    return unhex(vectors["records"]["records"][3]["key"])


def check_queue_order(entry: Any, vectors: Any) -> None:
    entry_id = blake2b(256, queue_key(vectors) + from_seed(entry["c_seed"], 17198))
    assert entry_id.hex() == entry["entry_id"]
    assert boxes.position(entry_id, entry["bits"]).hex() == entry["position"]


def six_records(vectors: Any) -> dict[str, boxes.Record]:
    """The six of `decide`. "another c" must have the lower hash, as the answers in repair show."""
    box, tombstone, mutable, _ = (record for _, record in records_of(vectors["records"]))
    lower = next(
        c
        for c in (from_seed(f"any other c {i}", 17198) for i in range(100))
        if blake2b(256, c) < blake2b(256, box.c)
    )
    next_seq = boxes.make_meta(boxes.MUTABLE, mutable.keep_days, mutable.day, mutable.seq + 1)
    return {
        "BOX": box,
        "BOX, another c": replace(box, c=lower),
        "TOMBSTONE": tombstone,
        "MUTABLE": mutable,
        "MUTABLE, same seq, another c": replace(mutable, c=lower),
        "MUTABLE, next seq, another c": replace(mutable, c=lower, meta=next_seq),
    }


SIX = six_records(VECTORS)


def check_decide(entry: Any, _: Any) -> None:
    old, new = SIX[entry["old"]], SIX[entry["new"]]
    assert {entry["client"], entry["repair"]} <= STATUS
    assert boxes.decide(old, new, repair=False) == entry["client"]
    assert boxes.decide(old, new, repair=True) == entry["repair"]


def check_placement(entry: Any, _: Any) -> None:
    nodes = [(unhex(node["storage_id"]), unhex(node["node_id"])) for node in entry["nodes"]]
    for vector in entry["rankings"]:
        key = unhex(vector["key"])
        ranking = store.ranking(nodes, key)
        assert len(ranking) == len(nodes)
        assert [node.hex() for node in ranking[:16]] == list(vector["homes"])
        assert min(store.score(storage, key) for storage, _ in nodes).hex() == vector["first_score"]


def check_shared_networks(entry: Any, vectors: Any) -> None:
    nodes = [(unhex(node["storage_id"]), unhex(node["node_id"])) for node in entry["nodes"]]
    table = {unhex(node["node_id"]): networks.network_of(node["endpoint"]) for node in entry["nodes"]}
    shared = [network for network in table.values() if network]
    assert len(set(shared)) < len(shared) < len(nodes) == 24
    alone = []
    for vector in entry["rankings"]:
        key = unhex(vector["key"])
        ranking = [node.hex() for node in store.ranking(nodes, key, table)]
        assert ranking == list(vector["ranking"])
        alone.append([node.hex() for node in store.ranking(nodes, key)] == ranking)
    assert not any(alone)
    for name in ("storage_id", "node_id"):
        assert [node[name] for node in entry["nodes"]] == [
            node[name] for node in vectors["placement"]["nodes"]
        ]
    assert [vector["key"] for vector in entry["rankings"]] == [
        vector["key"] for vector in vectors["placement"]["rankings"]
    ]


def check_courier_request(entry: Any, _: Any) -> None:
    proxy_id = unhex(entry["proxy_id"])
    parts = (proxy_id, from_seed(entry["surb_seed"], 7121), from_seed(entry["blob_seed"], 18506))
    request = store.courier_request(*parts)
    assert request[:52].hex() == entry["head"]
    assert blake2b(256, request).hex() == entry["request_blake2b_256"]
    assert store.parse_courier_request(request) == parts


def check_queries(entry: Any, vectors: Any) -> None:
    info = store.query_info(unhex(entry["network_hash"]), unhex(entry["proxy_id"]), entry["epoch"])
    assert info.hex() == entry["info"]
    seed = unhex(entry["proxy_seed"])
    key = queue_key(vectors)
    owner = scalar_of(vectors["records"]["owner_scalar"]), unhex(vectors["records"]["owner_prefix"])
    assert {vector["op"] for vector in entry["queries"]} >= {"READ", "WRITE", "QUEUE_READ", "QUEUE_DELETE"}
    for vector in entry["queries"]:
        name, reply_key = vector["op"], unhex(vector["reply_key"])
        op = store.OPS[name]
        assert len(reply_key) == 32
        if name == "READ":
            field = store.read_field(key)
        elif name == "WRITE":
            field = whole_record(vectors)
        else:
            assert name in ("QUEUE_READ", "QUEUE_DELETE")
            request = store.make_queue_request(
                op, *owner, unhex(vector["after"]), reply_key, vector["hour"], unhex(vector["rand32"])
            )
            assert request.key == key
            assert request.signature.hex() == vector["signature"]
            assert request.reply_hash.hex() == vector["reply_hash"]
            field = request.encode()
            assert field[:164].hex() == vector["field_head"]
        query = store.Query(op, vector["flags"], reply_key, field)
        raw = query.encode()
        assert raw[:36].hex() == vector["query_head"]
        assert blake2b(256, raw).hex() == vector["query_blake2b_256"]
        assert store.parse_query(raw) == query
        if name == "READ":
            assert store.parse_read_field(field) == key
        elif name == "WRITE":
            boxes.check_authentic(boxes.parse_record(field))
        else:
            assert store.parse_queue_request(query) == request
        assert ("blob" in vector) == (name in ("READ", "QUEUE_READ"))
        if "blob" in vector:
            assert store.open_blob(seed, info, unhex(vector["blob"])) == query


def check_answer(entry: Any, _: Any) -> None:
    name, reply_key = entry["field_seed"], unhex(entry["reply_key"])
    field = from_seed(name, 17334) if name else bytes(17334)
    answer = store.Answer(entry["status"], entry["n"], entry["acks"], field)
    assert answer.acks.bit_count() == answer.n
    assert answer.encode()[:6].hex() == entry["answer_head"]
    sealed = store.seal_answer(reply_key, answer)
    assert sealed[:32].hex() == entry["sealed_head"]
    assert sealed[-16:].hex() == entry["sealed_tag"]
    assert blake2b(256, sealed).hex() == entry["sealed_blake2b_256"]
    assert store.open_answer(reply_key, sealed) == answer
    reply = store.courier_reply(0, sealed)
    assert blake2b(256, reply).hex() == entry["courier_reply_blake2b_256"]
    assert store.parse_courier_reply(reply) == (0, sealed)


def check_invalid_point(entry: Any, _: Any) -> None:
    point = unhex(entry["point"])
    assert not point_is_valid(point)
    with pytest.raises(Refused):
        boxes.box_of_read_cap(point + bytes(40), b"")
    if ", encoding" in entry["why"]:
        order = int(re.findall("[0-9]+", entry["why"])[0])
        assert spec_primitives.order_of(point) == order


def check_home(entry: Any, _: Any) -> None:
    home = homes.Home(
        unhex(entry["network_hash"]),
        entry["memory_bytes"],
        entry["box_bits"],
        entry["stranger_bits"],
        entry["today"],
    )
    assert home.memory == 8192
    for vector in entry["records"]:
        head, name = unhex(vector["head"]), vector["c_seed"]
        assert len(head) == 136
        assert home.says(head + (from_seed(name, 17198) if name else bytes(17198))) == vector["status"]
        assert vector["why"].split()[0] in boxes.TYPES


def check_queue_requests(entry: Any, _: Any) -> None:
    for vector in entry["requests"]:
        head = unhex(vector["field_head"])
        assert len(head) == 164
        field = head + bytes(boxes.RECORD - len(head))
        said = homes.says_to_request(vector["op"], unhex(entry["reply_key"]), field, entry["hour"])
        assert said == vector["status"]
        assert vector["why"].split()[0] == vector["op"]


def check_queue_life(entry: Any, vectors: Any) -> None:
    queue = homes.Queue(entry["limit"], entry["class"])
    for step in entry["steps"]:
        name = blake2b(256, queue_key(vectors) + from_seed(step["c_seed"], 17198))
        assert name.hex() == step["entry_id"]
        if step["what"] == "add":
            said = queue.add(name, step["bits"], step["day"], step["today"])
        else:
            assert step["what"] == "delete"
            said = queue.delete(name, step["today"])
        assert said == step["status"]
        assert [one.hex() for one in queue.positions()] == list(step["queue"])


CHECKS: dict[str, Callable[[Any, Any], None]] = {
    "streams": check_stream,
    "blinding": check_blinding,
    "records": check_records,
    "refused": check_refused,
    "stamps": check_stamp,
    "queue_order": check_queue_order,
    "invalid_points": check_invalid_point,
    "home": check_home,
    "queue_requests": check_queue_requests,
    "queue_life": check_queue_life,
    "decide": check_decide,
    "placement": check_placement,
    "shared_networks": check_shared_networks,
    "courier_request": check_courier_request,
    "queries": check_queries,
    "answers": check_answer,
}
ONE_OBJECT = {"records", "placement", "shared_networks", "courier_request", "queries", "queue_life"}
ROWS_OF = {"home": "records", "queue_requests": "requests"}  # objects whose rows are checked one by one
NOT_CHECKED = {"about"}  # it names the documents and is no vector


def entries(kind: str, value: Any) -> list[Any]:
    """The entries of a kind; a kind that is one object is one entry, or one for each of its rows."""
    if kind in ROWS_OF:
        rows = ROWS_OF[kind]
        common = {name: value[name] for name in value if name != rows}
        return [{**common, rows: [row]} for row in value[rows]]
    return [value] if kind in ONE_OBJECT else list(value)


ENTRIES = [
    (kind, i) for kind in VECTORS.keys() - NOT_CHECKED for i in range(len(entries(kind, VECTORS[kind])))
]


def unread(vectors: dict[str, Any], checks: dict[str, Callable[[Any, Any], None]]) -> set[spec_vectors.Where]:
    """Places in the vectors that no check has looked at."""
    seen: set[spec_vectors.Where] = set()
    watched = spec_vectors.watch(vectors, (), seen)
    for kind, check in checks.items():
        for entry in entries(kind, watched[kind]):
            check(entry, VECTORS)
    return {where for where, _ in spec_vectors.leaves(vectors)} - seen - {(name,) for name in NOT_CHECKED}


@pytest.mark.parametrize(("kind", "i"), sorted(ENTRIES))
def test_vector(kind: str, i: int) -> None:
    assert kind in CHECKS, f"no check reads {kind}"
    CHECKS[kind](entries(kind, VECTORS[kind])[i], VECTORS)


def test_the_kinds_are_all_there() -> None:
    assert set(VECTORS) - NOT_CHECKED == set(CHECKS)
    assert [bool(entry["ctx"]) for entry in VECTORS["streams"]] == [False, True]
    assert [len(entry["boxes"]) for entry in VECTORS["streams"]] == [3, 3]
    assert "record" in VECTORS["streams"][0]["boxes"][0]
    assert {entry["type"] for entry in VECTORS["stamps"]} == set(boxes.TYPES)
    assert [entry["memory_bytes"] for entry in VECTORS["stamps"]] == [8192] * 4 + [boxes.STAMP_MEMORY]
    assert [(entry["old"], entry["new"]) for entry in VECTORS["decide"]] == [(a, b) for a in SIX for b in SIX]
    positions = [unhex(entry["position"]) for entry in VECTORS["queue_order"]]
    assert positions == sorted(set(positions))
    assert {entry["why"] for entry in VECTORS["refused"]} == set(REASONS)
    low = [entry["point"] for entry in VECTORS["invalid_points"] if ", encoding" in entry["why"]]
    assert len(set(low)) == len(low) == 14
    of_home = {(vector["why"].split()[0], vector["status"]) for vector in VECTORS["home"]["records"]}
    said = {"STORED", "BAD_SIGNATURE", "BAD_STAMP", "EXPIRED", "REFUSED"}
    assert of_home == {(kind, status) for kind in boxes.TYPES for status in said}
    steps = {(step["what"], step["status"]) for step in VECTORS["queue_life"]["steps"]}
    assert steps >= {("add", said) for said in ("STORED", "OK", "FULL", "EXPIRED")}
    assert steps >= {("delete", said) for said in ("OK", "NOT_FOUND")}


def test_no_value_is_left_unread() -> None:
    assert unread(VECTORS, CHECKS) == set()


def test_unread_values_are_noticed() -> None:
    few = {name: VECTORS[name] for name in ("about", "blinding", "courier_request")}
    few |= {"new_kind": {"x": []}, "courier_request": few["courier_request"] | {"new_field": ""}}
    checks = {kind: CHECKS[kind] for kind in ("blinding", "courier_request")}
    assert unread(few, checks) == {("new_kind", "x"), ("courier_request", "new_field")}


# Changes after which a vector is still a good one: it refuses something else, or nothing depends on it.
FREE = {
    "refused": {"at", "bytes", "cut", "append"},
    "invalid_points": {"why"},
    "home": {"why", "head", "c_seed", "network_hash", "box_bits", "stranger_bits", "today"},
    "queue_requests": {"why", "field_head", "hour", "reply_key"},
    "queue_life": {"bits", "day", "today"},
}


@pytest.mark.parametrize("kind", sorted(CHECKS))
def test_every_changed_value_is_noticed(kind: str) -> None:
    flips = 0
    homes = {home for vector in VECTORS["placement"]["rankings"] for home in vector["homes"]}
    for entry in entries(kind, VECTORS[kind]):
        for where, _ in spec_vectors.leaves(entry):
            if where[-1] in FREE.get(kind, ()):
                continue
            if kind == "invalid_points" and ", encoding" not in entry["why"]:
                continue  # another point that is none either
            if where == ("record_day",) and entry["type"] == "BOX":
                continue  # the stamp of a BOX is good for two weeks
            if where[-1] == "endpoint" and "tcp:host=8.8" not in entry["nodes"][where[1]]["endpoint"]:
                continue  # it has no network, or one of its own
            if (
                where[0] == "nodes"
                and kind == "placement"
                and entry["nodes"][where[1]]["node_id"] not in homes
            ):
                continue  # what is in no answer may change
            try:
                CHECKS[kind](spec_vectors.mutated(entry, where), VECTORS)
            except (AssertionError, Refused, KeyError, ValueError):
                flips += 1
            else:
                pytest.fail(f"{kind}: nobody noticed another {where}")
    assert flips


def test_what_a_whole_kind_depends_on_is_noticed_by_some_of_its_rows() -> None:
    for kind, rows in ROWS_OF.items():
        for name in VECTORS[kind].keys() - {rows, "memory_bytes"}:
            other = spec_vectors.mutated(VECTORS[kind], (name,))
            with pytest.raises(AssertionError):
                CHECKS[kind](other, VECTORS)


GOOD = [vector for vector in VECTORS["home"]["records"] if vector["status"] == "STORED"]


@pytest.mark.parametrize("vector", GOOD, ids=lambda vector: vector["why"])
def test_a_good_record_at_a_home_depends_on_each_part_of_its_head(vector: Any) -> None:
    common = {**VECTORS["home"], "records": []}
    queue = vector["why"].startswith("QUEUE")
    for at in (0, 31, 32, 64, 95, 96, 97, 99, 103, 112, 113, 115, 116, 127, 128, 135):
        raw = bytearray.fromhex(vector["head"])
        raw[at] ^= 0x20
        changed = {**vector, "head": raw.hex()}
        if at == 31 and queue and point_is_valid(bytes(raw[:32])):
            continue  # the queue of somebody else
        with pytest.raises(AssertionError):
            check_home({**common, "records": [changed]}, VECTORS)


@pytest.mark.parametrize("at", [0, 31, 32, 64, 95, 96, 97, 98, 103, 135, 136, 17317, 17318, 17333])
def test_each_part_of_a_record_counts(at: int) -> None:
    stream = VECTORS["streams"][0]
    raw = bytearray(whole_record(VECTORS))
    box = boxes.box_of_read_cap(unhex(stream["boxes"][0]["read_cap"]), b"")
    assert boxes.read_box(box, bytes(raw)) == from_seed(stream["boxes"][0]["text_seed"], 17182)
    raw[at] ^= 1
    with pytest.raises(Refused):
        boxes.read_box(box, bytes(raw))


def test_the_text_is_bound_to_meta_also_for_the_writer() -> None:
    stream = VECTORS["streams"][0]
    box, prefix = boxes.box_of_write_cap(unhex(stream["boxes"][0]["write_cap"]), b"")
    record = boxes.parse_record(whole_record(VECTORS))
    meta = boxes.make_meta(boxes.BOX, record.keep_days, record.day + 1)
    other = boxes.make_record(box.scalar, prefix, box.box_id, meta, record.c, bytes(32))
    with pytest.raises(Refused, match="does not open"):
        boxes.read_box(box, other.encode())
    with pytest.raises(Refused, match="not the record of this box"):
        boxes.read_box(replace(box, box_id=unhex(stream["boxes"][1]["box_id"])), record.encode())


def test_capabilities_with_an_invalid_point_are_refused() -> None:
    identity = b"\1" + bytes(31)
    order_2 = (2**255 - 20).to_bytes(32, "little")
    not_canonical = (2**255 - 18).to_bytes(32, "little")
    public = unhex(VECTORS["streams"][0]["root_public"])
    for point in (identity, order_2, not_canonical, bytes(32), b"\2" + bytes(31), public[:-1]):
        with pytest.raises(Refused):
            boxes.box_of_read_cap(point + bytes(40), b"")


STAMP = VECTORS["stamps"][0]


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (8, 0),
        (8, 2),
        (9, 0),
        (9, 25),
        (10, 0),
        (11, 0x1D),
        (11, 0x0E),
        (11, 0x23),
        (12, 1),
        (27, 1),
        (28, 1),
        (31, 1),
    ],
)
def test_stamps_of_another_form_are_refused(at: int, value: int) -> None:
    stamp = bytearray(unhex(STAMP["stamp"]))
    boxes.check_stamp_form(boxes.BOX, STAMP["record_day"], bytes(stamp))
    boxes.check_stamp_form(boxes.BOX, STAMP["record_day"], boxes.NO_STAMP)
    stamp[at] = value
    with pytest.raises(Refused):
        boxes.check_stamp_form(boxes.BOX, STAMP["record_day"], bytes(stamp))


def test_which_days_a_stamp_is_good_for() -> None:
    monday = STAMP["stamp_day"]
    good = [day for day in range(monday - 20, monday + 40) if boxes.stamp_day_fits(boxes.BOX, day, monday)]
    assert good == list(range(monday, monday + 14))
    for kind in (boxes.TOMBSTONE, boxes.MUTABLE, boxes.QUEUE):
        assert [d for d in range(monday - 20, monday + 40) if boxes.stamp_day_fits(kind, d, monday)] == [
            monday
        ]


def test_a_blob_opens_with_the_library_too_and_only_under_its_info() -> None:
    queries = VECTORS["queries"]
    seed, info = unhex(queries["proxy_seed"]), unhex(queries["info"])
    blob = unhex(queries["queries"][0]["blob"])
    suite = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)
    private = hpke.MLKEM768X25519PrivateKey(*xwing.private_halves(seed))
    assert suite.decrypt(blob, private, info) == xwing.hpke_open(seed, info, blob)
    own = xwing.hpke_seal(xwing.public_key(seed), info, b"text")
    assert suite.decrypt(own, private, info) == b"text"
    other = store.query_info(unhex(queries["network_hash"]), unhex(queries["proxy_id"]), queries["epoch"] + 1)
    with pytest.raises(Refused, match="HPKE"):
        store.open_blob(seed, other, blob)
    for at in (0, 1088, 1119, 1120, -1):
        changed = bytearray(blob)
        changed[at] ^= 1
        with pytest.raises(Refused):
            store.open_blob(seed, info, bytes(changed))


def test_queries_of_another_form_are_refused() -> None:
    vector = VECTORS["queries"]["queries"][2]
    seed, info = unhex(VECTORS["queries"]["proxy_seed"]), unhex(VECTORS["queries"]["info"])
    query = store.open_blob(seed, info, unhex(vector["blob"]))
    raw = query.encode()
    for wrong in (b"\2" + raw[1:], b"\1\5" + raw[2:], raw[:3] + b"\2" + raw[4:], raw[:2] + b"\1" + raw[3:]):
        with pytest.raises(Refused):
            store.parse_query(wrong)
    store.parse_queue_request(query)
    for at in (0, 32, 64, 96, 128, 160, 164, 17333):
        field = bytearray(query.field)
        field[at] ^= 1
        with pytest.raises(Refused):
            store.parse_queue_request(replace(query, field=bytes(field)))
    with pytest.raises(Refused, match="reply hash"):
        store.parse_queue_request(replace(query, reply_key=bytes(32)))
    with pytest.raises(Refused, match="signature"):
        store.parse_queue_request(replace(query, op=store.OPS["QUEUE_DELETE"]))


def test_courier_messages_of_another_form_are_refused() -> None:
    request = store.courier_request(bytes(32), bytes(7121), bytes(18506))
    reply = store.courier_reply(0, bytes(17356))
    for raw, parse, places in (
        (request, store.parse_courier_request, (0, 1, 3, 36, 51)),
        (reply, store.parse_courier_reply, (0, 2, 19, 17376, 25678)),
    ):
        parse(raw)
        for at in places:
            with pytest.raises(Refused):
                parse(raw[:at] + b"\x20" + raw[at + 1 :])
        with pytest.raises(Refused):
            parse(raw[:-1])
    with pytest.raises(Refused):
        store.parse_courier_reply(reply[:1] + b"\x0a" + reply[2:])


def test_answers_of_another_form_are_refused() -> None:
    key = bytes(range(32))
    sealed = store.seal_answer(key, store.Answer(0, 1, 1, bytes(17334)))
    with pytest.raises(Refused):
        store.open_answer(key, sealed[:-1] + bytes([sealed[-1] ^ 1]))
    with pytest.raises(Refused):
        store.open_answer(bytes(32), sealed)
    with pytest.raises(Refused):
        store.open_answer(key, store.seal_answer(key, store.Answer(10, 1, 1, bytes(17334))))


def test_scalars_are_reduced_as_64_bytes() -> None:
    assert reduce_scalar(scalar_bytes(ORDER) + bytes(32)) == 0
    assert reduce_scalar(bytes(63) + b"\1") == 2**504 % ORDER
