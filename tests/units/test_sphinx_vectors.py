"""The shipped code against tests/vectors/packet.json, which outsiders check themselves with too."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from mixmail.crypto import hashing, kem, stream, wideblock
from mixmail.errors import RemoteProtocolError
from mixmail.params import GEOMETRY, PRESETS
from mixmail.sphinx.command import Command
from mixmail.sphinx.keys import HopKeys
from mixmail.sphinx.surb import SurbKeys, open_surb_reply, use_surb
from mixmail.sphinx.unwrap import OpenedHeader, open_header

FILE = Path(__file__).parents[1] / "vectors" / "packet.json"
VECTORS: dict[str, Any] = json.loads(FILE.read_text())


def unhex(text: str) -> bytes:
    return bytes.fromhex(text)


def digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=32).hexdigest()


def payload_of(vector: dict[str, Any]) -> bytes:
    payload = hashlib.shake_256(vector["payload_seed"].encode()).digest(GEOMETRY.payload)
    assert digest(payload) == vector["payload_blake2b"]
    return payload


def open_at(vector: dict[str, Any], hop: int, packet: bytes) -> OpenedHeader:
    return open_header([kem.PrivateKey.from_seed(unhex(vector["hops"][hop]["seed"]))], packet)


def walk(vector: dict[str, Any], packet: bytes) -> bytes:
    """Through all hops, comparing what each of them learns."""
    for i, step in enumerate(vector["steps"]):
        opened = open_at(vector, i, packet)
        assert opened.replay_tag.hex() == step["replay_tag"]
        assert opened.command.pack().hex() == step["command"]["raw"]
        assert opened.command.delay_ms == step["command"]["delay_ms"]
        packet = opened.finish()
        assert digest(packet) == step["result_blake2b"]
        if "result" in step:
            assert packet.hex() == step["result"]
    return packet


@pytest.mark.parametrize("vector", VECTORS["packets"], ids=lambda v: v["name"])
def test_packets(vector: dict[str, Any]) -> None:
    end = walk(vector, unhex(vector["packet"]))
    tag = b"" if vector["name"].startswith("deliver") else bytes(GEOMETRY.body_tag)
    assert end == tag + payload_of(vector)


@pytest.mark.parametrize("vector", VECTORS["surbs"], ids=lambda v: v["name"])
def test_surbs(vector: dict[str, Any]) -> None:
    first, packet = use_surb(unhex(vector["surb"]), payload_of(vector))
    assert first.hex() == vector["hops"][0]["node_id"]
    assert digest(packet) == vector["packet_blake2b"]
    body = walk(vector, packet)
    assert digest(body) == vector["owner_body_blake2b"]
    payload_keys = tuple(map(unhex, vector["payload_keys"]))
    keys = SurbKeys(unhex(vector["surb_id"]), unhex(vector["k0"]), payload_keys)
    assert vector["steps"][-1]["command"]["ident"] == vector["surb_id"]
    assert open_surb_reply(keys, body) == payload_of(vector)


@pytest.mark.parametrize("case", VECTORS["refused"], ids=lambda c: f"{c['offset']}-{c['bytes'][:6]}")
def test_refused(case: dict[str, Any]) -> None:
    vector = next(v for v in VECTORS["packets"] if v["name"] == case["packet"])
    packet, new = unhex(vector["packet"]), unhex(case["bytes"])
    packet = packet[: case["offset"]] + new + packet[case["offset"] + len(new) :]
    if case["noticed_in"] == "header":
        with pytest.raises(RemoteProtocolError):
            open_at(vector, 0, packet)
        return
    last = len(vector["hops"]) - 1
    for i in range(last):
        packet = open_at(vector, i, packet).finish()
    opened = open_at(vector, last, packet)
    with pytest.raises(RemoteProtocolError):
        opened.finish()


def test_primitives() -> None:
    for case in VECTORS["h512"]:
        out = hashing.h512(case["person"], unhex(case["key"]), *map(unhex, case["parts"]))
        assert out.hex() == case["out"]
    for case in VECTORS["kem"]:
        private = kem.PrivateKey.from_seed(unhex(case["seed"]))
        assert private.public.raw.hex() == case["public"]
        assert kem.decapsulate(private, unhex(case["ct"])).hex() == case["secret"]
    for case in VECTORS["wideblock"]:
        keys = wideblock.Keys.derive(unhex(case["k_pay"]))
        assert [k.hex() for k in keys] == case["k"]
        assert wideblock.encrypt(keys, unhex(case["block"])).hex() == case["encrypted"]
        assert wideblock.decrypt(keys, unhex(case["encrypted"])).hex() == case["block"]


@pytest.mark.parametrize("case", VECTORS["bad_commands"], ids=lambda c: c["why"])
def test_bad_commands(case: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError):
        Command.parse(unhex(case["raw"]))


def test_the_file_covers_every_length_of_path() -> None:
    assert [len(v["hops"]) for v in VECTORS["surbs"]] == [1, 2, 3, 4, 5]
    lengths = {len(v["hops"]) for v in VECTORS["packets"] if v["name"].startswith("deliver")}
    assert lengths == {1, 2, 3, 4, 5}
    kinds = {step["command"]["kind"] for v in VECTORS["packets"] for step in v["steps"]}
    assert kinds == {1, 2, 3}
    assert FILE.stat().st_size < 1_500_000


MORE: dict[str, Any] = json.loads((FILE.parent / "packet_more.json").read_text())


@pytest.mark.parametrize("vector", MORE["headers"], ids=lambda v: v["name"])
def test_headers_fillers_and_what_each_hop_receives(vector: dict[str, Any]) -> None:
    count = len(vector["hops"])
    secrets = [kem.PrivateKey.from_seed(unhex(hop["seed"])) for hop in vector["hops"]]
    cts = [unhex(ct) for ct in vector["cts"]]
    keys = [
        HopKeys.derive(kem.decapsulate(secret, ct), hashing.blake2b(ct))
        for secret, ct in zip(secrets, cts, strict=True)
    ]
    assert [hop.stream.hex() for hop in keys] == vector["stream_keys"]
    assert [hop.mac.hex() for hop in keys] == vector["mac_keys"]
    # the filler by the formula of the document, not by the code
    size, block, filler = GEOMETRY.routing, GEOMETRY.block, b""
    for i in range(count - 1):
        key_stream = stream.chacha20_xor(keys[i].stream, bytes(size + block))
        tail = key_stream[size - len(filler) :]
        filler = bytes(a ^ b for a, b in zip(filler + bytes(block), tail, strict=True))
        assert filler.hex() == vector["fillers"][i]
    assert len(vector["fillers"]) == count - 1
    packet = unhex(vector["header"]) + bytes(GEOMETRY.body)
    for i, secret in enumerate(secrets):
        assert digest(packet[: GEOMETRY.header]) == vector["headers_blake2b"][i]
        assert packet[1 : 1 + GEOMETRY.kem_ct] == cts[i]
        opened = open_header([secret], packet)
        assert opened.command.pack().hex() == vector["commands"][i]["raw"]
        if i < count - 1:
            packet = opened.finish()
    routing = packet[1 + GEOMETRY.kem_ct : 1 + GEOMETRY.kem_ct + size]
    assert routing.endswith(filler)
    inside = stream.chacha20_xor(keys[-1].stream, routing[: size - len(filler)])
    assert inside[GEOMETRY.command :].hex() == vector["u"]


def test_accepted_commands() -> None:
    assert {case["kind"] for case in MORE["commands"]} == {1, 2, 3}
    for case in MORE["commands"]:
        command = Command.parse(unhex(case["raw"]))
        assert (command.kind, command.delay_ms) == (case["kind"], case["delay_ms"])
        assert (command.ident.hex(), command.next_mac.hex()) == (case["ident"], case["next_mac"])


@pytest.mark.parametrize("case", MORE["refused_commands"], ids=lambda c: c["why"])
def test_refused_commands(case: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError):
        Command.parse(unhex(case["raw"]))


def test_delay_limits() -> None:
    assert {case["preset"] for case in MORE["delay_limits"]} == set(PRESETS)
    for case in MORE["delay_limits"]:
        preset = PRESETS[case["preset"]]
        assert case["longest_ms"] == round(preset.delay_cut * preset.mean_delay * 1000)
        assert case["refused_ms"] == case["longest_ms"] + 1


def test_refused_at_each_hop() -> None:
    assert len(MORE["refused_at"]) == 3 * (9 * 2 + 19)
    for case in MORE["refused_at"]:
        vector = next(v for v in VECTORS["packets"] if v["name"] == case["packet"])
        packet, new = unhex(vector["packet"]), unhex(case["bytes"])
        for hop in range(case["hop"]):
            packet = open_at(vector, hop, packet).finish()
        changed = packet[: case["offset"]] + new + packet[case["offset"] + len(new) :]
        assert changed != packet and open_at(vector, case["hop"], packet)
        with pytest.raises(RemoteProtocolError):
            open_at(vector, case["hop"], changed)
