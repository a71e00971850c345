"""Every vector of packet.json, read by a program that was written from docs/protocol/packet.md alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import packet_reader as reader
import pytest
import spec_vectors
import spec_xwing as xwing
from spec_primitives import Refused, blake2b, h512
from spec_vectors import unhex

VECTORS = spec_vectors.load("packet.json")
DRAFT = spec_vectors.load("xwing_draft.json")
KINDS = {1: reader.FORWARD, 2: reader.DELIVER, 3: reader.SURB_REPLY}


def payload_of(entry: Any) -> bytes:
    payload = hashlib.shake_256(entry["payload_seed"].encode("ascii")).digest(25679)
    assert blake2b(256, payload).hex() == entry["payload_blake2b"]
    return payload


def check_h512(entry: Any, _: Any) -> None:
    parts = [unhex(part) for part in entry["parts"]]
    assert h512(entry["person"], unhex(entry["key"]), *parts).hex() == entry["out"]


def check_kem(entry: Any, _: Any) -> None:
    seed = unhex(entry["seed"])
    public = xwing.public_key(seed)
    assert public.hex() == entry["public"]
    xwing.check_public(public)
    assert xwing.decapsulate(seed, unhex(entry["ct"])).hex() == entry["secret"]


def check_wideblock(entry: Any, _: Any) -> None:
    key, block = unhex(entry["k_pay"]), unhex(entry["block"])
    assert [k.hex() for k in reader.lioness_keys(key)] == list(entry["k"])
    assert reader.encrypt(key, block).hex() == entry["encrypted"]
    assert reader.decrypt(key, unhex(entry["encrypted"])) == block


def check_bad_command(entry: Any, _: Any) -> None:
    raw = unhex(entry["raw"])
    with pytest.raises(Refused):
        reader.parse_command(raw)
    kind = raw[0] if raw[0] in KINDS else reader.DELIVER
    reader.parse_command(bytes([kind]) + bytes(63))  # it is the one wrong field that is refused
    assert entry["why"]


def carry(entry: Any, packet: bytes) -> list[reader.Unwrapped]:
    """Takes a packet over all hops of a vector and compares every step. Gives what the hops found."""
    hops, steps, found = entry["hops"], entry["steps"], []
    assert len(hops) == len(steps)
    for i, (hop, step) in enumerate(zip(hops, steps, strict=True)):
        got = reader.Node([unhex(hop["seed"])]).unwrap(packet)
        assert got.secret.hex() == step["secret"]
        for name in fields(reader.HopKeys):
            assert getattr(got.keys, name.name).hex() == step[name.name]
        command = step["command"]
        raw = unhex(command["raw"])
        assert got.routing_text[:64] == raw == got.command.encode()
        assert got.command.kind == KINDS[command["kind"]]
        assert got.command.delay_ms == command["delay_ms"]
        assert got.command.ident.hex() == command["ident"]
        assert got.command.next_mac.hex() == command["next_mac"]
        last = i == len(hops) - 1
        assert last == (got.command.kind != reader.FORWARD)
        if not last:
            assert got.command.ident.hex() == hops[i + 1]["node_id"]
        assert blake2b(256, got.result).hex() == step["result_blake2b"]
        assert ("result" in step) == (len(hops) == 3 and not last)
        if "result" in step:
            assert got.result.hex() == step["result"]
        packet = got.result
        found.append(got)
    return found


def rebuild_header(packet: bytes, found: list[reader.Unwrapped]) -> bytes:
    """Builds the header again out of what its hops found in it, the random u included."""
    cts = [packet[1:1121]] + [got.routing_text[64 : reader.BLOCK] for got in found[:-1]]
    unused = found[-1].routing_text[64 : reader.ROUTING - (len(found) - 1) * reader.BLOCK]
    return reader.build_header(cts, [got.keys for got in found], [got.command for got in found], unused)


def check_packet(entry: Any, _: Any) -> None:
    packet = unhex(entry["packet"])
    assert len(packet) == reader.PACKET
    found = carry(entry, packet)
    payload = payload_of(entry)
    kind, count = entry["name"].rsplit("-", 1)
    assert len(found) == int(count)
    assert len(unhex(entry["hops"][0]["node_id"])) == 32
    if kind == "deliver":
        assert found[-1].command.kind == reader.DELIVER
        assert found[-1].result == payload
    else:
        assert kind == "surb_reply"
        assert found[-1].command.kind == reader.SURB_REPLY
        assert found[-1].result == bytes(32) + payload
    body = reader.build_body([got.keys.payload_key for got in found], payload)
    assert rebuild_header(packet, found) + body == packet


def check_surb(entry: Any, _: Any) -> None:
    surb, payload = unhex(entry["surb"]), payload_of(entry)
    assert len(surb) == reader.SURB
    first, packet = reader.use_surb(surb, payload)
    assert first.hex() == entry["hops"][0]["node_id"]
    assert surb[-32:].hex() == entry["k0"]
    assert blake2b(256, packet).hex() == entry["packet_blake2b"]
    found = carry(entry, packet)
    assert len(found) == int(entry["name"].removeprefix("surb-"))
    last = found[-1]
    assert last.command.kind == reader.SURB_REPLY
    assert last.command.ident.hex() == entry["surb_id"]
    keys = [unhex(key) for key in entry["payload_keys"]]
    assert keys == [got.keys.payload_key for got in found]
    assert blake2b(256, last.body).hex() == entry["owner_body_blake2b"]
    assert reader.open_reply(unhex(entry["k0"]), keys, last.body) == payload
    assert rebuild_header(packet, found) == packet[: reader.HEADER]


def deliver(entry: Any, packet: bytes) -> tuple[int, bytes | None]:
    """How many hops pass the packet on, and the payload if the last one finds it."""
    for i, hop in enumerate(entry["hops"]):
        try:
            got = reader.Node([unhex(hop["seed"])]).unwrap(packet)
        except Refused:
            return i, None
        packet = got.result
    return len(entry["hops"]), packet


def check_refused(entry: Any, vectors: Any) -> None:
    target = next(p for p in vectors["packets"] if p["name"] == entry["packet"])
    packet, change, at = unhex(target["packet"]), unhex(entry["bytes"]), entry["offset"]
    changed = packet[:at] + change + packet[at + len(change) :]
    assert changed != packet
    assert len(changed) == len(packet)
    dropped_by = {"header": 0, "body": len(target["hops"]) - 1}[entry["noticed_in"]]
    assert deliver(target, changed) == (dropped_by, None)
    passed, payload = deliver(target, packet)
    assert passed == len(target["hops"])
    assert payload == payload_of(target)
    if change in xwing.LOW_ORDER:
        with pytest.raises(Refused, match="low order"):
            xwing.decapsulate(unhex(target["hops"][0]["seed"]), changed[1:1121])
    assert entry["why"]


CHECKS: dict[str, Callable[[Any, Any], None]] = {
    "h512": check_h512,
    "kem": check_kem,
    "wideblock": check_wideblock,
    "bad_commands": check_bad_command,
    "packets": check_packet,
    "surbs": check_surb,
    "refused": check_refused,
}
NOT_CHECKED = {"format"}  # it names the file and is no vector
ENTRIES = [(kind, i) for kind in VECTORS.keys() - NOT_CHECKED for i in range(len(VECTORS[kind]))]


def unread(vectors: dict[str, Any]) -> set[spec_vectors.Where]:
    """Places in the vectors that no check has looked at."""
    seen: set[spec_vectors.Where] = set()
    watched = spec_vectors.watch(vectors, (), seen)
    for kind, check in CHECKS.items():
        for entry in watched[kind]:
            check(entry, vectors)
    return {where for where, _ in spec_vectors.leaves(vectors)} - seen - {(name,) for name in NOT_CHECKED}


@pytest.mark.parametrize(("kind", "i"), sorted(ENTRIES))
def test_vector(kind: str, i: int) -> None:
    assert kind in CHECKS, f"no check reads {kind}"
    CHECKS[kind](VECTORS[kind][i], VECTORS)


def test_the_kinds_are_all_there() -> None:
    assert set(VECTORS) - NOT_CHECKED == set(CHECKS)
    assert VECTORS["format"].startswith("mixmail packet vectors 1;")
    names = [f"deliver-{n}" for n in range(1, 6)] + ["surb_reply-2"]
    assert [entry["name"] for entry in VECTORS["packets"]] == names
    assert [entry["name"] for entry in VECTORS["surbs"]] == [f"surb-{n}" for n in range(1, 6)]


def test_no_value_is_left_unread() -> None:
    assert unread(VECTORS) == set()


def test_unread_values_are_noticed() -> None:
    few = {kind: VECTORS[kind][:1] if kind not in NOT_CHECKED else "" for kind in VECTORS}
    few |= {"packets": VECTORS["packets"][:3], "new_kind": [{"x": "00"}]}
    few["h512"] = [VECTORS["h512"][0] | {"new_field": 1}]
    assert unread(few) == {("new_kind", 0, "x"), ("h512", 0, "new_field")}


# Changes after which a vector is still a good one: it refuses something else, or nothing depends on it.
FREE = {
    "bad_commands": {"raw", "why"},
    "refused": {"offset", "bytes", "why"},
}
FLIPPED = {
    "packets": ("deliver-1", "deliver-3", "surb_reply-2"),
    "surbs": ("surb-1", "surb-3"),
}


@pytest.mark.parametrize("kind", sorted(CHECKS))
def test_every_changed_value_is_noticed(kind: str) -> None:
    flips = 0
    for entry in VECTORS[kind]:
        if entry.get("name") not in FLIPPED.get(kind, (None,)):
            continue
        for where, _ in spec_vectors.leaves(entry):
            free = where[-1] in FREE.get(kind, ()) or where == ("parts",)
            if free or (kind == "packets" and where == ("hops", 0, "node_id")):
                continue  # a packet does not name its first hop
            try:
                CHECKS[kind](spec_vectors.mutated(entry, where), VECTORS)
            except (AssertionError, Refused, KeyError, StopIteration, ValueError):
                flips += 1
            else:
                pytest.fail(f"{kind}: nobody noticed another {where}")
    assert flips or kind == "bad_commands"


@pytest.mark.parametrize("at", [0, 1, 1088, 1089, 1120, 1121, 4000, 7040, 7041, 7056])
@pytest.mark.parametrize("bit", [0x01, 0x80])
def test_each_part_of_a_header_counts_at_every_hop(at: int, bit: int) -> None:
    entry = VECTORS["packets"][2]
    packet = unhex(entry["packet"])
    for hop in entry["hops"]:
        changed = bytearray(packet)
        changed[at] ^= bit
        node = reader.Node([unhex(hop["seed"])])
        with pytest.raises(Refused):
            node.unwrap(bytes(changed))
        packet = node.unwrap(packet).result


def test_a_replay_is_refused_also_with_another_body() -> None:
    entry = VECTORS["packets"][2]
    other, seed = unhex(VECTORS["kem"][0]["seed"]), unhex(entry["hops"][0]["seed"])
    packet = unhex(entry["packet"])
    node = reader.Node([other, seed])
    node.unwrap(packet)
    for again in (packet, packet[:-1] + bytes([packet[-1] ^ 1])):
        with pytest.raises(Refused, match="replay"):
            node.unwrap(again)
    for wrong in (packet[:-1], packet + b"\0"):
        with pytest.raises(Refused, match="length"):
            reader.Node([seed]).unwrap(wrong)


def test_a_foreign_key_does_not_fit_and_the_right_one_is_found() -> None:
    entry = VECTORS["packets"][1]
    first, second = (unhex(hop["seed"]) for hop in entry["hops"])
    packet = unhex(entry["packet"])
    assert reader.Node([second, first]).unwrap(packet).secret.hex() == entry["steps"][0]["secret"]
    with pytest.raises(Refused, match="MAC"):
        reader.Node([second]).unwrap(packet)


def test_what_this_program_builds_it_opens() -> None:
    seeds = [bytes([i]) * 32 for i in range(5)]
    publics = [xwing.public_key(seed) for seed in seeds]
    payload = hashlib.shake_256(b"own").digest(reader.PAYLOAD)
    for n in (1, 5):
        commands = [
            reader.Command(reader.FORWARD, i, bytes([i + 1]) * 32, reader.NO_MAC) for i in range(n - 1)
        ]
        for kind in (reader.DELIVER, reader.SURB_REPLY):
            last = reader.Command(kind, 0, bytes(32), reader.NO_MAC)
            header, keys = reader.fresh_header(publics[:n], [*commands, last])
            k0 = bytes(range(32))
            surb = bytes(32) + header + k0
            packet = header + reader.build_body(keys, payload)
            if kind == reader.SURB_REPLY:
                _, packet = reader.use_surb(surb, payload)
            for seed in seeds[:n]:
                packet = reader.Node([seed]).unwrap(packet).result
            if kind == reader.SURB_REPLY:
                packet = reader.open_reply(k0, keys, packet)
            assert packet == payload


def test_reply_blocks_of_another_form_are_refused() -> None:
    surb, payload = unhex(VECTORS["surbs"][0]["surb"]), bytes(reader.PAYLOAD)
    for wrong in (surb[:-1], surb + b"\0", surb[:32] + b"\2" + surb[33:]):
        with pytest.raises(Refused):
            reader.use_surb(wrong, payload)


def test_the_first_vector_of_the_x_wing_draft() -> None:
    assert set(DRAFT) == {"origin", "seed", "pk", "ct", "ss"}
    seed = unhex(DRAFT["seed"])
    assert xwing.public_key(seed).hex() == DRAFT["pk"]
    assert xwing.decapsulate(seed, unhex(DRAFT["ct"])).hex() == DRAFT["ss"]


def test_bad_public_keys_are_refused() -> None:
    public = unhex(DRAFT["pk"])
    assert len(xwing.LOW_ORDER) == 19
    for point in xwing.LOW_ORDER:
        with pytest.raises(Refused, match="low order"):
            xwing.encapsulate(public[:1184] + point)
    with pytest.raises(Refused, match="not reduced"):
        xwing.encapsulate((3329).to_bytes(2, "little") + public[2:])
