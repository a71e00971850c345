"""Descriptors, gossip and network files (docs/protocol/directory.md)."""

from __future__ import annotations

import dataclasses

from harness import Harness, change, choose, seeds

from mixmail.crypto import ed25519, kem
from mixmail.directory import descriptor as descriptors
from mixmail.directory import gossip, network_file, puzzle
from mixmail.directory.descriptor import Descriptor
from mixmail.directory.view import View
from mixmail.errors import RemoteProtocolError, UserError
from mixmail.params import DAY, DEMO, GEOMETRY, Network, day_of

_NOW = 20_000 * DAY + DAY / 2
_PARAMS = dataclasses.replace(DEMO, puzzle_bits=0, puzzle_memory=8192, puzzle_passes=1)
_NETWORK = Network(bytes(range(32)), 19_990, _PARAMS)
_SEED = bytes(32)
_KEYS = [kem.PrivateKey.from_seed(bytes([number]) * 32).public for number in range(3)]


def _descriptor() -> Descriptor:
    proof = puzzle.solve(_NETWORK, ed25519.public_of_seed(_SEED), day_of(_NOW), 0, 4096)
    assert proof is not None
    return descriptors.build(
        _SEED,
        _NETWORK,
        day=day_of(_NOW),
        revision=1,
        epoch=descriptors.epoch_of(_PARAMS, _NOW),
        mix_keys=_KEYS,
        proxy_keys=_KEYS,
        endpoint="tcp:127.0.0.1:4000",
        link_cert_hash=bytes(32),
        proof=proof,
    )


_GOOD = _descriptor()
_ENDPOINT = GEOMETRY.descriptor_fields
_LOW_ORDER = _ENDPOINT + GEOMETRY.endpoint + 1_184  # the X25519 half of the first mix key


def descriptor(data: bytes) -> bool:
    """First byte even: as a peer relays it; odd: as a hostile node signs it."""
    raw = choose([_GOOD.raw], b"\0" + data[1:])[1]
    if data[:1] and data[0] % 2:
        end = GEOMETRY.descriptor - GEOMETRY.signature
        signed = (raw + bytes(end))[:end]
        raw = signed + ed25519.sign(_SEED, descriptors._DOMAIN + signed)
    try:
        parsed = Descriptor.parse(raw)
    except RemoteProtocolError:
        return False
    assert parsed.pack() == raw and descriptors.pack_endpoint(parsed.endpoint) == raw[_ENDPOINT:][:128]
    view = View(_NETWORK)
    reason = view.refusal(parsed, _NOW)
    assert view.add(parsed, _NOW) == (reason is None)
    if reason is None:
        assert len(parsed.mix_keys) == len(parsed.proxy_keys) == GEOMETRY.published_epochs
    return reason is None


_GOSSIP = [
    gossip.pack_digest([(bytes(32), bytes(32))] * 3),
    gossip.pack_want([bytes(32)] * 3),
    gossip.pack_push([_GOOD, _GOOD]),
]


def hearsay(data: bytes) -> bool:
    """DIGEST, WANT and PUSH."""
    number, raw = choose(_GOSSIP, data)
    try:
        if number == 0:
            assert gossip.pack_digest(gossip.parse_digest(raw)) == raw
        elif number == 1:
            assert gossip.pack_want(gossip.parse_want(raw)) == raw
        else:
            assert gossip.pack_push(gossip.parse_push(raw)) == raw
    except RemoteProtocolError:
        return False
    return True


_FILE = network_file.NetworkFile(
    bytes(range(32)), 20_000, "mail", (network_file.Seed("tcp:127.0.0.1:4000", bytes(32), bytes(32)),)
)
_TEXT = _FILE.text().encode()


def network(data: bytes) -> bool:
    """A file that a user was given."""
    try:
        parsed = network_file.parse(data.decode("utf-8", "replace"))
    except UserError as error:
        assert error.code == "network-file" and error.message.endswith("where you got it.")
        return False
    assert network_file.parse(parsed.text()) == parsed
    return True


HARNESSES = [
    Harness(
        "descriptor",
        descriptor,
        [
            bytes([odd]) + one
            for odd in (0, 1)
            for one in (
                b"",
                change(0, 9),
                change(1, 9),
                change(1, 9) + change(2, 9),
                change(1, 0) + change(2, 0),
                change(5, 0),
                change(6, 1),
                change(6, 0xFF),
                change(10, 77),
                change(13, 1, 1),
                change(18, 1, 1),
                change(60, 1, 1),
                change(90, 1, 1),
                change(121, 1, 1),
                change(_ENDPOINT, 0x20),
                change(_ENDPOINT + 127, 0x20),
                b"".join(change(_LOW_ORDER + at, 0) for at in range(32)),
                change(_LOW_ORDER - 1_184, 0xFF) + change(_LOW_ORDER - 1_183, 0xFF),
                change(7_700, 1, 1),
                change(9, 0, 3),
            )
        ],
        [
            Descriptor.parse,
            Descriptor._key,
            Descriptor.check_signature,
            descriptors._parse_endpoint,
            descriptors._printable,
            View.cheap_refusal,
        ],
    ),
    Harness(
        "gossip",
        hearsay,
        [*seeds(_GOSSIP, change(1, 1), change(1, 4), change(2, 9)), bytes([0]) + change(1, 0, 3)],
        [gossip.parse_digest, gossip.parse_want, gossip.parse_push, gossip._parse],
    ),
    Harness(
        "network",
        network,
        [
            _TEXT,
            _TEXT.replace(b"version = 1", b"version = 2"),
            _TEXT.replace(b"mail", b"male"),
            _TEXT.replace(b"birth_day = 20000", b"birth_day = -1"),
            _TEXT.replace(b"birth_day", b"birth"),
            _TEXT.replace(b"[[seeds]]", b"[seeds]"),
            _TEXT.replace(b"tcp:127.0.0.1:4000", b"a b"),
            _TEXT.replace(b"endpoint", b"end"),
            _TEXT.replace(b'endpoint = "tcp:127.0.0.1:4000"\n', b""),
            _TEXT.replace(b"00010203", b"0001020z"),
            _TEXT[: _TEXT.index(b"[[")].replace(b"parameters", b"seeds = [1]\nparameters"),
            b"= broken",
            b"a = " + b"[" * 3_000,
        ],
        [network_file.parse, network_file._seed, network_file._hex, network_file._only],
        raw=True,
    ),
]
