"""Descriptor layout, puzzle and gossip payloads: exact bytes, and parse or RemoteProtocolError."""

from __future__ import annotations

import dataclasses
import struct

import pytest
from directory_builder import NETWORK, NOON, PARAMS, TODAY, keys, make, seed
from hypothesis import given, settings
from hypothesis import strategies as st

from mixmail.crypto import ed25519, hashing
from mixmail.directory import descriptor, gossip, puzzle
from mixmail.directory.descriptor import FULL, Descriptor
from mixmail.errors import LocalProtocolError, RemoteProtocolError
from mixmail.params import GEOMETRY


def test_the_layout_is_the_documented_one():
    item = make(1, revision=513, stamp_bits=7, next_parameters_hash=b"\x09" * 32)
    raw = item.pack()
    assert len(raw) == GEOMETRY.descriptor == 7704
    node_id = ed25519.public_of_seed(seed(1))
    q = puzzle.period(PARAMS, node_id, TODAY)
    assert raw[:16] == struct.pack(">BBBBHHHHI", 1, 1, 1, 7, 15, TODAY, 513, q, TODAY)
    assert raw[16:24] == item.nonce
    assert raw[24:56] == node_id == item.node_id
    assert raw[56:88] == item.storage_id
    assert raw[88:120] == NETWORK.hash == item.network_hash
    assert raw[120:152] == PARAMS.hash() == item.parameters_hash
    assert raw[152:184] == b"\x09" * 32 == item.next_parameters_hash
    assert raw[184:216] == hashing.blake2b(b"certificate 1") == item.link_cert_hash
    assert raw[216:344] == b"tcp:127.0.0.1:4001" + bytes(110)
    assert raw[344:7640] == b"".join(key.raw for key in keys())
    assert raw[7640:] == item.signature
    assert ed25519.verify(node_id, b"mm1-descriptor\0" + raw[:7640], item.signature)


def test_a_parsed_descriptor_gives_back_every_field_and_key():
    built = make(2, roles=FULL | 64, endpoint="i2p:" + "x" * 124)
    parsed = Descriptor.parse(bytearray(built.pack()))
    assert parsed == built and parsed.hash == built.hash
    assert (parsed.day, parsed.revision, parsed.order) == (TODAY, 0, (TODAY, 0))
    assert parsed.endpoint == "i2p:" + "x" * 124
    assert parsed.roles == FULL | 64
    assert [epoch for epoch, _ in parsed.mix_keys] == [TODAY, TODAY + 1, TODAY + 2]
    assert [key.raw for _, key in (*parsed.mix_keys, *parsed.proxy_keys)] == [key.raw for key in keys()]
    assert parsed.mix_key(TODAY + 1) is parsed.mix_key(TODAY + 1)
    assert parsed.proxy_key(TODAY + 1).raw == keys()[4].raw


@pytest.mark.parametrize("epoch", [TODAY - 1, TODAY + 3])
def test_a_key_for_another_epoch_is_our_own_error(epoch):
    with pytest.raises(LocalProtocolError):
        make(1).mix_key(epoch)


def test_a_malformed_key_is_found_at_use():
    raw = bytearray(make(1).pack())
    raw[344 : 344 + 1216] = b"\xff" * 1216
    parsed = Descriptor.parse(bytes(raw))
    assert parsed.mix_key(TODAY + 1).raw == keys()[1].raw
    with pytest.raises(RemoteProtocolError):
        parsed.mix_key(TODAY)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0, b"\x02"),  # layout
        (1, b"\x02"),  # lowest version above the highest
        (216, b"\0"),  # the endpoint begins with zero
        (217, b"\0"),  # zero inside
        (217, b" "),
        (217, b"\n"),
        (343, b"\x80"),
    ],
)
def test_broken_layouts_are_refused(at, value):
    raw = bytearray(make(1).pack())
    raw[at : at + 1] = value
    with pytest.raises(RemoteProtocolError):
        Descriptor.parse(bytes(raw))


@given(st.binary(max_size=64) | st.integers(7690, 7720).map(bytes))
def test_bytes_of_any_other_length_are_refused(raw):
    if len(raw) != GEOMETRY.descriptor or not any(raw):
        with pytest.raises(RemoteProtocolError):
            Descriptor.parse(raw)


@settings(max_examples=60)
@given(st.data())
def test_any_bytes_of_the_right_length_parse_or_raise(data):
    raw = bytearray(make(3).pack())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, 343) | st.integers(0, len(raw) - 1))
        part = data.draw(st.binary(max_size=40))
        raw[at : at + len(part)] = part
    raw = raw[: GEOMETRY.descriptor]
    try:
        parsed = Descriptor.parse(bytes(raw))
        assert parsed.pack() == raw
        assert len(parsed.mix_keys) == len(parsed.proxy_keys) == 3
    except RemoteProtocolError:
        pass


@pytest.mark.parametrize(
    "changes",
    [
        {"endpoint": ""},
        {"endpoint": "tcp:" + "x" * 125},
        {"endpoint": "tcp:häuser:1"},
        {"endpoint": "tcp:a b"},
        {"day": 70_000},
        {"stamp_bits": 256},
        {"revision": -1},
        {"link_cert_hash": bytes(31)},
        {"next_parameters_hash": bytes(33)},
        {"mix_keys": ()},
        {"proof": puzzle.Proof(bytes(7), 222, bytes(32))},
        {"proof": puzzle.Proof(bytes(8), 222, bytes(31))},
    ],
)
def test_build_refuses_what_does_not_fit(changes):
    with pytest.raises(LocalProtocolError):
        make(1, **changes)


# -- puzzle ----------------------------------------------------------------------------------------


def test_the_puzzle_wants_its_zero_bits_and_binds_network_id_nonce_and_period():
    network = dataclasses.replace(NETWORK, parameters=dataclasses.replace(PARAMS, puzzle_bits=5))
    node_id = b"\x11" * 32
    start, proof = 0, None
    while proof is None:
        proof = puzzle.solve(network, node_id, TODAY, start, 8)
        start += 8
    assert proof.storage_id[0] < 8
    assert int.from_bytes(proof.nonce, "big") >= start - 8
    assert puzzle.check(network, node_id, proof)
    assert not puzzle.check(network, b"\x12" * 32, proof)
    assert not puzzle.check(network, node_id, dataclasses.replace(proof, q=proof.q + 1))
    assert not puzzle.check(network, node_id, dataclasses.replace(proof, nonce=b"\xff" * 8))
    other = dataclasses.replace(network, birth_day=network.birth_day + 1)
    assert not puzzle.check(other, node_id, proof)
    assert not puzzle.check(network, node_id, dataclasses.replace(proof, storage_id=b"\x07" * 32))
    loose = puzzle.storage_id(network, node_id, next(_bad_nonces(network, node_id, proof.q)), proof.q)
    assert not puzzle.has_zero_bits(network.parameters, loose)


def _bad_nonces(network, node_id, q):
    for number in range(64):
        nonce = number.to_bytes(8, "big")
        if puzzle.storage_id(network, node_id, nonce, q)[0] >= 8:
            yield nonce


def test_a_right_storage_id_without_its_zero_bits_is_refused():
    network = dataclasses.replace(NETWORK, parameters=dataclasses.replace(PARAMS, puzzle_bits=5))
    node_id = b"\x11" * 32
    nonce = next(_bad_nonces(network, node_id, 222))
    claim = puzzle.Proof(nonce, 222, puzzle.storage_id(network, node_id, nonce, 222))
    assert not puzzle.check(network, node_id, claim)


def test_solve_gives_up_after_its_attempts():
    network = dataclasses.replace(NETWORK, parameters=dataclasses.replace(PARAMS, puzzle_bits=200))
    assert puzzle.solve(network, b"\x11" * 32, TODAY, 0, 3) is None


def test_every_node_renews_its_puzzle_once_in_puzzle_days_on_its_own_turn():
    turns = set()
    for number in range(200):
        node_id = hashing.blake2b(b"%d" % number)
        periods = [puzzle.period(PARAMS, node_id, TODAY + day) for day in range(PARAMS.puzzle_days + 1)]
        assert periods[-1] == periods[0] + 1
        turns.add(periods.index(periods[0] + 1))
    assert len(turns) > 60


# -- gossip ----------------------------------------------------------------------------------------


def test_gossip_payloads_round_trip():
    items = [make(number) for number in range(3)]
    entries = [(item.node_id, item.hash) for item in items]
    ids = [item.node_id for item in items]
    assert gossip.pack_digest(entries) == b"\0\3" + b"".join(a + b for a, b in entries)
    assert gossip.parse_digest(gossip.pack_digest(entries)) == entries
    assert gossip.parse_want(gossip.pack_want(ids)) == ids
    assert gossip.parse_push(gossip.pack_push(items)) == items
    assert gossip.parse_want(gossip.pack_want([])) == []


def test_a_push_with_one_broken_descriptor_is_refused():
    payload = bytearray(gossip.pack_push([make(0), make(1)]))
    payload[2 + 7704] = 9
    with pytest.raises(RemoteProtocolError):
        gossip.parse_push(bytes(payload))


@given(st.binary(max_size=200))
def test_any_gossip_bytes_parse_or_raise(payload):
    for parse, pack in (
        (gossip.parse_digest, gossip.pack_digest),
        (gossip.parse_want, gossip.pack_want),
        (gossip.parse_push, gossip.pack_push),
    ):
        try:
            assert pack(parse(payload)) == payload
        except RemoteProtocolError:
            assert payload != b"\0\0"


def test_too_many_entries_are_our_own_error():
    with pytest.raises(LocalProtocolError):
        gossip.pack_want([bytes(32)] * 65_536)


def test_epochs_count_from_1970():
    assert descriptor.epoch_of(PARAMS, NOON) == TODAY
    assert descriptor.epoch_of(dataclasses.replace(PARAMS, epoch=3600), NOON) == TODAY * 24 + 12
