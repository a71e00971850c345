"""A packet reader and builder written from docs/protocol/packet.md alone."""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass, field

from spec_primitives import Refused, blake2b, h512, keyed_blake3, stream_xor, u32be, xor
from spec_xwing import decapsulate, encapsulate

PACKET, HEADER, ROUTING, BLOCK, BODY, PAYLOAD, SURB = 32768, 7057, 5920, 1184, 25711, 25679, 7121
VERSION = b"\1"
FORWARD, DELIVER, SURB_REPLY = 1, 2, 3
NO_MAC = bytes(16)


@dataclass(frozen=True)
class HopKeys:
    ct_hash: bytes
    mac_key: bytes
    stream_key: bytes
    payload_key: bytes
    replay_tag: bytes


@dataclass(frozen=True)
class Command:
    kind: int
    delay_ms: int
    ident: bytes
    next_mac: bytes

    def encode(self) -> bytes:
        return bytes([self.kind, 0, 0, 0]) + u32be(self.delay_ms) + self.ident + self.next_mac + bytes(8)


@dataclass(frozen=True)
class Unwrapped:
    secret: bytes
    keys: HopKeys
    command: Command
    routing_text: bytes  # R of step 4
    body: bytes  # body' of step 5
    result: bytes  # the next packet, the payload, or body' again


def derive(secret: bytes, ct: bytes) -> HopKeys:
    ct_hash = blake2b(256, ct)
    head = h512("mm1.packet.head", secret, ct_hash)
    body = h512("mm1.packet.body", secret, ct_hash)
    return HopKeys(ct_hash, head[:32], head[32:], body[:32], body[32:])


def parse_command(raw: bytes) -> Command:
    if len(raw) != 64:
        raise Refused("command length")
    kind, next_mac = raw[0], raw[40:56]
    if kind not in (FORWARD, DELIVER, SURB_REPLY):
        raise Refused("command kind")
    if any(raw[1:4]) or any(raw[56:]):
        raise Refused("reserved bytes of a command")
    if kind != FORWARD and next_mac != NO_MAC:
        raise Refused("MAC in a last command")
    return Command(kind, int.from_bytes(raw[4:8], "big"), raw[8:40], next_mac)


def delay_is_accepted(command: Command, mean_delay_ms: int) -> bool:
    """mixing.md, "Delays"; packet.md, "Command": it holds for a last hop as well."""
    return command.delay_ms <= 10 * mean_delay_ms


def header_mac(keys: HopKeys, ct: bytes, routing: bytes) -> bytes:
    return blake2b(128, VERSION + ct + routing, keys.mac_key, "mm1.packet.mac")


# The wide-block cipher over the body.


def lioness_keys(payload_key: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    a, b = h512("mm1.lioness.12", payload_key), h512("mm1.lioness.34", payload_key)
    return a[:32], a[32:], b[:32], b[32:]


def encrypt(payload_key: bytes, block: bytes) -> bytes:
    k1, k2, k3, k4 = lioness_keys(payload_key)
    left, right = block[:32], block[32:]
    right = stream_xor(xor(left, k1), right)
    left = xor(left, keyed_blake3(k2, right))
    right = stream_xor(xor(left, k3), right)
    left = xor(left, keyed_blake3(k4, right))
    return left + right


def decrypt(payload_key: bytes, block: bytes) -> bytes:
    k1, k2, k3, k4 = lioness_keys(payload_key)
    left, right = block[:32], block[32:]
    left = xor(left, keyed_blake3(k4, right))
    right = stream_xor(xor(left, k3), right)
    left = xor(left, keyed_blake3(k2, right))
    right = stream_xor(xor(left, k1), right)
    return left + right


def open_tagged(body: bytes) -> bytes:
    if not hmac.compare_digest(body[:32], bytes(32)):
        raise Refused("the body's first 32 bytes are not zero")
    return body[32:]


# One hop.


@dataclass
class Node:
    seeds: list[bytes]  # X-Wing private seeds of the live epochs
    seen: set[tuple[bytes, bytes]] = field(default_factory=set)

    def unwrap(self, packet: bytes) -> Unwrapped:
        if len(packet) != PACKET or packet[:1] != VERSION:
            raise Refused("packet length or version")
        ct, routing, mac, body = packet[1:1121], packet[1121:7041], packet[7041:7057], packet[7057:]
        for seed in self.seeds:
            secret = decapsulate(seed, ct)
            keys = derive(secret, ct)
            if hmac.compare_digest(header_mac(keys, ct, routing), mac):
                break
        else:
            raise Refused("MAC")
        if (seed, keys.replay_tag) in self.seen:
            raise Refused("replay")
        text = stream_xor(keys.stream_key, routing + bytes(BLOCK))
        command = parse_command(text[:64])
        self.seen.add((seed, keys.replay_tag))
        next_ct, next_routing = text[64:BLOCK], text[BLOCK:]
        body = decrypt(keys.payload_key, body)
        if command.kind == FORWARD:
            result = VERSION + next_ct + next_routing + command.next_mac + body
        elif command.kind == DELIVER:
            result = open_tagged(body)
        else:
            result = body
        return Unwrapped(secret, keys, command, text, body, result)


# Building.


def build_fillers(stream_keys: list[bytes]) -> list[bytes]:
    """f after each step of the loop; `stream_keys` are those of all hops but the last."""
    fillers, f = [], b""
    for key in stream_keys:
        stream = stream_xor(key, bytes(ROUTING + BLOCK))
        f = xor(f + bytes(BLOCK), stream[ROUTING - len(f) : ROUTING + BLOCK])
        fillers.append(f)
    return fillers


def build_header(cts: list[bytes], keys: list[HopKeys], commands: list[Command], unused: bytes) -> bytes:
    """The header. `unused` is the random string u; next_mac of all commands but the last is put in."""
    n = len(cts)
    if not 1 <= n <= 5 or len(unused) != ROUTING - 64 - (n - 1) * BLOCK:
        raise ValueError("path length or length of u")
    filler = [b"", *build_fillers([hop.stream_key for hop in keys[:-1]])][-1]
    routing = stream_xor(keys[-1].stream_key, commands[-1].encode() + unused) + filler
    mac = header_mac(keys[-1], cts[-1], routing)
    for i in range(n - 2, -1, -1):
        command = Command(commands[i].kind, commands[i].delay_ms, commands[i].ident, mac)
        text = command.encode() + cts[i + 1] + routing[: ROUTING - BLOCK]
        routing = stream_xor(keys[i].stream_key, text)
        mac = header_mac(keys[i], cts[i], routing)
    return VERSION + cts[0] + routing + mac


def build_body(payload_keys: list[bytes], payload: bytes) -> bytes:
    if len(payload) != PAYLOAD:
        raise ValueError("payload length")
    body = bytes(32) + payload
    for key in reversed(payload_keys):
        body = encrypt(key, body)
    return body


def fresh_header(publics: list[bytes], commands: list[Command]) -> tuple[bytes, list[bytes]]:
    """A header of a new path, and its payload keys."""
    cts, keys = [], []
    for public in publics:
        ct, secret = encapsulate(public)
        cts.append(ct)
        keys.append(derive(secret, ct))
    unused = os.urandom(ROUTING - 64 - (len(publics) - 1) * BLOCK)
    return build_header(cts, keys, commands, unused), [hop.payload_key for hop in keys]


# Reply blocks.


def use_surb(surb: bytes, payload: bytes) -> tuple[bytes, bytes]:
    """(first hop's node id, packet)."""
    if len(surb) != SURB or surb[32:33] != VERSION:
        raise Refused("reply block")
    header, k0 = surb[32 : 32 + HEADER], surb[32 + HEADER :]
    return surb[:32], header + build_body([k0], payload)


def open_reply(k0: bytes, payload_keys: list[bytes], body: bytes) -> bytes:
    for key in reversed(payload_keys):
        body = encrypt(key, body)
    return open_tagged(decrypt(k0, body))
