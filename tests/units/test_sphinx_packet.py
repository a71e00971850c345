"""Packets through whole paths, and every way in which a hop must refuse one."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from low_order import LOW_ORDER

from mixmail.crypto import compare, hashing, kem, stream, wideblock
from mixmail.errors import LocalProtocolError, RemoteProtocolError
from mixmail.params import GEOMETRY
from mixmail.sphinx.command import Command, CommandKind
from mixmail.sphinx.create import Hop, create_packet
from mixmail.sphinx.keys import HopKeys
from mixmail.sphinx.unwrap import open_header
from mixmail.testing import SeededRandomness

RNG = SeededRandomness("packets")
SECRETS = [kem.PrivateKey.from_seed(bytes([i]) * 32) for i in range(6)]
PATH = [Hop(bytes([i]) * 32, secret.public, 100 * i) for i, secret in enumerate(SECRETS)]
PAYLOAD = RNG.bytes(GEOMETRY.payload)
LENGTHS = range(1, GEOMETRY.max_hops + 1)
HEADER_3 = create_packet(PATH[:3], PAYLOAD, RNG)


def flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def walk(packet: bytes, hops: int) -> bytes:
    """The packet as the hop number `hops` (from 0) receives it."""
    for secret in SECRETS[:hops]:
        packet = open_header([secret], packet).finish()
    return packet


@pytest.mark.parametrize("count", LENGTHS)
def test_each_hop_learns_its_command_and_the_last_one_the_payload(count: int) -> None:
    packet = create_packet(PATH[:count], PAYLOAD, RNG, (CommandKind.DELIVER, b"x" * 32))
    tags = set()
    for i in range(count):
        assert len(packet) == GEOMETRY.packet
        opened = open_header([SECRETS[i]], packet)
        tags.add(opened.replay_tag)
        assert opened.command.delay_ms == 100 * i
        if i < count - 1:
            assert opened.command.kind is CommandKind.FORWARD
            assert opened.command.ident == PATH[i + 1].node_id
        packet = opened.finish()
    assert opened.command == Command(CommandKind.DELIVER, 100 * (count - 1), b"x" * 32)
    assert packet == PAYLOAD
    assert len(tags) == count and all(len(tag) == 32 for tag in tags)


def test_a_packet_may_end_in_a_reply_command() -> None:
    packet = create_packet(PATH[:2], PAYLOAD, RNG, (CommandKind.SURB_REPLY, b"i" * 32))
    opened = open_header([SECRETS[1]], walk(packet, 1))
    assert opened.command.kind is CommandKind.SURB_REPLY and opened.command.ident == b"i" * 32
    assert opened.finish() == bytes(32) + PAYLOAD


def test_no_other_key_opens_a_hop() -> None:
    for hop in range(3):
        packet = walk(HEADER_3, hop)
        for i, secret in enumerate(SECRETS):
            if i != hop:
                with pytest.raises(RemoteProtocolError, match="no live key"):
                    open_header([secret], packet)


def test_live_keys_are_tried_in_order_and_the_first_that_fits_ends_the_search(monkeypatch) -> None:
    tried = []
    real = kem.decapsulate

    def decapsulate(private: kem.PrivateKey, ct: bytes) -> bytes:
        tried.append(private)
        return real(private, ct)

    monkeypatch.setattr(kem, "decapsulate", decapsulate)
    opened = open_header([SECRETS[4], SECRETS[0], SECRETS[5]], HEADER_3)
    assert tried == [SECRETS[4], SECRETS[0]]
    assert opened.replay_tag == open_header([SECRETS[0]], HEADER_3).replay_tag
    with pytest.raises(RemoteProtocolError):
        open_header([], HEADER_3)


@pytest.mark.parametrize("hop", [0, 2])
def test_a_flipped_bit_in_any_byte_of_a_header_is_refused(hop: int) -> None:
    packet = walk(HEADER_3, hop)
    which = random.Random(hop)
    for position in range(0, GEOMETRY.header, 1 if hop else 3):
        with pytest.raises(RemoteProtocolError):
            open_header([SECRETS[hop]], flip(packet, 8 * position + which.randrange(8)))


@settings(deadline=None)
@given(st.sets(st.integers(0, 8 * GEOMETRY.header - 1), min_size=1, max_size=40))
def test_flipped_header_bits_are_refused(bits: set[int]) -> None:
    packet = HEADER_3
    for bit in bits:
        packet = flip(packet, bit)
    with pytest.raises(RemoteProtocolError):
        open_header([SECRETS[0]], packet)


def test_a_flipped_top_bit_of_the_ephemeral_point_is_refused() -> None:
    # X25519 ignores it; the combiner and the MAC do not
    with pytest.raises(RemoteProtocolError, match="no live key"):
        open_header([SECRETS[0]], flip(HEADER_3, 8 * GEOMETRY.kem_ct + 7))


@pytest.mark.parametrize("point", LOW_ORDER, ids=lambda point: point.hex()[:8])
def test_every_low_order_point_in_a_header_is_refused(point: bytes) -> None:
    end = 1 + GEOMETRY.kem_ct
    packet = HEADER_3[: end - 32] + point + HEADER_3[end:]
    with pytest.raises(RemoteProtocolError, match="low order"):
        open_header([SECRETS[0]], packet)


def test_nothing_is_decrypted_before_the_mac_was_compared(monkeypatch) -> None:
    events = []
    real = compare.equal

    def equal(a: bytes, b: bytes) -> bool:
        events.append("compare")
        return real(a, b)

    def decrypting(name: str):
        def run(*_: object) -> bytes:
            events.append(name)
            raise AssertionError(name)

        return run

    monkeypatch.setattr(compare, "equal", equal)
    monkeypatch.setattr(stream, "chacha20_xor", decrypting("stream"))
    monkeypatch.setattr(wideblock, "decrypt", decrypting("body"))
    with pytest.raises(RemoteProtocolError):
        open_header([SECRETS[0]], flip(HEADER_3, 8 * 3000))
    assert events == ["compare"]
    with pytest.raises(AssertionError, match="stream"):
        open_header([SECRETS[0]], HEADER_3)
    assert events == ["compare", "compare", "stream"]


def test_the_body_stays_closed_until_finish(monkeypatch) -> None:
    packet = walk(HEADER_3, 2)
    calls = []
    real = wideblock.decrypt
    monkeypatch.setattr(wideblock, "decrypt", lambda keys, body: calls.append(1) or real(keys, body))
    opened = open_header([SECRETS[2]], packet)
    assert not calls
    assert opened.finish() == PAYLOAD and calls == [1]


@pytest.mark.parametrize("hop", [0, 1, 2])
def test_a_flipped_body_bit_at_any_hop_destroys_the_body(hop: int) -> None:
    packet = walk(HEADER_3, hop)
    for bit in (0, 255, 256, 8 * GEOMETRY.body - 1):
        changed = flip(packet, 8 * GEOMETRY.header + bit)
        for i in range(hop, 2):
            changed = open_header([SECRETS[i]], changed).finish()
        opened = open_header([SECRETS[2]], changed)
        with pytest.raises(RemoteProtocolError, match="changed"):
            opened.finish()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 8 * GEOMETRY.body - 1))
def test_a_flipped_body_bit_leaves_nothing_of_the_text(bit: int) -> None:
    packet = create_packet(PATH[:1], PAYLOAD, RNG, (CommandKind.SURB_REPLY, bytes(32)))
    body = open_header([SECRETS[0]], flip(packet, 8 * GEOMETRY.header + bit)).finish()
    wrong = stream.xor(body, bytes(32) + PAYLOAD)
    bits = 8 * GEOMETRY.body
    assert 0.48 * bits < int.from_bytes(wrong, "little").bit_count() < 0.52 * bits
    assert body[:32] != bytes(32)


def last_routing(packet: bytes, count: int) -> bytes:
    """The decrypted routing area (with its new last block) of the last of `count` hops."""
    packet = walk(packet, count - 1)
    ct = packet[1 : 1 + GEOMETRY.kem_ct]
    hop = HopKeys.derive(kem.decapsulate(SECRETS[count - 1], ct), hashing.blake2b(ct))
    area = packet[1 + GEOMETRY.kem_ct : GEOMETRY.header - GEOMETRY.mac]
    return stream.chacha20_xor(hop.stream, area + bytes(GEOMETRY.block))


@pytest.mark.parametrize("count", LENGTHS)
def test_unread_blocks_of_the_last_hop_look_random_whatever_the_length(count: int) -> None:
    areas = [last_routing(create_packet(PATH[:count], PAYLOAD, RNG), count) for _ in range(2)]
    assert areas[0][: GEOMETRY.command] == areas[1][: GEOMETRY.command]
    for start in range(GEOMETRY.command, GEOMETRY.routing, 32):
        pieces = [area[start : start + 32] for area in areas]
        assert pieces[0] != pieces[1] and bytes(32) not in pieces
    ones = int.from_bytes(areas[0][GEOMETRY.command :], "little").bit_count()
    share = ones / 8 / (len(areas[0]) - GEOMETRY.command)
    assert 0.48 < share < 0.52


def test_equal_arguments_give_unlike_packets() -> None:
    one, two = (create_packet(PATH[:2], PAYLOAD, SeededRandomness(1)) for _ in range(2))
    same = sum(a == b for a, b in zip(one, two, strict=True))
    assert same < GEOMETRY.packet / 256 * 1.6
    assert open_header([SECRETS[0]], one).replay_tag != open_header([SECRETS[0]], two).replay_tag


def test_replay_tag_belongs_to_the_header_alone() -> None:
    tag = open_header([SECRETS[0]], HEADER_3).replay_tag
    assert open_header([SECRETS[0]], HEADER_3).replay_tag == tag
    assert open_header([SECRETS[0]], HEADER_3[: GEOMETRY.header] + bytes(GEOMETRY.body)).replay_tag == tag


def test_what_a_sender_may_not_ask_for() -> None:
    with pytest.raises(LocalProtocolError, match="hops"):
        create_packet([], PAYLOAD, RNG)
    with pytest.raises(LocalProtocolError, match="hops"):
        create_packet(PATH[:6], PAYLOAD, RNG)
    with pytest.raises(LocalProtocolError, match="payload"):
        create_packet(PATH[:1], PAYLOAD[1:], RNG)
    with pytest.raises(LocalProtocolError, match="forward"):
        create_packet(PATH[:1], PAYLOAD, RNG, (CommandKind.FORWARD, bytes(32)))
    for delay in (-1, 2**32):
        with pytest.raises(LocalProtocolError, match="delay"):
            create_packet([Hop(bytes(32), SECRETS[0].public, delay)], PAYLOAD, RNG)
    with pytest.raises(LocalProtocolError, match="ident"):
        create_packet([PATH[0], Hop(b"short", SECRETS[1].public, 0)], PAYLOAD, RNG)


@settings(deadline=None)
@given(st.binary(max_size=100) | st.sampled_from([GEOMETRY.packet - 1, GEOMETRY.packet + 1]).map(bytes))
def test_packets_of_another_size_are_refused(packet: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="bytes"):
        open_header(SECRETS, packet)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32))
def test_random_bytes_are_refused_by_the_one_error(seed: int) -> None:
    data = random.Random(seed).randbytes(GEOMETRY.packet - 1)
    with pytest.raises(RemoteProtocolError):
        open_header(SECRETS[:2], b"\1" + data)


@pytest.mark.parametrize("version", [0, 2, 255])
def test_other_versions_are_refused(version: int) -> None:
    with pytest.raises(RemoteProtocolError, match="version"):
        open_header([SECRETS[0]], bytes([version]) + HEADER_3[1:])


def test_repr_shows_no_key_and_no_body() -> None:
    opened = open_header([SECRETS[0]], HEADER_3)
    ct = HEADER_3[1 : 1 + GEOMETRY.kem_ct]
    hop = HopKeys.derive(kem.decapsulate(SECRETS[0], ct), hashing.blake2b(ct))
    for secret in (hop.mac, hop.stream, hop.payload):
        for shown in (repr(opened), repr(hop)):
            assert secret.hex() not in shown and repr(secret)[2:-1] not in shown
    assert len(repr(opened)) < 600
