"""The code still does what tests/vectors/boxes.json says."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from mixmail.boxes import stamp
from mixmail.boxes.capability import ReadCap
from mixmail.boxes.query import QueryOp, QueueRequest, open_query
from mixmail.boxes.record import FIRST, Record, RecordType, queue_entry, validate
from mixmail.boxes.status import Status
from mixmail.crypto import ed25519, kem
from mixmail.errors import RemoteProtocolError
from mixmail.params import GEOMETRY, MAIL
from mixmail.storage.node_db import NodeDatabase
from mixmail.testing import MemoryStore

ROOT = Path(__file__).resolve().parents[2]
VECTORS: dict[str, Any] = json.loads((ROOT / "tests" / "vectors" / "boxes.json").read_text())
BOX = bytes.fromhex(VECTORS["streams"][0]["boxes"][0]["record"])


def test_the_script_writes_the_same_file_again() -> None:
    path = ROOT / "scripts" / "make_vectors_boxes.py"
    spec = importlib.util.spec_from_file_location("make_vectors_boxes", path)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    made = script.vectors(VECTORS)
    for section, expected in VECTORS.items():
        assert made[section] == expected, section
    assert made.keys() == VECTORS.keys()


def test_the_box_that_the_refusals_change_is_good() -> None:
    assert Record.parse(BOX).check_signature()


@pytest.mark.parametrize("refusal", VECTORS["refused"], ids=lambda refusal: refusal["why"])
def test_refusals(refusal: dict[str, Any]) -> None:
    raw = bytearray(BOX)
    if "cut" in refusal:
        raw = raw[: -refusal["cut"]]
    elif "append" in refusal:
        raw += bytes.fromhex(refusal["append"])
    else:
        change = bytes.fromhex(refusal["bytes"])
        raw[refusal["at"] : refusal["at"] + len(change)] = change
    assert bytes(raw) != BOX
    try:
        refused = not Record.parse(bytes(raw)).check_signature()
    except RemoteProtocolError:
        refused = True
    assert refused


def test_the_blobs_open() -> None:
    part = VECTORS["queries"]
    key = kem.PrivateKey.from_seed(bytes.fromhex(part["proxy_seed"]))
    network, proxy = bytes.fromhex(part["network_hash"]), bytes.fromhex(part["proxy_id"])
    blobs = [(entry["op"], bytes.fromhex(entry["blob"])) for entry in part["queries"] if "blob" in entry]
    assert len(blobs) == 2
    for op, blob in blobs:
        assert open_query([(part["epoch"], key)], network, proxy, blob).op.name == op


HOME = VECTORS["home"]
NETWORK_HASH = bytes.fromhex(HOME["network_hash"])
PARAMS = dataclasses.replace(
    MAIL,
    stamp_memory=HOME["memory_bytes"],
    box_bits=HOME["box_bits"],
    stranger_bits=HOME["stranger_bits"],
)


def of_seed(name: str, size: int = GEOMETRY.box_ct) -> bytes:
    return hashlib.shake_256(b"boxes vectors, " + name.encode()).digest(size) if name else bytes(size)


@pytest.mark.parametrize("invalid", VECTORS["invalid_points"], ids=lambda invalid: invalid["why"])
def test_invalid_points(invalid: dict[str, str]) -> None:
    point = bytes.fromhex(invalid["point"])
    assert not ed25519.is_valid_point(point)
    with pytest.raises(RemoteProtocolError):
        ReadCap.parse(point + bytes(40))


@pytest.mark.parametrize("new", HOME["records"], ids=lambda new: new["why"])
def test_what_a_home_says_to_a_new_record(new: dict[str, str]) -> None:
    """As `mixmail.node.replica` asks; tests/units/test_node_bad_input.py asks it itself."""
    raw = bytes.fromhex(new["head"]) + of_seed(new["c_seed"])
    try:
        record = Record.parse(raw)
    except RemoteProtocolError:
        assert new["status"] == "REFUSED"
        return
    status = validate(record, HOME["today"], PARAMS.classes_days)
    needed = PARAMS.stranger_bits if record.type is RecordType.QUEUE else PARAMS.box_bits
    if status is Status.OK:
        good = stamp.check(NETWORK_HASH, PARAMS, record, needed)
        status = MemoryStore().put(record, HOME["today"]) if good else Status.BAD_STAMP
        if good and record.type is RecordType.QUEUE:
            status = MemoryStore().queue_add(record, HOME["today"], 1)
    assert status.name == new["status"]


@pytest.mark.parametrize("asked", VECTORS["queue_requests"]["requests"], ids=lambda asked: asked["why"])
def test_what_a_proxy_and_a_home_say_to_a_request_for_a_queue(asked: dict[str, str]) -> None:
    part = VECTORS["queue_requests"]
    head = bytes.fromhex(asked["field_head"])
    request = QueueRequest.from_field(head + bytes(GEOMETRY.record - len(head)))
    if not request.answers_to(bytes.fromhex(part["reply_key"])):
        assert asked["status"] == "REFUSED"
    else:
        good = request.verify(QueryOp[asked["op"]], part["hour"])
        assert asked["status"] == ("OK" if good else "BAD_SIGNATURE")


@pytest.mark.parametrize("on_disk", [False, True])
def test_the_life_of_a_queue(on_disk: bool, tmp_path: Path) -> None:
    part, key = VECTORS["queue_life"], bytes.fromhex(VECTORS["records"]["records"][3]["key"])
    store: Any = NodeDatabase(tmp_path / "node.db") if on_disk else MemoryStore()
    for step in part["steps"]:
        if step["what"] == "add":
            entry = queue_entry(key, part["class"], step["day"], of_seed(step["c_seed"]))
            made = stamp.Stamp(bytes(8), stamp.ALG_ARGON2ID, step["bits"], step["day"])
            status = store.queue_add(entry.with_stamp(made.pack()), step["today"], part["limit"])
        else:
            status = store.queue_delete(key, bytes.fromhex(step["entry_id"]))
        assert status.name == step["status"]
        live = [one for one in store.queue_list(key, FIRST, 99) if not one.expired(step["today"])]
        assert [one.position.hex() for one in live] == step["queue"]
    if on_disk:
        store.close()
