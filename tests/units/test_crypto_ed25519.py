"""Ed25519: known signatures, raw scalars, and the points that forge."""

from __future__ import annotations

import ast
import contextlib
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from low_order import FORGED, IDENTITY, SMALL_ORDER, L, P, is_forged_by
from nacl import bindings
from nacl.exceptions import BadSignatureError

from mixmail.crypto import ed25519
from mixmail.errors import LocalProtocolError, RemoteProtocolError

_SIGN = 2**255


def test_rfc_8032_first_vector() -> None:
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    public = ed25519.public_of_seed(seed)
    signature = ed25519.sign(seed, b"")
    assert public.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert signature.hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    )
    assert ed25519.verify(public, b"", signature)


@given(st.binary(min_size=64, max_size=64), st.binary(max_size=200))
def test_raw_scalar_signs_what_two_libraries_verify(seed: bytes, message: bytes) -> None:
    scalar = ed25519.reduce(seed)
    if not any(scalar):
        return
    public = ed25519.base_mult(scalar)
    signature = ed25519.sign_with_scalar(scalar, public, b"prefix", message, b"r" * 32)
    assert ed25519.verify(public, message, signature)
    Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    assert not ed25519.verify(public, message + b"!", signature)


def test_fresh_randomness_gives_a_fresh_signature() -> None:
    scalar = ed25519.reduce(b"k" * 64)
    public = ed25519.base_mult(scalar)
    one, two = (ed25519.sign_with_scalar(scalar, public, b"p", b"m", r * 32) for r in (b"1", b"2"))
    assert one[:32] != two[:32]


def test_scalars_and_points_agree() -> None:
    a, k = ed25519.reduce(b"a" * 64), ed25519.reduce(b"k" * 64)
    assert ed25519.mult(k, ed25519.base_mult(a)) == ed25519.base_mult(ed25519.scalar_mul(a, k))
    product = int.from_bytes(a, "little") * int.from_bytes(k, "little") % L
    assert int.from_bytes(ed25519.scalar_mul(a, k), "little") == product
    assert int.from_bytes(a, "little") == int.from_bytes(b"a" * 64, "little") % L


def test_the_list_of_low_order_points_is_one() -> None:
    # order · point = identity for each: checked with curve arithmetic on the y coordinate alone
    d = -121665 * pow(121666, -1, P) % P
    for raw, order in SMALL_ORDER.items():
        y = int.from_bytes(raw, "little") % _SIGN % P
        doublings = 0
        while y != 1:
            x2 = (y * y - 1) * pow(d * y * y + 1, -1, P) % P
            y = (y * y + x2) * pow(1 - d * x2 * y * y, -1, P) % P
            doublings += 1
        assert 2**doublings == order, raw.hex()
    assert len(SMALL_ORDER) == 14


@pytest.mark.parametrize("point", SMALL_ORDER, ids=lambda point: point.hex()[:8] + point.hex()[-2:])
def test_every_low_order_point_is_refused(point: bytes) -> None:
    assert not ed25519.is_valid_point(point)
    with pytest.raises(RemoteProtocolError):
        ed25519.mult(ed25519.reduce(b"k" * 64), point)
    for commitment in (IDENTITY, point):
        assert not ed25519.verify(point, b"any message", commitment + bytes(32))


def test_low_order_keys_forge_in_openssl_but_not_here() -> None:
    try:
        Ed25519PublicKey.from_public_bytes(IDENTITY).verify(FORGED, b"m")
    except InvalidSignature:
        pytest.skip("this OpenSSL refuses the identity too")
    assert not ed25519.verify(IDENTITY, b"m", FORGED)
    for point in SMALL_ORDER:  # the rule by which other tests choose their messages
        for message in (bytes([number]) for number in range(32)):
            taken = True
            try:
                Ed25519PublicKey.from_public_bytes(point).verify(FORGED, message)
            except InvalidSignature:
                taken = False
            assert taken == is_forged_by(point, message), (point.hex(), message)


def test_key_with_a_part_of_order_two_is_refused_though_libsodium_verifies_it() -> None:
    scalar = ed25519.reduce(b"k" * 64)
    encoded = int.from_bytes(ed25519.base_mult(scalar), "little")
    # (x, y) plus the point (0, -1) of order two is (-x, -y)
    mixed = (P - encoded % _SIGN + (~encoded & _SIGN)).to_bytes(32, "little")
    verified = 0
    for i in range(20):
        message = b"message %d" % i
        signature = ed25519.sign_with_scalar(scalar, mixed, b"p", message, b"r" * 32)
        # half of the challenges are even, and then the part of order two falls out of the equation
        with contextlib.suppress(BadSignatureError):
            bindings.crypto_sign_open(signature + message, mixed)
            verified += 1
        assert not ed25519.verify(mixed, message, signature)
    assert verified
    with pytest.raises(RemoteProtocolError):
        ed25519.mult(scalar, mixed)


def test_bytes_do_not_move_between_signature_and_message() -> None:
    public, signature = ed25519.public_of_seed(b"s" * 32), ed25519.sign(b"s" * 32, b"xm")
    assert ed25519.verify(public, b"xm", signature)
    assert not ed25519.verify(public, b"m", signature + b"x")
    assert not ed25519.verify(public, signature[-1:] + b"xm", signature[:-1])


def test_point_outside_the_prime_order_group_is_refused() -> None:
    # -(x, y) of an odd point plus the point of order 2 is (x, -y): on the curve, of order 2L
    good = int.from_bytes(ed25519.public_of_seed(b"s" * 32), "little")
    y, sign = good % _SIGN, good & _SIGN
    assert not ed25519.is_valid_point((P - y + sign).to_bytes(32, "little"))
    assert not ed25519.is_valid_point(b"\2" + bytes(31))  # not on the curve


@given(st.binary(max_size=70), st.binary(max_size=70), st.binary(max_size=20))
def test_verify_never_raises(public: bytes, signature: bytes, message: bytes) -> None:
    assert not ed25519.verify(public, message, signature)
    assert not ed25519.verify(ed25519.public_of_seed(b"s" * 32), message, signature)


def test_changed_signature_and_malleable_s_are_refused() -> None:
    public, signature = ed25519.public_of_seed(b"s" * 32), ed25519.sign(b"s" * 32, b"m")
    for position in range(64):
        changed = bytearray(signature)
        changed[position] ^= 1
        assert not ed25519.verify(public, b"m", bytes(changed))
    above = int.from_bytes(signature[32:], "little") + L
    assert not ed25519.verify(public, b"m", signature[:32] + above.to_bytes(32, "little"))


def test_zero_scalar_is_refused() -> None:
    with pytest.raises(LocalProtocolError):
        ed25519.base_mult(bytes(32))
    with pytest.raises(RemoteProtocolError):
        ed25519.mult(bytes(32), ed25519.public_of_seed(b"s" * 32))
    for length in (0, 31, 33):
        with pytest.raises(RemoteProtocolError, match="bytes"):
            ed25519.mult(ed25519.reduce(b"k" * 64), bytes(length))


# Who signs and verifies


ROOT = Path(__file__).resolve().parents[2]
SIGNING = ("ed25519", "ed448", "dsa", "ecdsa", "rsa", "ec", "mldsa", "slhdsa", "padding", "utils")
"""Modules of cryptography.hazmat.primitives.asymmetric that sign or belong to those."""
OTHERS = ("Crypto", "Cryptodome", "ecdsa", "ed25519", "oqs", "pure25519", "rsa", "gnupg", "pqcrypto")


def imported(source: str) -> set[str]:
    """Each module and each name that is imported, dotted."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def signs_otherwise(source: str) -> set[str]:
    """What is imported of libraries that sign, other than PyNaCl."""
    primitives = "cryptography.hazmat.primitives.asymmetric."
    return {
        name
        for name in imported(source)
        if name.split(".")[0] in OTHERS or name.removeprefix(primitives).split(".")[0] in SIGNING
    }


def test_a_breach_would_be_seen() -> None:
    base = "cryptography.hazmat.primitives.asymmetric"
    for line, name in {
        f"from {base}.ed25519 import Ed25519PublicKey": f"{base}.ed25519.Ed25519PublicKey",
        f"from {base} import ed25519": f"{base}.ed25519",
        f"def f():\n    import {base}.rsa": f"{base}.rsa",
        "import ecdsa.keys": "ecdsa.keys",
    }.items():
        assert signs_otherwise(line) == {name}
    assert signs_otherwise(f"from {base}.x25519 import X25519PrivateKey") == set()


def test_signatures_are_made_and_verified_by_pynacl_in_one_module() -> None:
    """The exception is the TLS certificate of a link, which OpenSSL needs as a key of its own kind; that
    module has the class that signs only, and nobody verifies by it: peers pin the certificate's hash."""
    others, by_nacl = {}, set()
    for folder in ("mixmail", "tui"):
        for path in (ROOT / folder).rglob("*.py"):
            source, name = path.read_text("utf-8"), str(path.relative_to(ROOT))
            if found := signs_otherwise(source):
                others[name] = found
            if any(f"crypto_{word}" in source for word in ("sign", "core_ed25519", "scalarmult_ed25519")):
                by_nacl.add(name)
            assert not any(module.startswith(("nacl.signing", "nacl.public")) for module in imported(source))
    key = "cryptography.hazmat.primitives.asymmetric.ed25519.Ed25519PrivateKey"
    assert others == {"mixmail/crypto/x509.py": {key}}
    assert by_nacl == {"mixmail/crypto/ed25519.py"}
