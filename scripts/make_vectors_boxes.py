#!/usr/bin/env python3
"""Write tests/vectors/boxes.json: what a reader of docs/protocol/boxes.md and store.md checks itself with.

Everything follows from fixed seeds but the sealed queries, because HPKE draws its own randomness:
those that are in the file already stay as long as they open to the right query.  So a second run
changes nothing unless the protocol did.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from box_vectors import (  # noqa: E402
    DAY,
    HOUR,
    NETWORK_HASH,
    OWNER,
    REPLY_KEY,
    TINY,
    Named,
    derived,
    digest,
)
from box_vectors_home import (  # noqa: E402
    home_json,
    invalid_points_json,
    queue_life_json,
    queue_requests_json,
)

from mixmail.boxes import capability, placement, query, stamp, store  # noqa: E402
from mixmail.boxes.blinding import OwnerKey, blind_public  # noqa: E402
from mixmail.boxes.capability import WriteCap  # noqa: E402
from mixmail.boxes.query import QueryOp  # noqa: E402
from mixmail.boxes.record import Record, RecordType, key_field, queue_entry, sign_record  # noqa: E402
from mixmail.boxes.status import Status  # noqa: E402
from mixmail.crypto import ed25519, kem  # noqa: E402
from mixmail.directory import networks  # noqa: E402
from mixmail.errors import RemoteProtocolError  # noqa: E402
from mixmail.params import GEOMETRY, MAIL, NetworkParameters  # noqa: E402

KLASS = 30
EPOCH = DAY
ATTEMPTS = 2**20
PROXY_ID = derived("proxy id", 32)


def record_json(record: Record, whole: bool = False) -> dict[str, Any]:
    """The fields of a record; its text by hash unless `whole`."""
    fields: dict[str, Any] = {
        "key": record.key.hex(),
        "signature": record.signature.hex(),
        "meta": record.meta.hex(),
        "stamp": record.stamp.hex(),
        "c_blake2b_256": digest(record.c),
        "record_blake2b_256": digest(record.pack()),
        "expiry_day": record.expiry_day,
    }
    if whole:
        fields["record"] = record.pack().hex()
    return fields


def stream_json(name: str, ctx: bytes) -> dict[str, Any]:
    cap = WriteCap.create(derived(f"{name}: stream seed", 64))
    root = cap.root
    boxes = []
    for index in range(3):
        step = capability._step(cap.chain, cap.index)
        owner = cap.owner(ctx)
        text, rand = f"{name}: text {index}", f"{name}: rand {index}"
        record = capability.seal(cap, derived(text, GEOMETRY.box_text), KLASS, DAY + index, Named(rand), ctx)
        assert capability.open_(cap.read_cap(), record, ctx) == derived(text, GEOMETRY.box_text)
        boxes.append(
            {
                "index": index,
                "write_cap": cap.pack().hex(),
                "read_cap": cap.read_cap().pack().hex(),
                "H": cap.chain.hex(),
                "E": step.sealing.hex(),
                "K": step.blinding.hex(),
                "k": capability._factor(step.blinding, root.public, ctx).hex(),
                "scalar": owner.scalar.hex(),
                "box_id": owner.public.hex(),
                "e": capability._sealing_key(step.sealing, ctx, owner.public).hex(),
                "class": KLASS,
                "day": DAY + index,
                "text_seed": text,
                "rand32": derived(rand, 32).hex(),
                **record_json(record, whole=index == 0 and not ctx),
            }
        )
        cap = cap.advance()
    return {
        "stream_seed": derived(f"{name}: stream seed", 64).hex(),
        "ctx": ctx.hex(),
        "root_scalar": root.scalar.hex(),
        "root_prefix": root.prefix.hex(),
        "root_public": root.public.hex(),
        "boxes": boxes,
    }


def blinding_json() -> list[dict[str, Any]]:
    found = []
    for number in range(3):
        seed = derived(f"owner {number}", 32)
        owner = OwnerKey.from_seed(seed, "mm1.root")
        factor = ed25519.reduce(derived(f"factor {number}", 64))
        blinded = owner.blind(factor)
        assert blinded.public == blind_public(owner.public, factor)
        message, rand = derived(f"message {number}", 5 * number), f"sign {number}"
        found.append(
            {
                "seed": seed.hex(),
                "person": "mm1.root",
                "scalar": owner.scalar.hex(),
                "prefix": owner.prefix.hex(),
                "public": owner.public.hex(),
                "factor": factor.hex(),
                "blinded_scalar": blinded.scalar.hex(),
                "blinded_public": blinded.public.hex(),
                "message": message.hex(),
                "rand32": derived(rand, 32).hex(),
                "signature_by_blinded": blinded.sign(message, Named(rand)).hex(),
            }
        )
    return found


def records() -> dict[str, Record]:
    """One record of every type, none stamped."""
    text = derived("c", GEOMETRY.box_ct)
    zero = bytes(GEOMETRY.box_ct)
    return {
        "BOX": sign_record(OWNER, RecordType.BOX, 7, DAY, 0, text, Named("sign BOX")),
        "TOMBSTONE": sign_record(OWNER, RecordType.TOMBSTONE, 7, DAY, 0, zero, Named("sign TOMBSTONE")),
        "MUTABLE": sign_record(OWNER, RecordType.MUTABLE, 30, DAY, 0x01020304, text, Named("sign MUTABLE")),
        "QUEUE": queue_entry(OWNER.public, 90, DAY, text),
    }


def records_json() -> dict[str, Any]:
    return {
        "owner_scalar": OWNER.scalar.hex(),
        "owner_prefix": OWNER.prefix.hex(),
        "c_seed": "c",
        "records": [
            {
                "type": name,
                "class": record.klass,
                "day": record.day,
                "seq": record.seq,
                "rand32": "" if name == "QUEUE" else derived(f"sign {name}", 32).hex(),
                "signed_message": "" if name == "QUEUE" else record.signed_message().hex(),
                **(
                    {"entry_id": record.entry_id.hex(), "position": record.position.hex()}
                    if name == "QUEUE"
                    else {}
                ),
                **record_json(record),
            }
            for name, record in records().items()
        ],
    }


def refused_json() -> list[dict[str, Any]]:
    """Changes to the first whole record of the vectors that a reader must refuse."""
    identity = "01" + "00" * 31
    return [
        {"why": "shorter by a byte", "cut": 1},
        {"why": "its head only", "cut": 17_198},
        {"why": "nothing", "cut": 17_334},
        {"why": "longer by a byte", "append": "00"},
        {"why": "twice as long", "append": "00" * 17_334},
        {"why": "type 4", "at": 96, "bytes": "04"},
        {"why": "a sequence number in a BOX", "at": 103, "bytes": "01"},
        {"why": "the last bytes of the stamp are not zero", "at": 132, "bytes": "01"},
        {"why": "a TOMBSTONE with a text", "at": 96, "bytes": "01"},
        {"why": "the identity point signs everything", "at": 0, "bytes": identity + identity + "00" * 32},
        {"why": "another text than was signed", "at": 17_333, "bytes": "00"},
        {"why": "another day than was signed", "at": 98, "bytes": "4e21"},
        {"why": "S of the signature is not reduced", "at": 64, "bytes": unreduced()},
    ]


def unreduced() -> str:
    """The same signature with S + L in the place of S: equal modulo L, refused all the same."""
    record = first_box()
    order = 2**252 + 27742317777372353535851937790883648493
    return (int.from_bytes(record.signature[32:], "little") + order).to_bytes(32, "little").hex()


def first_box() -> Record:
    cap = WriteCap.create(derived("plain: stream seed", 64))
    text = derived("plain: text 0", GEOMETRY.box_text)
    return capability.seal(cap, text, KLASS, DAY, Named("plain: rand 0"))


def stamp_json(name: str, params: NetworkParameters, bits: int) -> dict[str, Any]:
    record = records()[name]
    day = stamp.stamp_day(record.type, record.day)
    found = stamp.solve(NETWORK_HASH, params, record, bits, day, 0, ATTEMPTS)
    assert found is not None and stamp.check(NETWORK_HASH, params, found, bits)
    return {
        "type": name,
        "network_hash": NETWORK_HASH.hex(),
        "memory_bytes": params.stamp_memory,
        "passes": stamp.PASSES,
        "salt": stamp.SALT.hex(),
        "key": record.key.hex(),
        "class": record.klass,
        "record_day": record.day,
        "stamp_day": day,
        "body": record.body_hash.hex() if record.type in (RecordType.QUEUE, RecordType.MUTABLE) else "",
        "bits": bits,
        "start": 0,
        "stamp": found.stamp.hex(),
    }


def position_json() -> list[dict[str, Any]]:
    """Entries of one queue in their order."""
    entries = []
    for number, bits in enumerate((0, 4, 4, 11)):
        name = f"entry {number}"
        entry = queue_entry(OWNER.public, 7, DAY, derived(name, GEOMETRY.box_ct))
        claimed = stamp.Stamp(bytes(8), 1, bits, DAY).pack() if bits else entry.stamp
        entries.append((entry.with_stamp(claimed), name))
    entries.sort(key=lambda pair: pair[0].position)
    return [
        {
            "c_seed": name,
            "bits": entry.bits,
            "entry_id": entry.entry_id.hex(),
            "position": entry.position.hex(),
        }
        for entry, name in entries
    ]


def decide_json() -> list[dict[str, Any]]:
    """What a home says to `new` where it holds `old`, from a client and in repair."""
    bases = records()
    other = derived("another c", GEOMETRY.box_ct)
    newer = sign_record(OWNER, RecordType.MUTABLE, 30, DAY, 0x01020305, other, Named("newer"))
    same_seq = sign_record(OWNER, RecordType.MUTABLE, 30, DAY, 0x01020304, other, Named("same"))
    box = sign_record(OWNER, RecordType.BOX, 7, DAY, 0, other, Named("box"))
    pool = {
        "BOX": bases["BOX"],
        "BOX, another c": box,
        "TOMBSTONE": bases["TOMBSTONE"],
        "MUTABLE": bases["MUTABLE"],
        "MUTABLE, same seq, another c": same_seq,
        "MUTABLE, next seq, another c": newer,
    }
    return [
        {
            "old": old_name,
            "new": new_name,
            "client": store.decide(old, new).name,
            "repair": store.decide(old, new, repair=True).name,
        }
        for old_name, old in pool.items()
        for new_name, new in pool.items()
    ]


def placement_json() -> dict[str, Any]:
    nodes = [(derived(f"storage {number}", 32), derived(f"node {number}", 32)) for number in range(24)]
    keys = [derived(f"key {number}", 32) for number in range(3)]
    return {
        "nodes": [{"storage_id": storage.hex(), "node_id": node.hex()} for storage, node in nodes],
        "rankings": [
            {
                "key": key.hex(),
                "first_score": min(placement.score(storage, key) for storage, _ in nodes).hex(),
                "homes": [
                    node.hex() for node in placement.ranking(key, [(*node, b"") for node in nodes], 16)
                ],
            }
            for key in keys
        ],
    }


def endpoint_of(number: int) -> str:
    """Four IPv4 addresses of one network and one written as IPv6, three IPv6 addresses of one; four that have
    none though they look alike; the others each in a network of its own."""
    if number < 4:
        return f"tcp:host=8.8.{number}.1:port=4711"
    if number == 4:
        return r"tcp:host=\:\:ffff\:8.8.9.9:port=4711"
    if number < 8:
        return rf"tcp:host=2600\:1\:{number}\:\:1:port=4711"
    if number < 12:
        return ("tcp:host=10.0.0.1:port=4711", "tor:example.onion:4711")[number % 2]
    return f"tcp:host=9.{number}.0.1:port=4711"


def shared_networks_json() -> dict[str, Any]:
    nodes = [
        (derived(f"storage {number}", 32), derived(f"node {number}", 32), endpoint_of(number))
        for number in range(24)
    ]
    placed = [(storage, node, networks.network_of(endpoint)) for storage, node, endpoint in nodes]
    keys = [derived(f"key {number}", 32) for number in range(3)]
    return {
        "nodes": [
            {"storage_id": storage.hex(), "node_id": node.hex(), "endpoint": endpoint}
            for storage, node, endpoint in nodes
        ],
        "rankings": [
            {"key": key.hex(), "ranking": [node.hex() for node in placement.ranking(key, placed, 24)]}
            for key in keys
        ],
    }


PROXY_SEED = derived("proxy key", 32)


def queries() -> list[tuple[query.Query, dict[str, Any]]]:
    """Queries and what else to say about each."""
    found: list[tuple[query.Query, dict[str, Any]]] = []
    found.append((query.Query(QueryOp.READ, query.SPREAD, REPLY_KEY, key_field(OWNER.public)), {}))
    found.append((query.Query(QueryOp.WRITE, 0, REPLY_KEY, first_box().pack()), {}))
    for op, after in (
        (QueryOp.QUEUE_READ, bytes(32)),
        (QueryOp.QUEUE_DELETE, records()["QUEUE"].entry_id),
    ):
        name = f"sign {op.name}"
        request = query.QueueRequest.create(OWNER, op, after, HOUR, REPLY_KEY, Named(name))
        assert request.verify(op, HOUR) and request.answers_to(REPLY_KEY)
        more = {
            "after": after.hex(),
            "hour": HOUR,
            "reply_hash": request.reply_hash.hex(),
            "rand32": derived(name, 32).hex(),
            "signature": request.signature.hex(),
            "field_head": request.to_field()[:164].hex(),
        }
        found.append((query.Query(op, 0, REPLY_KEY, request.to_field()), more))
    return found


def queries_json(known: list[dict[str, Any]]) -> list[dict[str, Any]]:
    private = kem.PrivateKey.from_seed(PROXY_SEED)
    found = []
    for number, (asked, more) in enumerate(queries()):
        blob = (
            bytes.fromhex(known[number]["blob"]) if number < len(known) and "blob" in known[number] else b""
        )
        try:
            right = query.open_query([(EPOCH, private)], NETWORK_HASH, PROXY_ID, blob) == asked
        except RemoteProtocolError:
            right = False
        if not right:
            blob = query.seal_query(asked, private.public, NETWORK_HASH, PROXY_ID, EPOCH)
        whole = {"blob": blob.hex()} if asked.op in (QueryOp.READ, QueryOp.QUEUE_READ) else {}
        found.append(
            {
                "op": asked.op.name,
                "flags": asked.flags,
                "reply_key": asked.reply_key.hex(),
                "query_head": asked.pack()[:36].hex(),
                "query_blake2b_256": digest(asked.pack()),
                **more,
                **whole,
            }
        )
    return found


def answers_json() -> list[dict[str, Any]]:
    found = []
    for status, n, acks, field_seed in (
        (Status.STORED, 6, 0b1110111, ""),
        (Status.NOT_FOUND, 0, 0, ""),
        (Status.OK, 1, 1, "answer field"),
    ):
        field = derived(field_seed, GEOMETRY.record) if field_seed else bytes(GEOMETRY.record)
        answer = query.Answer(status, n, acks, field)
        sealed = query.seal_answer(REPLY_KEY, answer)
        reply = query.CourierReply(Status.OK, sealed).pack()
        found.append(
            {
                "status": int(status),
                "n": n,
                "acks": acks,
                "field_seed": field_seed,
                "reply_key": REPLY_KEY.hex(),
                "answer_head": answer.pack()[:6].hex(),
                "sealed_head": sealed[:32].hex(),
                "sealed_tag": sealed[-16:].hex(),
                "sealed_blake2b_256": digest(sealed),
                "courier_reply_blake2b_256": digest(reply),
            }
        )
    return found


def courier_json() -> dict[str, Any]:
    surb, blob = derived("surb", GEOMETRY.surb), derived("blob", GEOMETRY.blob)
    raw = query.CourierRequest(PROXY_ID, surb, blob).pack()
    return {
        "proxy_id": PROXY_ID.hex(),
        "surb_seed": "surb",
        "blob_seed": "blob",
        "head": raw[:52].hex(),
        "request_blake2b_256": digest(raw),
    }


def vectors(known: dict[str, Any]) -> dict[str, Any]:
    """The whole file; `known` is its old content, for the sealed queries."""
    return {
        "about": "docs/protocol/boxes.md and docs/protocol/store.md say how to read this. A value X whose "
        "X_seed is given is SHAKE256('boxes vectors, ' + X_seed) of the length that its place needs.",
        "streams": [stream_json("plain", b""), stream_json("group", derived("group context", 40))],
        "blinding": blinding_json(),
        "records": records_json(),
        "refused": refused_json(),
        "stamps": [
            *(stamp_json(name, TINY, 6) for name in ("BOX", "TOMBSTONE", "MUTABLE", "QUEUE")),
            stamp_json("BOX", MAIL, MAIL.box_bits),
        ],
        "queue_order": position_json(),
        "invalid_points": invalid_points_json(),
        "home": home_json(),
        "queue_requests": queue_requests_json(),
        "queue_life": queue_life_json(),
        "decide": decide_json(),
        "placement": placement_json(),
        "shared_networks": shared_networks_json(),
        "courier_request": courier_json(),
        "queries": {
            "network_hash": NETWORK_HASH.hex(),
            "proxy_id": PROXY_ID.hex(),
            "epoch": EPOCH,
            "proxy_seed": PROXY_SEED.hex(),
            "info": (query.QUERY_LABEL + NETWORK_HASH + PROXY_ID + EPOCH.to_bytes(4, "little")).hex(),
            "queries": queries_json(known.get("queries", {}).get("queries", [])),
        },
        "answers": answers_json(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    default = ROOT / "tests" / "vectors" / "boxes.json"
    parser.add_argument("file", nargs="?", type=Path, default=default, metavar="FILE")
    path: Path = parser.parse_args().file
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(vectors(known), indent=1) + "\n")


if __name__ == "__main__":
    main()
