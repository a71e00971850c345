"""Every bit of a header counts, no bit of a body can be a mark, and a header does not tell its length."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from functools import cache
from itertools import pairwise

import pytest

from mixmail.crypto import hashing, kem, stream
from mixmail.errors import RemoteProtocolError
from mixmail.params import GEOMETRY
from mixmail.randomness import SystemRandomness
from mixmail.sphinx.command import CommandKind
from mixmail.sphinx.create import Hop, create_packet
from mixmail.sphinx.keys import HopKeys
from mixmail.sphinx.surb import create_surb, open_surb_reply, use_surb
from mixmail.sphinx.unwrap import open_header
from mixmail.testing import SeededRandomness

SECRETS = [kem.PrivateKey.from_seed(bytes([i]) * 32) for i in range(GEOMETRY.max_hops)]
PATH = [Hop(bytes([i]) * 32, secret.public, 100 * i) for i, secret in enumerate(SECRETS)]
PAYLOAD = SeededRandomness("every bit").bytes(GEOMETRY.payload)
HEADER_BITS = 8 * GEOMETRY.header
SEED = 20_011
BODY_BITS = [*range(16), *range(248, 264), 8 * GEOMETRY.body - 1]
BODY_BITS += random.Random(SEED).sample(range(8 * GEOMETRY.body), 300)


def test_every_single_flipped_bit_of_a_header_is_refused_at_the_next_hop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Five of six bits leave the KEM ciphertext as it is: its secret is computed once for all of them.
    monkeypatch.setattr(kem, "decapsulate", cache(kem.decapsulate))
    packet = bytearray(create_packet(PATH[:3], PAYLOAD, SystemRandomness()))
    refused = 0
    for bit in range(HEADER_BITS):
        packet[bit // 8] ^= 1 << bit % 8
        try:
            open_header([SECRETS[0]], bytes(packet))
        except RemoteProtocolError:
            refused += 1
        packet[bit // 8] ^= 1 << bit % 8
    assert refused == HEADER_BITS == 56_456
    assert open_header([SECRETS[0]], bytes(packet)).command.kind is CommandKind.FORWARD


def test_a_flipped_body_bit_destroys_the_body_wherever_it_is() -> None:
    packet = open_header([SECRETS[0]], create_packet(PATH[:2], PAYLOAD, SystemRandomness())).finish()
    assert open_header([SECRETS[1]], packet).finish() == PAYLOAD
    for bit in BODY_BITS:
        with pytest.raises(RemoteProtocolError, match="changed on its way"):
            open_header([SECRETS[1]], flipped(packet, bit)).finish()


def test_a_flipped_body_bit_is_no_mark_that_a_later_hop_can_see() -> None:
    # Two hops work together: the first marks, the last looks.  What it gets is as random as any body, in the
    # flipped place too; and the same mark on the same body gives another result in each packet.
    here, seen, same = 0, Counter[int](), 0
    for bit in BODY_BITS[:60]:
        bodies = []
        for _ in range(2):
            packet = create_packet(PATH[:2], PAYLOAD, SystemRandomness(), (CommandKind.SURB_REPLY, bytes(32)))
            packet = open_header([SECRETS[0]], flipped(packet, bit)).finish()
            bodies.append(open_header([SECRETS[1]], packet).finish())
            wrong = stream.xor(bodies[-1], bytes(GEOMETRY.body_tag) + PAYLOAD)
            here += wrong[bit // 8] >> bit % 8 & 1
            seen.update(wrong[:256])
        same += sum(a == b for a, b in zip(*bodies, strict=True))
    assert 30 < here < 90  # of 120; 5.5 standard deviations
    assert chi_squared(seen) < LIMIT
    assert same / (60 * GEOMETRY.body) < 1.1 / 256


def test_a_flipped_bit_in_a_reply_destroys_it_for_its_owner() -> None:
    for bit in BODY_BITS[:20] + BODY_BITS[-20:]:
        surb, keys = create_surb(PATH[:2], bytes(32), SystemRandomness())
        _, packet = use_surb(surb, PAYLOAD)
        packet = open_header([SECRETS[0]], flipped(packet, bit)).finish()
        body = open_header([SECRETS[1]], packet).finish()
        with pytest.raises(RemoteProtocolError, match="changed on its way"):
            open_surb_reply(keys, body)


def flipped(packet: bytes, body_bit: int) -> bytes:
    changed = bytearray(packet)
    changed[GEOMETRY.header + body_bit // 8] ^= 1 << body_bit % 8
    return bytes(changed)


# the length of the path

PACKETS = 24
LIMIT = 255 + 8 * (2 * 255) ** 0.5  # of a chi-squared with 255 degrees of freedom: 8 standard deviations


def chi_squared(counts: Counter[int]) -> float:
    expected = counts.total() / 256
    return sum((counts[value] - expected) ** 2 for value in range(256)) / expected


def last_hops_view(count: int) -> bytes:
    """All that the last of `count` hops decrypts behind its own command, and the block that it appends."""
    packet = create_packet(PATH[:count], PAYLOAD, SystemRandomness())
    return last_hops_view_of(packet, count)


def last_hops_view_of(packet: bytes, count: int) -> bytes:
    for secret in SECRETS[: count - 1]:
        packet = open_header([secret], packet).finish()
    ct = packet[1 : 1 + GEOMETRY.kem_ct]
    hop = HopKeys.derive(kem.decapsulate(SECRETS[count - 1], ct), hashing.blake2b(ct))
    area = packet[1 + GEOMETRY.kem_ct : GEOMETRY.header - GEOMETRY.mac]
    return stream.chacha20_xor(hop.stream, area + bytes(GEOMETRY.block))[GEOMETRY.command :]


def told_blocks(count: int) -> set[int]:
    """The blocks (0 … 5) in which the last of `count` hops sees something else than fresh random bytes."""
    views = [last_hops_view(count) for _ in range(PACKETS)]
    told = set()
    for block in range(GEOMETRY.max_hops + 1):
        start = max(0, block * GEOMETRY.block - GEOMETRY.command)
        pieces = [view[start : (block + 1) * GEOMETRY.block - GEOMETRY.command] for view in views]
        between = [stream.xor(one, two) for one, two in pairwise(pieces)]
        for texts in (pieces, between):
            counts: Counter[int] = Counter()
            for text in texts:
                counts.update(text)
            if chi_squared(counts) > LIMIT:
                told.add(block)
    return told


@pytest.mark.parametrize("count", range(1, GEOMETRY.max_hops + 1))
def test_the_last_hop_cannot_tell_how_long_its_path_was(count: int) -> None:
    assert told_blocks(count) == set()


@pytest.mark.parametrize(
    "padding",
    [
        bytes,
        lambda n: bytes(range(256)) * (n // 256) + bytes(n % 256),
        lambda n: SeededRandomness(1).bytes(n),
    ],
    ids=["zeros", "a pattern", "always the same random bytes"],
)
@pytest.mark.parametrize("count", range(1, GEOMETRY.max_hops + 1))
def test_other_padding_would_tell_the_length(
    count: int, padding: Callable[[int], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SystemRandomness, "bytes", lambda self, n: padding(n))
    assert told_blocks(count) == set(range(GEOMETRY.max_hops + 1 - count))


def test_the_first_hop_sees_the_same_whatever_the_length() -> None:
    for count in range(1, GEOMETRY.max_hops + 1):
        counts: Counter[int] = Counter()
        between: Counter[int] = Counter()
        before = b""
        for _ in range(PACKETS):
            area = create_packet(PATH[:count], PAYLOAD, SystemRandomness())[
                1 + GEOMETRY.kem_ct : GEOMETRY.header
            ]
            counts.update(area)
            if before:
                between.update(stream.xor(area, before))
            before = area
        assert chi_squared(counts) < LIMIT and chi_squared(between) < LIMIT
