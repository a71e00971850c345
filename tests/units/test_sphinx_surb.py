"""Reply blocks: the answer comes back to the owner, and to nobody else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixmail.crypto import kem
from mixmail.errors import LocalProtocolError, RemoteProtocolError
from mixmail.params import GEOMETRY
from mixmail.sphinx.command import CommandKind
from mixmail.sphinx.create import Hop
from mixmail.sphinx.surb import create_surb, open_surb_reply, use_surb
from mixmail.sphinx.unwrap import open_header
from mixmail.testing import SeededRandomness

RNG = SeededRandomness("reply blocks")
SECRETS = [kem.PrivateKey.from_seed(bytes([i]) * 32) for i in range(5)]
PATH = [Hop(bytes([i]) * 32, secret.public, 7 * i) for i, secret in enumerate(SECRETS)]
PAYLOAD = RNG.bytes(GEOMETRY.payload)
SURB_ID = b"s" * 32


def carry(packet: bytes, count: int) -> bytes:
    """Through `count` hops, the owner's own among them; its body."""
    for secret in SECRETS[:count]:
        packet = open_header([secret], packet).finish()
    return packet


@pytest.mark.parametrize("count", range(1, 6))
def test_the_answer_comes_back(count: int) -> None:
    surb, keys = create_surb(PATH[:count], SURB_ID, RNG)
    assert len(surb) == GEOMETRY.surb
    first, packet = use_surb(surb, PAYLOAD)
    assert first == PATH[0].node_id and len(packet) == GEOMETRY.packet
    for i in range(count - 1):
        opened = open_header([SECRETS[i]], packet)
        assert opened.command.kind is CommandKind.FORWARD
        assert (opened.command.ident, opened.command.delay_ms) == (PATH[i + 1].node_id, 7 * i)
        packet = opened.finish()
        assert len(packet) == GEOMETRY.packet
    opened = open_header([SECRETS[count - 1]], packet)
    assert opened.command.kind is CommandKind.SURB_REPLY
    assert opened.command.ident == SURB_ID == keys.surb_id
    body = opened.finish()
    assert len(body) == GEOMETRY.body and body[32:] != PAYLOAD
    assert open_surb_reply(keys, body) == PAYLOAD


def test_another_blocks_keys_do_not_open_it() -> None:
    surb, keys = create_surb(PATH[:3], SURB_ID, RNG)
    _, other = create_surb(PATH[:3], SURB_ID, RNG)
    body = carry(use_surb(surb, PAYLOAD)[1], 3)
    with pytest.raises(RemoteProtocolError, match="changed"):
        open_surb_reply(other, body)
    assert open_surb_reply(keys, body) == PAYLOAD


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2), st.integers(0, 8 * GEOMETRY.body - 1))
def test_a_bit_flipped_at_any_hop_is_noticed(hop: int, bit: int) -> None:
    surb, keys = create_surb(PATH[:3], SURB_ID, RNG)
    packet = bytearray(carry(use_surb(surb, PAYLOAD)[1], hop))
    packet[GEOMETRY.header + bit // 8] ^= 1 << bit % 8
    changed = bytes(packet)
    for secret in SECRETS[hop:3]:
        changed = open_header([secret], changed).finish()
    with pytest.raises(RemoteProtocolError, match="changed"):
        open_surb_reply(keys, changed)


def test_the_body_differs_on_every_link() -> None:
    surb, _ = create_surb(PATH[:3], SURB_ID, RNG)
    packet = use_surb(surb, PAYLOAD)[1]
    seen = [packet[GEOMETRY.header :]]
    for secret in SECRETS[:2]:
        packet = open_header([secret], packet).finish()
        seen.append(packet[GEOMETRY.header :])
    for i in range(3):
        for j in range(i):
            same = sum(a == b for a, b in zip(seen[i], seen[j], strict=True))
            assert same < GEOMETRY.body / 256 * 1.8


@given(st.binary(max_size=200) | st.sampled_from([7120, 7122]).map(bytes))
def test_reply_blocks_of_another_size_are_refused(surb: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        use_surb(surb, PAYLOAD)


def test_reply_blocks_of_another_version_are_refused() -> None:
    surb, _ = create_surb(PATH[:1], SURB_ID, RNG)
    with pytest.raises(RemoteProtocolError, match="version"):
        use_surb(surb[:32] + b"\2" + surb[33:], PAYLOAD)


def test_bodies_of_another_size_are_refused() -> None:
    _, keys = create_surb(PATH[:1], SURB_ID, RNG)
    for length in (0, 32, GEOMETRY.body - 1, GEOMETRY.body + 1, GEOMETRY.packet):
        with pytest.raises(RemoteProtocolError, match="bytes"):
            open_surb_reply(keys, bytes(length))


def test_what_the_owner_or_the_replier_may_not_ask_for() -> None:
    surb, _ = create_surb(PATH[:1], SURB_ID, RNG)
    with pytest.raises(LocalProtocolError, match="payload"):
        use_surb(surb, PAYLOAD + b"\0")
    with pytest.raises(LocalProtocolError, match="hops"):
        create_surb([], SURB_ID, RNG)
    with pytest.raises(LocalProtocolError, match="ident"):
        create_surb(PATH[:1], b"short", RNG)
    with pytest.raises(LocalProtocolError, match="first hop"):
        create_surb([Hop(b"short", SECRETS[0].public, 0)], SURB_ID, RNG)


def test_keys_do_not_show() -> None:
    _, keys = create_surb(PATH[:2], SURB_ID, RNG)
    for secret in (keys.k0, *keys.payload_keys):
        assert secret.hex() not in repr(keys) and repr(secret)[2:-1] not in repr(keys)
    assert len(set(keys.payload_keys)) == 2
