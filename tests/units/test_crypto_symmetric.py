"""Hashes, stream, wide block, AEAD, secretbox, Argon2id: known answers and changed bytes."""

from __future__ import annotations

import hashlib

import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from hypothesis import given, settings
from hypothesis import strategies as st

from mixmail.crypto import aead, argon2, compare, hashing, secretbox, stream, wideblock, x25519
from mixmail.errors import RemoteProtocolError

KEY = bytes(range(32))
KEYS = wideblock.Keys.derive(KEY)


def test_h512_is_blake2b_over_length_prefixed_parts() -> None:
    text = b"\2\0\0\0ab" + b"\0\0\0\0" + b"\1\0\0\0c"
    expected = hashlib.blake2b(text, digest_size=64, key=b"key", person=b"mm1.test")
    assert hashing.h512("mm1.test", b"key", b"ab", b"", b"c") == expected.digest()


@given(st.lists(st.binary(max_size=8), max_size=4), st.lists(st.binary(max_size=8), max_size=4))
def test_h512_tells_lists_of_parts_apart(one: list[bytes], two: list[bytes]) -> None:
    equal = hashing.h512("p", b"k", *one) == hashing.h512("p", b"k", *two)
    assert equal == (one == two)


def test_h512_depends_on_person_and_key() -> None:
    values = {hashing.h512(person, key, b"x") for person in ("a", "b") for key in (b"", b"k", b"l")}
    assert len(values) == 6


def test_blake2b_and_blake3_are_the_plain_functions() -> None:
    assert hashing.blake2b(b"abc") == hashlib.blake2b(b"abc", digest_size=32).digest()
    keyed = hashlib.blake2b(b"abc", digest_size=16, key=KEY, person=b"mm1.x")
    assert hashing.blake2b(b"abc", 16, key=KEY, person=b"mm1.x") == keyed.digest()
    assert hashing.blake3_keyed(KEY, b"abc") == blake3(b"abc", key=KEY).digest()


def test_chacha20_first_block_of_rfc_8439() -> None:
    expected = (
        "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
        "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
    )
    assert stream.chacha20_xor(bytes(32), bytes(64)).hex() == expected


def test_xor() -> None:
    assert stream.xor(b"\xf0\x0f", b"\xff\xff") == b"\x0f\xf0"
    assert stream.xor(b"", b"") == b""
    with pytest.raises(ValueError, match="XOR"):
        stream.xor(b"a", b"ab")


def lioness(k: tuple[bytes, bytes, bytes, bytes], block: bytes) -> bytes:
    """The cipher as the documentation has it, written without the project's helpers."""

    def s(key: bytes, data: bytes) -> bytes:
        return Cipher(algorithms.ChaCha20(key, bytes(16)), None).encryptor().update(data)

    def x(a: bytes, b: bytes) -> bytes:
        return bytes(i ^ j for i, j in zip(a, b, strict=True))

    left, right = block[:32], block[32:]
    right = s(x(left, k[0]), right)
    left = x(left, blake3(right, key=k[1]).digest())
    right = s(x(left, k[2]), right)
    left = x(left, blake3(right, key=k[3]).digest())
    return left + right


def test_wide_block_is_lioness() -> None:
    parts = [
        hashlib.blake2b(b"", digest_size=64, key=KEY, person=person).digest()
        for person in (b"mm1.lioness.12", b"mm1.lioness.34")
    ]
    keys = (parts[0][:32], parts[0][32:], parts[1][:32], parts[1][32:])
    block = bytes(i % 251 for i in range(1000))
    assert wideblock.encrypt(KEYS, block) == lioness(keys, block)
    assert len(set(keys)) == 4


@given(st.binary(min_size=33, max_size=300))
def test_wide_block_decrypts(block: bytes) -> None:
    assert wideblock.decrypt(KEYS, wideblock.encrypt(KEYS, block)) == block
    assert wideblock.encrypt(KEYS, wideblock.decrypt(KEYS, block)) == block


@settings(deadline=None)
@given(st.integers(0, 8 * 2000 - 1))
def test_wide_block_spreads_one_bit_over_everything(bit: int) -> None:
    block = bytes(2000)
    changed = (1 << bit).to_bytes(2000, "little")
    for run in (wideblock.encrypt, wideblock.decrypt):
        difference = stream.xor(run(KEYS, block), run(KEYS, changed))
        assert 7400 < int.from_bytes(difference, "little").bit_count() < 8600
        assert difference[:32] != bytes(32) and difference[-32:] != bytes(32)


def test_wide_block_refuses_a_block_without_a_right_part() -> None:
    with pytest.raises(ValueError, match="too short"):
        wideblock.encrypt(KEYS, bytes(32))


def test_wide_block_keys_do_not_show() -> None:
    assert KEYS.k1.hex() not in repr(KEYS) and repr(KEYS.k1) not in repr(KEYS)


def test_gcm_siv_vector_of_rfc_8452() -> None:
    key, nonce = b"\1" + bytes(31), b"\3" + bytes(11)
    sealed = aead.siv_seal(key, nonce, b"\1" + bytes(7), b"")
    assert sealed.hex() == "c2ef328e5c71c83b843122130f7364b761e0b97427e3df28"


@pytest.mark.parametrize(
    ("seal", "open_"), [(aead.siv_seal, aead.siv_open), (aead.chacha_seal, aead.chacha_open)]
)
def test_aead_opens_only_what_was_sealed(seal, open_) -> None:
    sealed = seal(KEY, bytes(12), b"text", b"aad")
    assert len(sealed) == 4 + aead.TAG_BYTES
    assert open_(KEY, bytes(12), sealed, b"aad") == b"text"
    for bad in (b"", sealed[:15], sealed[:-1], sealed + b"\0", bytes([sealed[0] ^ 1]) + sealed[1:]):
        with pytest.raises(RemoteProtocolError):
            open_(KEY, bytes(12), bad, b"aad")
    with pytest.raises(RemoteProtocolError):
        open_(KEY, bytes(12), sealed, b"Aad")
    with pytest.raises(RemoteProtocolError):
        open_(KEY, b"\1" + bytes(11), sealed, b"aad")
    with pytest.raises(RemoteProtocolError):
        open_(KEY[::-1], bytes(12), sealed, b"aad")


def test_secretbox_opens_only_what_was_sealed() -> None:
    sealed = secretbox.seal(KEY, b"data", b"n" * 24)
    assert sealed[:24] == b"n" * 24
    assert secretbox.open_(KEY, sealed) == b"data"
    for bad in (b"", sealed[:39], sealed[:-1], sealed[:-1] + b"?", b"m" + sealed[1:]):
        with pytest.raises(RemoteProtocolError):
            secretbox.open_(KEY, bad)
    with pytest.raises(RemoteProtocolError):
        secretbox.open_(KEY[::-1], sealed)


def test_argon2id_agrees_with_a_second_library() -> None:
    ours = argon2.argon2id(b"data", b"s" * 16, 64 * 1024, 2, 40)
    other = Argon2id(salt=b"s" * 16, length=40, iterations=2, lanes=1, memory_cost=64)
    assert ours == other.derive(b"data")


def test_x25519_agrees_on_both_sides() -> None:
    a, b = b"a" * 32, b"b" * 32
    shared = x25519.exchange(a, x25519.public(b))
    assert shared == x25519.exchange(b, x25519.public(a)) and any(shared)
    for length in (0, 31, 33):
        with pytest.raises(RemoteProtocolError):
            x25519.exchange(a, bytes(length))


def test_equal() -> None:
    assert compare.equal(b"same", b"same")
    assert not compare.equal(b"same", b"Same")
    assert not compare.equal(b"same", b"sam")
