"""Every vector of packet_more.json, read by a program that was written from docs/protocol/packet.md alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import packet_reader as reader
import pytest
import spec_vectors
import spec_xwing as xwing
from spec_primitives import Refused, blake2b, shake
from spec_vectors import unhex

VECTORS = spec_vectors.load("packet_more.json")
PACKETS = {entry["name"]: entry for entry in spec_vectors.load("packet.json")["packets"]}
LAST_KINDS = {"deliver": reader.DELIVER, "surb_reply": reader.SURB_REPLY}
RESERVED = (1, 2, 3, *range(56, 64))
NEXT_MAC = slice(40, 56)


def patched(raw: bytes, at: int, change: bytes) -> bytes:
    assert at + len(change) <= len(raw)
    return raw[:at] + change + raw[at + len(change) :]


# Headers.


def check_header(entry: Any, _: Any) -> None:
    name = re.fullmatch("header-([1-5])-(deliver|surb_reply)", entry["name"])
    assert name
    end = name[2]
    n, seeds = int(name[1]), [unhex(hop["seed"]) for hop in entry["hops"]]
    cts, u = [unhex(ct) for ct in entry["cts"]], unhex(entry["u"])
    keys = [reader.derive(xwing.decapsulate(s, ct), ct) for s, ct in zip(seeds, cts, strict=True)]
    assert [key.stream_key.hex() for key in keys] == list(entry["stream_keys"])
    assert [key.mac_key.hex() for key in keys] == list(entry["mac_keys"])
    inputs = [
        reader.Command(command["kind"], command["delay_ms"], unhex(command["ident"]), reader.NO_MAC)
        for command in entry["commands"]
    ]
    assert [command.kind for command in inputs] == [reader.FORWARD] * (n - 1) + [LAST_KINDS[end]]
    next_ids = [hop["node_id"] for hop in entry["hops"]][1:]
    assert [command.ident.hex() for command in inputs[:-1]] == next_ids
    fillers = reader.build_fillers([key.stream_key for key in keys[:-1]])
    assert [filler.hex() for filler in fillers] == list(entry["fillers"])
    header = reader.build_header(cts, keys, inputs, u)
    assert header.hex() == entry["header"]
    assert len(header) == reader.HEADER

    # What was built is carried over its hops. It ends with the filler, behind the command and u.
    payload = shake(entry["name"], reader.PAYLOAD)
    packet = header + reader.build_body([key.payload_key for key in keys], payload)
    for seed, vector, command, received in zip(
        seeds, entry["commands"], inputs, entry["headers_blake2b"], strict=True
    ):
        assert blake2b(256, packet[: reader.HEADER]).hex() == received
        before, got = packet, reader.Node([seed]).unwrap(packet)
        assert got.routing_text[:64].hex() == vector["raw"]
        assert got.command.next_mac.hex() == vector["next_mac"]
        assert replace(got.command, next_mac=reader.NO_MAC) == command
        packet = got.result
    assert got.command == inputs[-1]
    assert got.routing_text[64 : 64 + len(u)] == u
    assert before[1121:7041].endswith(fillers[-1] if fillers else b"")
    assert packet == (payload if end == "deliver" else bytes(32) + payload)


# Commands.


def hop_that_finds(raw: bytes) -> reader.Unwrapped:
    """What a hop does with a packet, good in all else, in which it finds these 64 bytes."""
    entry = VECTORS["headers"][0]
    seed, ct = unhex(entry["hops"][0]["seed"]), unhex(entry["cts"][0])
    keys = reader.derive(xwing.decapsulate(seed, ct), ct)
    routing = reader.stream_xor(keys.stream_key, raw + unhex(entry["u"]))
    header = reader.VERSION + ct + routing + reader.header_mac(keys, ct, routing)
    return reader.Node([seed]).unwrap(header + reader.build_body([keys.payload_key], bytes(reader.PAYLOAD)))


def check_command(entry: Any, _: Any) -> None:
    raw = unhex(entry["raw"])
    command = reader.Command(
        entry["kind"], entry["delay_ms"], unhex(entry["ident"]), unhex(entry["next_mac"])
    )
    assert command.encode() == raw
    assert reader.parse_command(raw) == command
    got = hop_that_finds(raw)
    assert got.command == command
    if command.kind == reader.FORWARD:
        assert got.result[: reader.HEADER].endswith(command.next_mac)
    else:
        assert got.body == bytes(reader.BODY)


def mend(raw: bytes, why: str) -> tuple[bytes, str]:
    """The same command without the one thing that `why` says, and the check that must refuse it."""
    if match := re.fullmatch("kind ([0-9]+)", why):
        assert raw[0] == int(match[1])
        return patched(raw, 0, b"\1"), "kind"
    if match := re.fullmatch("reserved byte ([0-9]+) is ([0-9]+)", why):
        at, value = int(match[1]), int(match[2])
        assert at in RESERVED
        assert raw[at] == value
        return patched(raw, at, b"\0"), "reserved"
    match = re.fullmatch("(DELIVER|SURB_REPLY) with a next_mac", why)
    assert match, f"no check knows the reason {why}"
    assert raw[0] == LAST_KINDS[match[1].lower()]
    assert raw[NEXT_MAC].count(0) == 15  # one byte of it is enough
    return patched(raw, NEXT_MAC.start, bytes(16)), "MAC in a last command"


def check_refused_command(entry: Any, _: Any) -> None:
    raw = unhex(entry["raw"])
    good, reason = mend(raw, entry["why"])
    for read in (reader.parse_command, hop_that_finds):
        with pytest.raises(Refused, match=reason):
            read(raw)
        read(good)


def check_delay_limit(entry: Any, _: Any) -> None:
    """The document gives no preset's mean delay: any one is looked for that fits the two numbers."""
    longest, refused = entry["longest_ms"], entry["refused_ms"]
    assert entry["preset"] in ("mail", "chat", "demo")
    assert longest % 10 == 0
    for delay, accepted in ((longest, True), (refused, False), (refused - 1, True)):
        for kind in (reader.FORWARD, reader.DELIVER, reader.SURB_REPLY):
            command = reader.Command(kind, delay, bytes(32), reader.NO_MAC)
            got = reader.parse_command(command.encode())
            assert reader.delay_is_accepted(got, longest // 10) == accepted


# Refused at a hop.

FIELDS = {  # where in a packet a reason may stand, and which check must refuse
    "version": (0, 1, "version"),
    "ML-KEM ciphertext": (1, 1089, "MAC"),
    "X25519 point": (1089, 1121, "MAC"),
    "last byte of the X25519 point": (1120, 1121, "MAC"),
    "X25519 point of low order": (1089, 1121, "low order"),
    "routing": (1121, 7041, "MAC"),
    "last routing byte": (7040, 7041, "MAC"),
    "MAC": (7041, 7057, "MAC"),
}


def received_by(hop: int, entry: Any) -> tuple[bytes, bytes]:
    """(seed of the hop, packet)."""
    packet, seeds = unhex(entry["packet"]), [unhex(hop["seed"]) for hop in entry["hops"]]
    for seed in seeds[:hop]:
        packet = reader.Node([seed]).unwrap(packet).result
    return seeds[hop], packet


def check_refused_at(entry: Any, _: Any) -> None:
    at, change = entry["offset"], unhex(entry["bytes"])
    begin, end, reason = FIELDS[entry["why"]]
    assert begin <= at < at + len(change) <= end
    seed, packet = received_by(entry["hop"], PACKETS[entry["packet"]])
    reader.Node([seed]).unwrap(packet)
    old = packet[at : at + len(change)]
    if reason == "low order":
        assert at == begin
        assert change in xwing.LOW_ORDER
    else:  # a single bit is enough
        assert reader.xor(old, change).hex().strip("0") in ("1", "2", "4", "8")
    with pytest.raises(Refused, match=reason):
        reader.Node([seed]).unwrap(patched(packet, at, change))


CHECKS: dict[str, Callable[[Any, Any], None]] = {
    "headers": check_header,
    "commands": check_command,
    "refused_commands": check_refused_command,
    "delay_limits": check_delay_limit,
    "refused_at": check_refused_at,
}
NOT_CHECKED = {"format"}  # it names the file and is no vector
ENTRIES = [(kind, i) for kind in VECTORS.keys() - NOT_CHECKED for i in range(len(VECTORS[kind]))]


def check_what_is_there(vectors: dict[str, Any]) -> None:
    """The file has what the document says that it has, and nothing else."""
    assert set(vectors) - NOT_CHECKED == set(CHECKS)
    assert vectors["format"].startswith("mixmail packet vectors 1, part 2;")
    names = [f"header-{n}-{end}" for n in range(1, 6) for end in LAST_KINDS]
    assert [entry["name"] for entry in vectors["headers"]] == names

    commands = Counter((c["kind"], c["delay_ms"]) for c in vectors["commands"])
    assert commands == Counter((kind, d) for kind in (1, 2, 3) for d in (0, 1, 0x01020304, 2**32 - 1))
    idents = {(c["kind"], any(unhex(c["ident"]))) for c in vectors["commands"]}
    assert idents == {(kind, given) for kind in (1, 2, 3) for given in (False, True)}

    reasons = Counter(entry["why"] for entry in vectors["refused_commands"])
    expected = {f"reserved byte {at} is {value}": 1 for at in RESERVED for value in (1, 128)}
    expected |= {f"kind {kind}": 1 for kind in (0, 4, 5, 127, 128, 255)}
    assert reasons == expected | {"DELIVER with a next_mac": 2, "SURB_REPLY with a next_mac": 2}
    macs = {unhex(c["raw"])[NEXT_MAC] for c in vectors["refused_commands"] if "next_mac" in c["why"]}
    assert macs == {b"\1" + bytes(15), bytes(15) + b"\1"}

    assert [entry["preset"] for entry in vectors["delay_limits"]] == ["mail", "chat", "demo"]

    places = Counter((r["hop"], r["offset"], r["why"]) for r in vectors["refused_at"])
    low_order = {(hop, 1089, "X25519 point of low order"): len(xwing.LOW_ORDER) for hop in range(3)}
    bits = [(0, "version"), (1, "ML-KEM ciphertext"), (1089, "X25519 point"), (1121, "routing")]
    bits += [(1120, "last byte of the X25519 point"), (4000, "routing"), (7040, "last routing byte")]
    bits += [(7041, "MAC"), (7056, "MAC")]
    assert places == low_order | {(hop, *place): 2 for hop in range(3) for place in bits}
    assert {r["packet"] for r in vectors["refused_at"]} == {"deliver-3"}
    for entries in (vectors["refused_commands"], vectors["refused_at"]):
        assert len({str(sorted(entry.items())) for entry in entries}) == len(entries)


@pytest.mark.parametrize(("kind", "i"), sorted(ENTRIES))
def test_vector(kind: str, i: int) -> None:
    assert kind in CHECKS, f"no check reads {kind}"
    CHECKS[kind](VECTORS[kind][i], VECTORS)


def test_the_file_has_what_the_document_says() -> None:
    check_what_is_there(VECTORS)
    for kind in CHECKS:
        for i in range(len(VECTORS[kind])):
            fewer = VECTORS | {kind: VECTORS[kind][:i] + VECTORS[kind][i + 1 :]}
            with pytest.raises(AssertionError):
                check_what_is_there(fewer)
        with pytest.raises(AssertionError):
            check_what_is_there(VECTORS | {kind: [*VECTORS[kind], VECTORS[kind][-1]]})
    with pytest.raises(AssertionError):
        check_what_is_there(VECTORS | {"new_kind": []})


def test_no_value_is_left_unread() -> None:
    assert spec_vectors.unread(VECTORS, CHECKS, NOT_CHECKED) == set()


def test_unread_values_are_noticed() -> None:
    few = {kind: VECTORS[kind][:1] for kind in CHECKS} | {"format": "", "new_kind": [{"x": "00"}]}
    few["headers"] = [VECTORS["headers"][0] | {"new_field": 1}]
    expected = {("new_kind", 0, "x"), ("headers", 0, "new_field")}
    assert spec_vectors.unread(few, CHECKS, NOT_CHECKED) == expected


def notices(kind: str, i: int, entry: Any) -> bool:
    changed = VECTORS[kind].copy()
    changed[i] = entry
    try:
        check_what_is_there(VECTORS | {kind: changed})
        CHECKS[kind](entry, VECTORS)
    except (AssertionError, Refused, KeyError, ValueError):
        return True
    return False


@pytest.mark.parametrize(("kind", "i"), sorted(ENTRIES))
def test_every_changed_value_is_noticed(kind: str, i: int) -> None:
    entry = VECTORS[kind][i]
    assert not notices(kind, i, entry)
    for where, _ in spec_vectors.leaves(entry):
        if kind == "headers" and where == ("hops", 0, "node_id"):
            continue  # a header does not name its first hop
        if kind == "refused_commands" and where == ("raw",):
            continue  # below
        assert notices(kind, i, spec_vectors.mutated(entry, where)), where


@pytest.mark.parametrize("i", range(len(VECTORS["refused_commands"])))
def test_a_refused_command_has_one_fault_only(i: int) -> None:
    entry = VECTORS["refused_commands"][i]
    raw = unhex(entry["raw"])
    free = {at for at in range(64) if not notices("refused_commands", i, entry | {"raw": flip(raw, at)})}
    delay_and_ident = set(range(4, 40))
    forward_mac = set() if "next_mac" in entry["why"] else set(range(40, 56))
    assert free == delay_and_ident | forward_mac
    assert notices("refused_commands", i, entry | {"raw": entry["raw"] + "00"})


@pytest.mark.parametrize("i", range(len(VECTORS["delay_limits"])))
def test_limits_of_delays_that_no_document_gives(i: int) -> None:
    """Not checked: which mean delay each preset has. When a document says it, this test must go."""
    entry = VECTORS["delay_limits"][i]
    other = 2 * entry["longest_ms"]
    assert not notices("delay_limits", i, entry | {"longest_ms": other, "refused_ms": other + 1})
    assert notices("delay_limits", i, entry | {"longest_ms": other, "refused_ms": other + 2})


def flip(raw: bytes, at: int) -> str:
    return patched(raw, at, bytes([raw[at] ^ 1])).hex()


@pytest.mark.parametrize("kind", sorted(CHECKS))
def test_the_ends_of_each_string_count_too(kind: str) -> None:
    entry, i = VECTORS[kind][-1], len(VECTORS[kind]) - 1
    for where, value in spec_vectors.leaves(entry):
        if where[-1] in ("name", "why", "preset", "packet", "raw") or not isinstance(value, str) or not value:
            continue
        if where == ("hops", 0, "node_id"):
            continue
        for at in (0, len(unhex(value)) - 1):
            copy = put(entry, where, flip(unhex(value), at))
            assert notices(kind, i, copy), where


def put(value: Any, where: spec_vectors.Where, new: Any) -> Any:
    if not where:
        return new
    copy = value.copy()
    copy[where[0]] = put(copy[where[0]], where[1:], new)
    return copy


@pytest.mark.parametrize("hop", range(3))
@pytest.mark.parametrize("length", [0, 1, 7041, 7057, 32767, 32769])
def test_packets_of_another_length_are_refused_at_every_hop(hop: int, length: int) -> None:
    seed, packet = received_by(hop, PACKETS["deliver-3"])
    with pytest.raises(Refused, match="length"):
        reader.Node([seed]).unwrap(packet.ljust(length, b"\0")[:length])


@pytest.mark.parametrize("hop", range(3))
@pytest.mark.parametrize("at", [0, 1, 1088, 1089, 1120, 1121, 7040, 7041, 7056])
def test_every_bit_at_the_ends_of_the_fields_counts_at_every_hop(hop: int, at: int) -> None:
    seed, packet = received_by(hop, PACKETS["deliver-3"])
    for bit in range(8):
        with pytest.raises(Refused, match="MAC" if at else "version"):
            reader.Node([seed]).unwrap(patched(packet, at, bytes([packet[at] ^ 1 << bit])))
