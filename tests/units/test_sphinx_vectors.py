"""The shipped code against tests/vectors/packet.json, which outsiders check themselves with too."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from mixmail.crypto import hashing, kem, wideblock
from mixmail.errors import RemoteProtocolError
from mixmail.params import GEOMETRY
from mixmail.sphinx.command import Command
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
