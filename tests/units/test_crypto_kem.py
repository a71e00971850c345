"""X-Wing and HPKE: the draft's own vector, agreement with the library's HPKE, and hostile bytes."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from low_order import LOW_ORDER, ORDER_8, P
from nacl import bindings
from nacl.exceptions import CryptoError

from mixmail.crypto import aead, hpke, kem, x25519
from mixmail.errors import RemoteProtocolError

VECTORS = Path(__file__).parents[1] / "vectors"
ALICE = kem.PrivateKey.from_seed(b"a" * 32)
BOB = kem.PrivateKey.from_seed(b"b" * 32)


def hpke_key_and_nonce(secret: bytes, info: bytes) -> tuple[bytes, bytes]:
    """RFC 9180, 5.1, base mode, for kem 0x647a, HKDF-SHA256 and ChaCha20-Poly1305."""
    suite = b"HPKE" + bytes.fromhex("647a00010003")

    def extract(salt: bytes, label: bytes, ikm: bytes) -> bytes:
        return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, "sha256")

    def expand(prk: bytes, label: bytes, context: bytes, length: int) -> bytes:
        text = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + context + b"\1"
        return hmac.digest(prk, text, "sha256")[:length]

    context = b"\0" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", info)
    prk = extract(secret, b"secret", b"")
    return expand(prk, b"key", context, 32), expand(prk, b"base_nonce", context, 12)


DRAFT = json.loads((VECTORS / "xwing_draft.json").read_text())
MORE = json.loads((VECTORS / "xwing_more.json").read_text())
MLKEM = json.loads((VECTORS / "mlkem768.json").read_text())


@pytest.mark.parametrize("vector", [DRAFT, *MORE["draft"]], ids=lambda v: v["seed"][:8])
def test_every_vector_of_the_draft(vector: dict[str, str]) -> None:
    private = kem.PrivateKey.from_seed(bytes.fromhex(vector["seed"]))
    assert private.public.raw.hex() == vector["pk"]
    assert kem.decapsulate(private, bytes.fromhex(vector["ct"])).hex() == vector["ss"]
    # the library encapsulates with its own randomness: only the X25519 half can be repeated
    if "eseed" in vector:
        assert x25519.public(bytes.fromhex(vector["eseed"])[32:]).hex() == vector["ct"][-64:]


@pytest.mark.parametrize("vector", MORE["hpke_pq"], ids=lambda v: f"kdf-{v['kdf_id']}")
def test_every_x_wing_vector_of_hpke_pq(vector: dict[str, str]) -> None:
    private = kem.PrivateKey.from_seed(bytes.fromhex(vector["skRm"]))
    assert private.public.raw.hex() == vector["pkRm"]
    assert kem.decapsulate(private, bytes.fromhex(vector["enc"])).hex() == vector["shared_secret"]


def test_key_generation_of_ml_kem_768_by_nist() -> None:
    assert [case["tcId"] for case in MLKEM["acvp_keygen"]] == list(range(26, 51))
    for case in MLKEM["acvp_keygen"]:
        private = MLKEM768PrivateKey.from_seed_bytes(bytes.fromhex(case["d"] + case["z"]))
        assert private.public_key().public_bytes_raw().hex() == case["ek"].lower()


def test_decapsulation_of_ml_kem_768_and_its_implicit_rejection() -> None:
    (strcmp,) = MLKEM["wycheproof"]
    cases = [(strcmp["seed"], strcmp["ek"], strcmp["c"], strcmp["K"])]
    for case in MLKEM["kat"]:
        seed = case["d"] + case["z"]
        cases += [(seed, case["pk"], case["ct"], case["ss"]), (seed, case["pk"], case["ct_n"], case["ss_n"])]
    assert len(cases) == 21
    for seed, public, ct, secret in cases:
        private = MLKEM768PrivateKey.from_seed_bytes(bytes.fromhex(seed))
        assert private.public_key().public_bytes_raw().hex() == public
        assert private.decapsulate(bytes.fromhex(ct)).hex() == secret


def test_encapsulate_and_decapsulate_agree() -> None:
    ct, secret = kem.encapsulate(kem.PublicKey.parse(ALICE.public.raw))
    assert (len(ct), len(secret)) == (1120, 32)
    assert kem.decapsulate(ALICE, ct) == secret
    assert kem.decapsulate(BOB, ct) != secret
    assert kem.encapsulate(ALICE.public)[0] != ct


def test_secret_is_the_combiner_of_the_draft() -> None:
    ct, secret = kem.encapsulate(ALICE.public)
    expanded = hashlib.shake_256(b"a" * 32).digest(96)
    secret_x = x25519.exchange(expanded[64:], ct[1088:])
    text = ALICE.mlkem.decapsulate(ct[:1088]) + secret_x + ct[1088:] + ALICE.public.raw[1184:]
    assert hashlib.sha3_256(text + bytes.fromhex("5c2e2f2f5e5c")).digest() == secret


def test_bare_kem_opens_what_the_library_seals() -> None:
    sealed = hpke.seal(ALICE.public, b"some info", b"some text")
    assert len(sealed) == len(b"some text") + hpke.OVERHEAD
    key, nonce = hpke_key_and_nonce(kem.decapsulate(ALICE, sealed[:1120]), b"some info")
    assert aead.chacha_open(key, nonce, sealed[1120:], b"") == b"some text"


def test_library_opens_what_the_bare_kem_seals() -> None:
    ct, secret = kem.encapsulate(ALICE.public)
    key, nonce = hpke_key_and_nonce(secret, b"i")
    assert hpke.open_(ALICE, b"i", ct + aead.chacha_seal(key, nonce, b"text", b"")) == b"text"


def test_hpke_refuses_other_key_info_and_any_changed_part() -> None:
    sealed = hpke.seal(ALICE.public, b"info", b"text")
    assert hpke.open_(ALICE, b"info", sealed) == b"text"
    with pytest.raises(RemoteProtocolError):
        hpke.open_(BOB, b"info", sealed)
    with pytest.raises(RemoteProtocolError):
        hpke.open_(ALICE, b"Info", sealed)
    for position in (0, 1087, 1088, 1119, 1120, len(sealed) - 1):
        changed = bytearray(sealed)
        changed[position] ^= 0x80
        with pytest.raises(RemoteProtocolError):
            hpke.open_(ALICE, b"info", bytes(changed))


@pytest.mark.parametrize("point", LOW_ORDER, ids=lambda point: point.hex()[:8])
def test_every_low_order_point_is_refused(point: bytes) -> None:
    ct, _ = kem.encapsulate(ALICE.public)
    with pytest.raises(RemoteProtocolError, match="low order"):
        kem.decapsulate(ALICE, ct[:1088] + point)
    with pytest.raises(RemoteProtocolError, match="low order"):
        kem.PublicKey.parse(ALICE.public.raw[:1184] + point)
    with pytest.raises(RemoteProtocolError, match="low order"):
        hpke.open_(ALICE, b"", ct[:1088] + point + bytes(16))
    with pytest.raises(RemoteProtocolError, match="low order"):
        x25519.exchange(b"s" * 32, point)


def test_the_list_of_low_order_points_is_complete_under_rfc_7748() -> None:
    # around every known value, with either top bit: what makes libsodium's product zero is on the list
    near = [value + step for value in (0, *ORDER_8, P) for step in range(-18, 19)]
    refused = 0
    for value in near:
        if not 0 <= value < 2**255:
            continue
        for top in (0, 2**255):
            point = (value + top).to_bytes(32, "little")
            try:
                bindings.crypto_scalarmult(b"s" * 32, point)
            except CryptoError:
                refused += 1
                assert x25519.is_low_order(point)
    assert refused == 14


def test_ml_kem_key_out_of_range_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="ML-KEM"):
        kem.PublicKey.parse(b"\xff" * 1184 + ALICE.public.raw[1184:])


@given(st.integers(0, 2400).filter(lambda n: n not in (1120, 1216)))
def test_wrong_lengths_are_refused(length: int) -> None:
    with pytest.raises(RemoteProtocolError):
        kem.PublicKey.parse(bytes(length))
    with pytest.raises(RemoteProtocolError):
        kem.decapsulate(ALICE, bytes(length))


@settings(deadline=None, max_examples=50)
@given(st.binary(min_size=0, max_size=1300))
def test_hpke_parses_or_raises_its_one_error(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        hpke.open_(ALICE, b"", data)


def test_private_key_does_not_show_its_secret() -> None:
    shown = repr(ALICE) + str(ALICE) + f"{ALICE!s}"
    for secret in (ALICE.seed, ALICE.x25519_raw):
        assert secret.hex() not in shown and repr(secret) not in shown and repr(secret)[2:-1] not in shown
    assert "PublicKey" in shown


def test_public_keys_compare_by_their_bytes() -> None:
    again = kem.PublicKey.parse(ALICE.public.raw)
    assert again == ALICE.public and hash(again) == hash(ALICE.public)
    assert again != BOB.public and again != ALICE.public.raw
