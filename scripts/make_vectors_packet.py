#!/usr/bin/env python3
"""Write tests/vectors/packet.json and packet_more.json: what a reader written from docs/protocol/packet.md
checks itself with.

The KEM draws its own randomness, so every run gives other vectors; all of them are right.  Run it
again only when the protocol changes, and say so in docs/protocol/packet.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from mixmail.crypto import hashing, kem, wideblock  # noqa: E402
from mixmail.crypto.x25519 import _LOW_ORDER  # noqa: E402
from mixmail.mixing.delays import max_delay_ms  # noqa: E402
from mixmail.params import GEOMETRY, PRESETS  # noqa: E402
from mixmail.randomness import SystemRandomness  # noqa: E402
from mixmail.sphinx.command import MAX_DELAY_MS, Command, CommandKind  # noqa: E402
from mixmail.sphinx.create import Hop, _filler, build_header, create_packet  # noqa: E402
from mixmail.sphinx.keys import HopKeys  # noqa: E402
from mixmail.sphinx.surb import create_surb, open_surb_reply, use_surb  # noqa: E402
from mixmail.sphinx.unwrap import open_header  # noqa: E402

RNG = SystemRandomness()
SEEDS = [hashlib.sha256(b"packet vectors, hop %d" % i).digest() for i in range(GEOMETRY.max_hops)]
SECRETS = [kem.PrivateKey.from_seed(seed) for seed in SEEDS]
PATH = [
    Hop(hashlib.sha256(b"packet vectors, node %d" % i).digest(), secret.public, 1_000 * i + 7)
    for i, secret in enumerate(SECRETS)
]
WHOLE_CHAIN = 3  # the path length whose packets stand in the file at every hop


def payload_of(seed: str) -> bytes:
    """SHAKE256(seed) to the length of a payload: keeps 50 KB of hex out of the file."""
    return hashlib.shake_256(seed.encode()).digest(GEOMETRY.payload)


def hash_hex(data: bytes) -> str:
    return hashing.blake2b(data).hex()


def command_json(command: Command) -> dict[str, Any]:
    return {
        "kind": int(command.kind),
        "delay_ms": command.delay_ms,
        "ident": command.ident.hex(),
        "next_mac": command.next_mac.hex(),
        "raw": command.pack().hex(),
    }


def steps_json(packet: bytes, count: int) -> tuple[list[dict[str, Any]], bytes]:
    """What each hop computes, and what the last one ends with."""
    steps = []
    for i in range(count):
        ct = packet[1 : 1 + GEOMETRY.kem_ct]
        secret = kem.decapsulate(SECRETS[i], ct)
        keys = HopKeys.derive(secret, hashing.blake2b(ct))
        opened = open_header([SECRETS[i]], packet)
        result = opened.finish()
        step = {
            "secret": secret.hex(),
            "ct_hash": hash_hex(ct),
            "mac_key": keys.mac.hex(),
            "stream_key": keys.stream.hex(),
            "payload_key": keys.payload.hex(),
            "replay_tag": opened.replay_tag.hex(),
            "command": command_json(opened.command),
            "result_blake2b": hash_hex(result),
        }
        if count == WHOLE_CHAIN and i < count - 1:
            step["result"] = result.hex()
        steps.append(step)
        packet = result
    return steps, packet


def hops_json(count: int) -> list[dict[str, str]]:
    return [
        {"seed": seed.hex(), "node_id": hop.node_id.hex()}
        for seed, hop in zip(SEEDS[:count], PATH[:count], strict=True)
    ]


def packet_json(count: int, kind: CommandKind) -> dict[str, Any]:
    name = f"{kind.name.lower()}-{count}"
    payload = payload_of(name)
    packet = create_packet(PATH[:count], payload, RNG, (kind, hashlib.sha256(name.encode()).digest()))
    steps, end = steps_json(packet, count)
    assert end == (payload if kind is CommandKind.DELIVER else bytes(GEOMETRY.body_tag) + payload)
    return {
        "name": name,
        "hops": hops_json(count),
        "packet": packet.hex(),
        "steps": steps,
        "payload_seed": name,
        "payload_blake2b": hash_hex(payload),
    }


def surb_json(count: int) -> dict[str, Any]:
    name = f"surb-{count}"
    payload = payload_of(name)
    surb, keys = create_surb(PATH[:count], hashlib.sha256(name.encode()).digest(), RNG)
    first, packet = use_surb(surb, payload)
    steps, body = steps_json(packet, count)
    assert first == PATH[0].node_id and open_surb_reply(keys, body) == payload
    return {
        "name": name,
        "hops": hops_json(count),
        "surb": surb.hex(),
        "surb_id": keys.surb_id.hex(),
        "k0": keys.k0.hex(),
        "payload_keys": [key.hex() for key in keys.payload_keys],
        "payload_seed": name,
        "payload_blake2b": hash_hex(payload),
        "packet_blake2b": hash_hex(packet),
        "steps": steps,
        "owner_body_blake2b": hash_hex(body),
    }


def refused_json(packet: bytes) -> list[dict[str, Any]]:
    """Changes to the first packet of deliver-3 and where they must be noticed."""
    cases: list[tuple[int, bytes, str, str]] = [
        (offset, bytes([packet[offset] ^ bit]), "header", why)
        for offset, bit, why in (
            (0, 0x02, "version"),
            (1, 0x01, "ML-KEM ciphertext"),
            (1_088, 0x80, "last byte of the ML-KEM ciphertext"),
            (1_089, 0x01, "X25519 point"),
            (1_120, 0x80, "top bit of the X25519 point, which X25519 itself ignores"),
            (1_121, 0x01, "first routing byte"),
            (7_040, 0x80, "last routing byte"),
            (7_041, 0x01, "MAC"),
            (7_056, 0x80, "MAC"),
        )
    ]
    cases += [
        (offset, bytes([packet[offset] ^ bit]), "body", why)
        for offset, bit, why in (
            (7_057, 0x01, "first bit of the body: noticed by the third hop"),
            (7_089, 0x01, "first bit of the right part"),
            (32_767, 0x80, "last bit of the body"),
        )
    ]
    order_8 = "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"
    for point in (bytes(32), b"\1" + bytes(31), bytes.fromhex(order_8)):
        cases.append((1_089, point, "header", "X25519 point of low order"))
    return [
        {"packet": "deliver-3", "offset": offset, "bytes": new.hex(), "noticed_in": stage, "why": why}
        for offset, new, stage, why in cases
    ]


def primitives_json() -> dict[str, Any]:
    key = bytes(range(32))
    hashes = []
    for person, parts in (("mm1.lioness.12", []), ("mm1.packet.head", [key[::-1]]), ("x", [b"", b"ab"])):
        out = hashing.h512(person, key, *parts)
        hashes.append(
            {"person": person, "key": key.hex(), "parts": [p.hex() for p in parts], "out": out.hex()}
        )
    kems = []
    for secret in SECRETS[:2]:
        ct, shared = kem.encapsulate(secret.public)
        kems.append(
            {
                "seed": secret.seed.hex(),
                "public": secret.public.raw.hex(),
                "ct": ct.hex(),
                "secret": shared.hex(),
            }
        )
    wide = wideblock.Keys.derive(key)
    block = hashlib.shake_256(b"wide block").digest(100)
    return {
        "h512": hashes,
        "kem": kems,
        "wideblock": [
            {
                "k_pay": key.hex(),
                "k": [k.hex() for k in (wide.k1, wide.k2, wide.k3, wide.k4)],
                "block": block.hex(),
                "encrypted": wideblock.encrypt(wide, block).hex(),
            }
        ],
        "bad_commands": [
            {"raw": raw.hex(), "why": why}
            for raw, why in (
                (bytes(64), "kind 0"),
                (b"\4" + bytes(63), "kind 4"),
                (b"\2\1" + bytes(62), "flags not zero"),
                (b"\2\0\0\1" + bytes(60), "reserved u16 not zero"),
                (b"\2" + bytes(62) + b"\1", "last byte not zero"),
                (b"\2" + bytes(39) + b"\1" + bytes(23), "DELIVER with a MAC"),
                (b"\3" + bytes(54) + b"\1" + bytes(8), "SURB_REPLY with a MAC"),
            )
        ],
    }


class Noted(SystemRandomness):
    """Keeps what it gave: the random bytes `u` of a header."""

    def __init__(self) -> None:
        self.given = b""

    def bytes(self, count: int) -> bytes:
        """`count` random bytes."""
        self.given = super().bytes(count)
        return self.given


def header_json(count: int, kind: CommandKind) -> dict[str, Any]:
    """A header with all that goes into it, and the filler after each hop."""
    noted, name = Noted(), f"header-{count}-{kind.name.lower()}"
    header, keys = build_header(PATH[:count], (kind, hashlib.sha256(name.encode()).digest()), noted)
    packet, cts, commands, headers = header + bytes(GEOMETRY.body), [], [], []
    for secret in SECRETS[:count]:
        cts.append(packet[1 : 1 + GEOMETRY.kem_ct].hex())
        headers.append(hash_hex(packet[: GEOMETRY.header]))
        opened = open_header([secret], packet)
        commands.append(command_json(opened.command))
        if opened.command.kind is CommandKind.FORWARD:
            packet = opened.finish()
    return {
        "name": name,
        "hops": hops_json(count),
        "cts": cts,
        "stream_keys": [hop.stream.hex() for hop in keys],
        "mac_keys": [hop.mac.hex() for hop in keys],
        "commands": commands,
        "u": noted.given.hex(),
        "fillers": [_filler(keys[:i]).hex() for i in range(1, count)],
        "header": header.hex(),
        "headers_blake2b": headers,
    }


def commands_json() -> list[dict[str, Any]]:
    """Commands that a hop must accept."""
    ident, mac = bytes(range(32)), bytes(range(100, 116))
    return [
        command_json(Command(kind, delay, ident if delay else bytes(32), mac if forwards else bytes(16)))
        for kind, forwards in (
            (CommandKind.FORWARD, True),
            (CommandKind.DELIVER, False),
            (CommandKind.SURB_REPLY, False),
        )
        for delay in (0, 1, 0x01020304, MAX_DELAY_MS)
    ]


def refused_commands_json() -> list[dict[str, str]]:
    """Every way in which a command can be wrong."""
    forward = Command(CommandKind.FORWARD, 7, bytes(range(32)), bytes(range(100, 116))).pack()
    cases = [(bytes([kind]) + forward[1:], f"kind {kind}") for kind in (0, 4, 5, 127, 128, 255)]
    for at in (1, 2, 3, *range(56, 64)):
        for bit in (0x01, 0x80):
            raw = bytearray(forward)
            raw[at] = bit
            cases.append((bytes(raw), f"reserved byte {at} is {bit}"))
    for kind in (CommandKind.DELIVER, CommandKind.SURB_REPLY):
        for at in (40, 55):
            raw = bytearray(Command(kind, 7, bytes(range(32))).pack())
            raw[at] = 1
            cases.append((bytes(raw), f"{kind.name} with a next_mac"))
    return [{"raw": raw.hex(), "why": why} for raw, why in cases]


def delay_limits_json() -> list[dict[str, Any]]:
    """The longest delay that a mix accepts on each of the networks that have a name."""
    return [
        {"preset": name, "longest_ms": max_delay_ms(preset), "refused_ms": max_delay_ms(preset) + 1}
        for name, preset in PRESETS.items()
    ]


def refused_at_json(packet: bytes, name: str, count: int) -> list[dict[str, Any]]:
    """Changes to what hop number `hop` (from 0) receives of a packet; that hop must drop it."""
    cases = []
    for hop in range(count):
        for offset, why in (
            (0, "version"),
            (1, "ML-KEM ciphertext"),
            (1_089, "X25519 point"),
            (1_120, "last byte of the X25519 point"),
            (1_121, "routing"),
            (4_000, "routing"),
            (7_040, "last routing byte"),
            (7_041, "MAC"),
            (7_056, "MAC"),
        ):
            for bit in (0x01, 0x80):
                cases.append((hop, offset, bytes([packet[offset] ^ bit]), why))
        cases += [(hop, 1_089, point, "X25519 point of low order") for point in sorted(_LOW_ORDER)]
        packet = open_header([SECRETS[hop]], packet).finish()
    return [
        {"packet": name, "hop": hop, "offset": offset, "bytes": new.hex(), "why": why}
        for hop, offset, new, why in cases
    ]


def more_json(packets: list[dict[str, Any]]) -> dict[str, Any]:
    """The document packet_more.json."""
    deliver_3 = bytes.fromhex(next(p["packet"] for p in packets if p["name"] == "deliver-3"))
    headers = [
        header_json(count, kind)
        for count in range(1, GEOMETRY.max_hops + 1)
        for kind in (CommandKind.DELIVER, CommandKind.SURB_REPLY)
    ]
    return {
        "format": "mixmail packet vectors 1, part 2; see docs/protocol/packet.md, 'Test vectors'",
        "headers": headers,
        "commands": commands_json(),
        "refused_commands": refused_commands_json(),
        "delay_limits": delay_limits_json(),
        "refused_at": refused_at_json(deliver_3, "deliver-3", 3),
    }


def write(target: Path, document: dict[str, Any]) -> None:
    """Write one file of vectors."""
    target.write_text(json.dumps(document, indent=1) + "\n")
    print(f"{target}: {target.stat().st_size} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "tests" / "vectors", metavar="FOLDER")
    parser.add_argument(
        "--more-only", action="store_true", help="leave packet.json as it is and take its packets"
    )
    options = parser.parse_args()
    folder: Path = options.folder
    if options.more_only:
        packets = json.loads((folder / "packet.json").read_text())["packets"]
    else:
        packets = [packet_json(count, CommandKind.DELIVER) for count in range(1, GEOMETRY.max_hops + 1)]
        packets.append(packet_json(2, CommandKind.SURB_REPLY))
        deliver_3 = bytes.fromhex(next(p["packet"] for p in packets if p["name"] == "deliver-3"))
        document = {
            "format": "mixmail packet vectors 1; see docs/protocol/packet.md, 'Test vectors'",
            **primitives_json(),
            "packets": packets,
            "surbs": [surb_json(count) for count in range(1, GEOMETRY.max_hops + 1)],
            "refused": refused_json(deliver_3),
        }
        write(folder / "packet.json", document)
    write(folder / "packet_more.json", more_json(packets))


if __name__ == "__main__":
    main()
