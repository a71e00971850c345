"""Packets, routing commands and reply blocks (docs/protocol/packet.md)."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

from harness import Harness, change, choose, seeds

from mixmail.crypto import hashing, kem, stream
from mixmail.errors import RemoteProtocolError
from mixmail.params import GEOMETRY
from mixmail.sphinx import unwrap
from mixmail.sphinx.command import Command, CommandKind
from mixmail.sphinx.keys import HopKeys, header_mac
from mixmail.sphinx.surb import SurbKeys, open_surb_reply, use_surb

_VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "packet.json").read_text("utf-8"))
_CASES = [case for case in _VECTORS["packets"] if len(case["hops"]) in (1, 3)]
_PACKETS = [bytes.fromhex(case["packet"]) for case in _CASES]
_KEYS = [kem.PrivateKey.from_seed(bytes.fromhex(_CASES[0]["hops"][0]["seed"]))]
_CT_END = 1 + GEOMETRY.kem_ct
_ROUTING_END = _CT_END + GEOMETRY.routing
_decapsulate = lru_cache(maxsize=64)(kem.decapsulate)


def _opened(packet: bytes) -> bool:
    try:
        header = unwrap.open_header(_KEYS, packet)
        result = header.finish()
    except RemoteProtocolError:
        return False
    if header.command.kind is CommandKind.FORWARD:
        assert len(result) == GEOMETRY.packet and result[:1] == packet[:1]
    else:
        assert len(result) in (GEOMETRY.payload, GEOMETRY.body)
    return True


def packet(data: bytes) -> bool:
    """The bytes of a link: almost every change is found by the MAC."""
    return _opened(choose(_PACKETS, data)[1])


def _parts(packet: bytes) -> tuple[HopKeys, bytes]:
    ct = packet[1:_CT_END]
    hop = HopKeys.derive(_decapsulate(_KEYS[0], ct), hashing.blake2b(ct))
    return hop, stream.chacha20_xor(hop.stream, packet[_CT_END:_ROUTING_END])


def authentic(data: bytes) -> bool:
    """A sender's own making: the routing area is changed before it is encrypted, and the MAC fits."""
    number = data[0] % len(_PACKETS) if data else 0
    base = _PACKETS[number]
    hop, routing = _parts(base)
    routing = (choose([routing], b"\0" + data[1:])[1] + bytes(GEOMETRY.routing))[: GEOMETRY.routing]
    head = base[:_CT_END] + stream.chacha20_xor(hop.stream, routing)
    body = base[GEOMETRY.header :]
    return _opened(head + header_mac(hop.mac, head) + body)


_COMMANDS = [bytes.fromhex(step["command"]["raw"]) for case in _CASES for step in case["steps"]][:6]


def command(data: bytes) -> bool:
    raw = choose(_COMMANDS, data)[1]
    try:
        parsed = Command.parse(raw)
    except RemoteProtocolError:
        return False
    assert parsed.pack() == raw
    return True


_SURB = next(case for case in _VECTORS["surbs"] if len(case["hops"]) == 1)
_SURB_KEYS = SurbKeys(
    bytes.fromhex(_SURB["surb_id"]),
    bytes.fromhex(_SURB["k0"]),
    tuple(bytes.fromhex(key) for key in _SURB["payload_keys"]),
)
_SURB_RAW = bytes.fromhex(_SURB["surb"])
_PAYLOAD = bytes(GEOMETRY.payload)


def _reply_body() -> bytes:
    key = kem.PrivateKey.from_seed(bytes.fromhex(_SURB["hops"][0]["seed"]))
    return unwrap.open_header([key], use_surb(_SURB_RAW, _PAYLOAD)[1]).finish()


_REPLY = _reply_body()


def surb(data: bytes) -> bool:
    """Even first byte: a reply block that a courier got; odd: the body of an answer that its owner got."""
    number, raw = choose([_SURB_RAW, _REPLY], data)
    try:
        if number == 0:
            first, built = use_surb(raw, _PAYLOAD)
            assert first == raw[:32] and len(built) == GEOMETRY.packet
        else:
            assert open_surb_reply(_SURB_KEYS, raw) == _PAYLOAD and raw == _REPLY
    except RemoteProtocolError:
        return False
    return True


_UNWRAP = [unwrap.open_header, unwrap.OpenedHeader.finish, unwrap.open_body, unwrap._find_keys]
_COMMAND_CHANGES = (
    change(0, 9),
    change(4, 0xFF),
    change(1, 1),
    change(40, 1),
    change(60, 1),
    change(0, 2),
    change(0, 3),
)
HARNESSES = [
    Harness(
        "packet", packet, seeds(_PACKETS, change(0, 2), change(9_000, 1, 1), change(5_000, 1, 1)), _UNWRAP
    ),
    Harness(
        "authentic",
        authentic,
        seeds(_PACKETS, *_COMMAND_CHANGES),
        [Command.parse, unwrap.OpenedHeader.finish],
    ),
    Harness("command", command, seeds(_COMMANDS, *_COMMAND_CHANGES), [Command.parse]),
    Harness(
        "surb",
        surb,
        seeds([_SURB_RAW, _REPLY], change(32, 9), change(500, 1, 1)),
        [use_surb, open_surb_reply, unwrap.open_body],
    ),
]
