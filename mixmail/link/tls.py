"""TLS of the links: version 1.3 only, both sides show a certificate, no authority.

A client knows the hash of the certificate it wants and refuses any other inside the handshake, before
it has shown its own.  A server takes every certificate; who the client is it learns from the descriptor
in its first frame, which must name the hash of the certificate used.  TLS proves that each side holds its
certificate's key.

The key exchange must be X25519MLKEM768: links recorded now stay closed to a later quantum computer.
OpenSSL >= 3.5 prefers it by itself; both sides check after the handshake, before the first frame.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from OpenSSL import SSL, crypto
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IReactorTime,
)
from twisted.internet.protocol import Factory
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from mixmail.errors import RemoteProtocolError, UserError
from mixmail.link.certificate import Certificate, certificate_hash
from mixmail.params import NODE_LIMITS

GROUP = "X25519MLKEM768"
VERSION = "TLSv1.3"
CIPHERS = b"TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256"

# Of a TLS record (RFC 8446, 5.1 and 5.2): the longest plaintext, and an upper bound of what is added to it.
RECORD = 2**14
RECORD_EXTRA = 64
LEAST_RECORD = 512  # bytes that pay for one record; a frame in the longest ones has 3
_PARTIAL_WRITE = 1  # SSL_MODE_ENABLE_PARTIAL_WRITE: OpenSSL.SSL sets it and has no name for it


def _hash_of(certificate: crypto.X509) -> bytes:
    return certificate_hash(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate))


class _Connection(SSL.Connection):
    """Carries the hash that a client wants to see (app data belongs to Twisted); None takes any."""

    expected: bytes | None = None


def _verify(connection: SSL.Connection, shown: crypto.X509, error: int, depth: int, ok: int) -> bool:
    """OpenSSL asks about each certificate shown; its own verdict is about authorities: not used here."""
    assert isinstance(connection, _Connection)
    expected = connection.expected
    return depth == 0 and (expected is None or _hash_of(shown) == expected)


def make_context(certificate: Certificate) -> SSL.Context:
    """The context of one node, for both directions; UserError "certificate" if its files are damaged."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_max_proto_version(SSL.TLS1_3_VERSION)
    context.set_tls13_ciphersuites(CIPHERS)
    # Nothing to resume: a resumed session would skip the certificates, and a ticket is a mark.
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.clear_mode(_PARTIAL_WRITE)  # LinkTransport writes many records with one call
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _verify)
    try:
        context.use_certificate_file(str(certificate.path))
        context.use_privatekey_file(str(certificate.key_path))
        context.check_privatekey()
    except SSL.Error as error:
        raise UserError(
            f"The link key {certificate.key_path} does not fit its certificate or is damaged: delete both "
            "files, the node makes new ones at the next start.",
            code="certificate",
        ) from error
    return context


@implementer(IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator)
class _Creator:
    """Makes the OpenSSL connections; `expected` is the hash that a client wants to see."""

    def __init__(self, context: SSL.Context, expected: bytes | None) -> None:
        self._context = context
        self._expected = expected

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return self._connection()

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return self._connection()

    def _connection(self) -> SSL.Connection:
        connection = _Connection(self._context, None)
        connection.expected = self._expected
        return connection


class LinkTransport(TLSMemoryBIOProtocol):
    """TLS over a memory BIO, in fewer and larger steps than Twisted's own, at the same meaning.

    Twisted gives OpenSSL 16 KiB at a time and hands each record on by itself; it then takes three records a
    frame and eight calls each way.  Here one write takes all bytes at once, and what one read from the
    socket brought is handed on as one string.  Records of less than `LEAST_RECORD` bytes on average end the
    connection: each costs as much as a long one.
    """

    _tlsConnection: Any
    _shutdownTLS: Any
    _tlsShutdownFinished: Any
    _flushSendBIO: Any
    _bufferedWrite: Any
    transport: Any
    _spare = NODE_LIMITS.link_records
    heard = False  # whether the peer has sent anything

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the socket."""
        self.heard = True
        super().dataReceived(data)  # type: ignore[no-untyped-call]

    def _write(self, data: bytes) -> None:
        if self._lostTLSConnection or not data:
            return
        connection = self._tlsConnection
        try:
            connection.send(data)
        except SSL.WantReadError:
            self._bufferedWrite(data)  # before the end of the handshake: nothing of it was taken
        except SSL.Error:
            self._tlsShutdownFinished(Failure())
        else:
            self._drain(len(data) + RECORD_EXTRA * (len(data) // RECORD + 2))

    def _drain(self, most: int) -> None:
        """What OpenSSL wants to send, `most` bytes at a time, goes to the socket."""
        connection = self._tlsConnection
        while True:
            try:
                data = connection.bio_read(most)
            except SSL.WantReadError:
                return
            self.transport.write(data)
            if len(data) < most:
                return

    def _flushReceiveBIO(self) -> None:
        connection = self._tlsConnection
        records: list[bytes] = []
        ending: SSL.Error | None = None
        while not self._lostTLSConnection:
            try:
                record = connection.recv(RECORD)
            except SSL.WantReadError:
                break
            except SSL.Error as error:
                ending = error
                break
            records.append(record)
            self._spare = min(self._spare - 1 + len(record) // LEAST_RECORD, NODE_LIMITS.link_records)
            if self._spare < 0:
                break
        if records and not self._aborted:
            ProtocolWrapper.dataReceived(self, b"".join(records))
        if self._spare < 0:
            wrapped: Any = self.wrappedProtocol
            wrapped.drop("too many short TLS records")
        if ending is not None and not self._lostTLSConnection:
            if isinstance(ending, SSL.ZeroReturnError):  # the peer ended TLS in good order
                self._shutdownTLS()
                self._tlsShutdownFinished(None)
            else:
                self._tlsShutdownFinished(Failure(ending))
        self._flushSendBIO()


class _Factory(TLSMemoryBIOFactory):
    protocol = LinkTransport


def client_factory(
    reactor: IReactorTime, context: SSL.Context, expected: bytes, wrapped: Factory[Any]
) -> TLSMemoryBIOFactory:
    """`wrapped` behind TLS as a client that takes only the certificate with hash `expected`."""
    return _Factory(_Creator(context, expected), True, wrapped, clock=reactor)


class _Door(_Factory):
    """Asks before anything is made for a connection; who may not come in costs a closed socket."""

    may_come: Callable[[str], bool] | None = None

    def buildProtocol(self, addr: Any) -> Any:
        """None closes the connection."""
        if self.may_come is not None and not self.may_come(addr.host):
            return None
        return super().buildProtocol(addr)


def server_factory(
    reactor: IReactorTime,
    context: SSL.Context,
    wrapped: Factory[Any],
    may_come: Callable[[str], bool] | None = None,
) -> TLSMemoryBIOFactory:
    """`wrapped` behind TLS as a server; `may_come` is asked with the address of each caller."""
    door = _Door(_Creator(context, None), False, wrapped, clock=reactor)
    door.may_come = may_come
    return door


def check_handshake(connection: SSL.Connection, expected: bytes | None) -> bytes:
    """Look at a finished handshake; return the hash of the peer's certificate (32 bytes).

    RemoteProtocolError if version, group or certificate are not what this module demands.
    """
    version, group = connection.get_protocol_version_name(), connection.get_group_name()
    if version != VERSION:
        raise RemoteProtocolError(f"link with {version} instead of {VERSION}")
    if group is None or group.upper() != GROUP:
        raise RemoteProtocolError(f"link with key exchange {group} instead of {GROUP}")
    shown = connection.get_peer_certificate()
    if shown is None:
        raise RemoteProtocolError("link without a certificate")
    peer = _hash_of(shown)
    if expected is not None and peer != expected:
        raise RemoteProtocolError("link with another certificate than the one in the descriptor")
    return peer
