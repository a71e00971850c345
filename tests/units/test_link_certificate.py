"""Link certificates name nobody; endpoint strings of others reach only what they may."""

from __future__ import annotations

import hashlib
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactor

from mixmail.errors import RemoteProtocolError, UserError
from mixmail.link import certificate, endpoints, tls


def test_two_files_for_the_owner_alone(tmp_path: Path) -> None:
    made = certificate.make(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link-cert.pem", "link-key.pem"]
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert certificate.load(tmp_path) == certificate.load_or_make(tmp_path) == made
    der = ssl.PEM_cert_to_DER_cert(made.path.read_text())
    assert made.hash == certificate.certificate_hash(der) == hashlib.blake2b(der, digest_size=32).digest()


def test_all_certificates_look_alike(tmp_path: Path) -> None:
    parsed = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        pem = certificate.make(tmp_path / name).path.read_bytes()
        parsed.append(x509.load_pem_x509_certificate(pem))
    one, two = parsed
    assert isinstance(one.public_key(), Ed25519PublicKey)
    assert one.public_key() != two.public_key()
    for field in ("subject", "issuer", "serial_number", "not_valid_before_utc", "not_valid_after_utc"):
        assert getattr(one, field) == getattr(two, field)
    assert not list(one.subject)
    assert not list(one.extensions)


def test_a_crash_between_the_two_files_is_harmless(tmp_path: Path) -> None:
    (tmp_path / "link-key.pem").write_bytes(b"half")
    (tmp_path / "link-cert.pem.new").write_bytes(b"half")
    made = certificate.load_or_make(tmp_path)
    tls.make_context(made)


@pytest.mark.parametrize("name", ["link-key.pem", "link-cert.pem"])
@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"-----BEGIN NONSENSE-----\n"])
def test_damage_is_one_sentence(tmp_path: Path, name: str, content: bytes | None) -> None:
    certificate.make(tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        tls.make_context(certificate.load(tmp_path))
    assert caught.value.code == "certificate"
    assert "delete both" in caught.value.message


def test_a_key_of_another_certificate(tmp_path: Path) -> None:
    certificate.make(tmp_path)
    key = (tmp_path / "link-key.pem").read_bytes()
    certificate.make(tmp_path)
    (tmp_path / "link-key.pem").write_bytes(key)
    with pytest.raises(UserError) as caught:
        tls.make_context(certificate.load(tmp_path))
    assert caught.value.code == "certificate"


@pytest.mark.parametrize(
    "text",
    [
        "unix:/run/secret.sock",
        "unix:path=/tmp/x:port=1",
        "tls:host=a:port=1",
        "ssl:host=a:port=1:privateKey=/etc/passwd",
        "tcp:host=a:port=1:bindAddress=10.0.0.1",
        "tcp:host=a:port=0",
        "tcp:host=a:port=65536",
        "tcp:host=a:port=-1",
        "tcp:host=:port=1",
        "tcp:host=a b:port=1",
        "tcp:host=a\n:port=1",
        "tcp:host=a:port=1\n",
        "tcp:host=a:port=١",
        "tcp:a:1",
        "",
        "tcp:host=" + "a" * 300 + ":port=1",
    ],
)
def test_an_endpoint_of_others_may_only_be_tcp(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        endpoints.client_endpoint(MemoryReactor(), text)


@pytest.mark.parametrize(
    ("text", "host"),
    [("tcp:host=192.0.2.1:port=4001", "192.0.2.1"), (r"tcp:host=2001\:db8\:\:1:port=4001", "2001:db8::1")],
)
def test_good_endpoints_connect_there(text: str, host: str) -> None:
    reactor = MemoryReactor()
    endpoints.client_endpoint(reactor, text).connect(Factory.forProtocol(Protocol))
    assert [tuple(call[:2]) for call in reactor.tcpClients] == [(host, 4001)]


@pytest.mark.parametrize("text", ["", "4001", "tcp:", "tcp:nonsense", "unix:/tmp/x", "tcp:1:oops=2"])
def test_a_bad_own_endpoint_is_one_sentence(text: str) -> None:
    with pytest.raises(UserError) as caught:
        endpoints.server_endpoint(MemoryReactor(), text, 16)
    assert caught.value.code == "endpoint"
