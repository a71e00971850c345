"""The stand-in packets of the lab: sizes and rules of the real ones."""

from __future__ import annotations

import pytest

from mixmail.crypto import kem
from mixmail.errors import LocalProtocolError, RemoteProtocolError
from mixmail.lab.standin_packets import Packets
from mixmail.params import GEOMETRY
from mixmail.sphinx.command import CommandKind
from mixmail.sphinx.create import Hop, create_packet
from mixmail.sphinx.surb import create_surb
from mixmail.testing import SeededRandomness

SECRETS = [kem.PrivateKey.from_seed(bytes([number]) * 32) for number in range(5)]
STRANGER = kem.PrivateKey.from_seed(b"stranger" * 4)
PATH = [Hop(bytes([number]) * 32, secret.public, number) for number, secret in enumerate(SECRETS)]
PAYLOAD = bytes(range(256)) * 101
PAYLOAD = PAYLOAD[: GEOMETRY.payload]


@pytest.fixture
def packets() -> Packets:
    return Packets(SeededRandomness("tags"))


@pytest.mark.parametrize("hops", [[0], [0, 1, 2, 3], [0, 1, 2, 3, 4], [0, 1, 0, 2], [0, 1, 0, 1, 2]])
def test_a_packet_goes_its_way_and_only_there(packets: Packets, hops: list[int]) -> None:
    packet = packets.create_packet([PATH[hop] for hop in hops], PAYLOAD, SeededRandomness(1))
    seen = set()
    for hop in hops:
        assert len(packet) == GEOMETRY.packet
        with pytest.raises(RemoteProtocolError):
            packets.open_header([STRANGER], packet)
        opened = packets.open_header([STRANGER, SECRETS[hop]], packet)
        assert opened.command.delay_ms == hop
        seen.add((hop, opened.replay_tag))
        packet = opened.finish()
    assert packet == PAYLOAD and len(seen) == len(hops)


def test_packets_differ_in_their_tags(packets: Packets) -> None:
    made = [packets.create_packet(PATH[:2], PAYLOAD, SeededRandomness(1)) for _ in range(2)]
    one, two = (packets.open_header([SECRETS[0]], packet).replay_tag for packet in made)
    assert one != two


def test_a_reply_comes_back_to_its_owner(packets: Packets) -> None:
    surb, keys = packets.create_surb(PATH[:3], b"s" * 32, SeededRandomness(1))
    assert len(surb) == GEOMETRY.surb
    first, packet = packets.use_surb(surb, PAYLOAD)
    assert first == PATH[0].node_id
    for secret in SECRETS[:2]:
        packet = packets.open_header([secret], packet).finish()
    opened = packets.open_header([SECRETS[2]], packet)
    assert (opened.command.kind, opened.command.ident) == (CommandKind.SURB_REPLY, b"s" * 32)
    assert packets.open_surb_reply(keys, opened.finish()) == PAYLOAD


def test_a_damaged_tag_is_refused_where_the_real_one_is(packets: Packets) -> None:
    packet = packets.create_packet(PATH[:1], PAYLOAD, SeededRandomness(1))
    damaged = packet[: GEOMETRY.header] + b"x" + packet[GEOMETRY.header + 1 :]
    with pytest.raises(RemoteProtocolError):
        packets.open_header([SECRETS[0]], damaged).finish()


def test_wrong_sizes_and_versions_are_refused(packets: Packets) -> None:
    packet = packets.create_packet(PATH[:1], PAYLOAD, SeededRandomness(1))
    for wrong in (packet[:-1], b"\x09" + packet[1:]):
        with pytest.raises(RemoteProtocolError):
            packets.open_header([SECRETS[0]], wrong)
    surb, _ = packets.create_surb(PATH[:1], bytes(32), SeededRandomness(1))
    for wrong in (surb[:-1], surb[:32] + b"\x09" + surb[33:]):
        with pytest.raises(RemoteProtocolError):
            packets.use_surb(wrong, PAYLOAD)
    for path, payload in ((PATH[:1], PAYLOAD[1:]), ([], PAYLOAD), ([*PATH, PATH[0]], PAYLOAD)):
        with pytest.raises(LocalProtocolError):
            packets.create_packet(path, payload, SeededRandomness(1))


@pytest.mark.parametrize("hops", [1, 4])
def test_they_draw_from_rng_what_the_real_ones_draw(packets: Packets, hops: int) -> None:
    real, stand_in = SeededRandomness(7), SeededRandomness(7)
    create_packet(PATH[:hops], PAYLOAD, real)
    packets.create_packet(PATH[:hops], PAYLOAD, stand_in)
    create_surb(PATH[:hops], bytes(32), real)
    packets.create_surb(PATH[:hops], bytes(32), stand_in)
    assert real.bytes(32) == stand_in.bytes(32)
