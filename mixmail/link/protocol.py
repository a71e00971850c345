"""One connection to one other node: handshake check, HELLO, then frames.

A link is *connecting* until TLS is checked and the peer's HELLO has been accepted, then *up*, then *closed*.
Until it is up it takes one frame, so an unknown peer costs us at most 32,800 bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from OpenSSL import SSL
from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from mixmail.effects import Frame
from mixmail.errors import RemoteProtocolError
from mixmail.link.frames import FrameReader, cut
from mixmail.link.tls import check_handshake
from mixmail.params import GEOMETRY, NODE_LIMITS

if TYPE_CHECKING:
    from mixmail.link.service import LinkService

HELLO = 9  # the kind of the first frame each way; its payload is the sender's descriptor and clock

log = Logger()


def _openssl_words(error: SSL.Error) -> str:
    """OpenSSL's own words for what went wrong, such as "wrong version number"."""
    queue = error.args[0] if error.args else ()
    return "; ".join(str(entry[-1]) for entry in queue) or type(error).__name__


@implementer(IHandshakeListener, IPushProducer)
class Link(Protocol):
    """The Twisted protocol of a link.

    `expected_hash` and `expected_peer` are what a link that we open must find; both None on a link that
    somebody else opened (and `expected_peer` None on one to a seed).  One of `on_up`, `on_refused` is called,
    once: when the link stands, or when it ended before.
    """

    def __init__(
        self,
        service: LinkService,
        expected_hash: bytes | None = None,
        expected_peer: bytes | None = None,
        on_up: Callable[[Link], None] | None = None,
        on_refused: Callable[[Link], None] | None = None,
    ) -> None:
        self._service = service
        self._expected_hash = expected_hash
        self._expected_peer = expected_peer
        self._on_up = on_up
        self._on_refused = on_refused
        self.peer: bytes | None = None
        self.closed = False
        self.reason = "the connection was lost"
        self._cert_hash: bytes | None = None
        self._reader = FrameReader(limit=1, on_wire=self._saw)
        self._queue: deque[list[bytes]] = deque()  # a message each
        self._queued = 0  # frames in it
        self._full = False
        now = service.now()
        self._deadline: float | None = now + service.params.link_timeout
        self._seen_frames = 0
        self._last_traffic = self.up_since = now
        self._idle_limit = service.draw_idle_limit()

    @property
    def _tls(self) -> Any:
        return self.transport  # a TLSMemoryBIOProtocol, whose methods have no types

    # the connection

    def connectionMade(self) -> None:
        """TCP stands; TLS begins."""
        self._service.link_began(self)
        self._tls.registerProducer(self, True)

    def handshakeCompleted(self) -> None:
        """TLS stands: check it, then say who we are."""
        try:
            self._cert_hash = check_handshake(self._tls.getHandle(), self._expected_hash)
        except RemoteProtocolError as error:
            self.drop(str(error))
            return
        self._write(cut(Frame(HELLO, 0, self._service.hello())))

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the peer; a peer that breaks a rule is dropped."""
        # The frames behind a HELLO have another limit, so the HELLO is taken first.
        end = len(data) if self.peer is not None else self._reader.missing
        try:
            for piece in (data[:end], data[end:]):
                if self.closed:
                    return
                for frame in self._reader.feed(piece) if piece else ():
                    self._take(frame)
                    if self.closed:
                        return
        except RemoteProtocolError as error:
            self.drop(str(error))
            return
        self._watch_unfinished()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        if not self.closed:
            self.closed = True
            if isinstance(reason.value, SSL.Error):
                self._note_drop(f"no TLS with the peer ({_openssl_words(reason.value)})")
            elif self.peer is None:
                self.reason = "the peer left before it said who it is"
        log.debug("a link ended: {reason}", reason=self.reason)
        self._queue.clear()
        self._queued = 0
        self._service.link_ended(self)
        if self.peer is None and self._on_refused is not None:
            self._on_refused(self)

    # frames in

    def _take(self, frame: Frame) -> None:
        self._last_traffic = self._service.now()
        if self.peer is not None:
            if frame.kind == HELLO:
                raise RemoteProtocolError("second HELLO")
            self._service.frame_came(self.peer, frame)
            return
        if frame.kind != HELLO or self._cert_hash is None:
            raise RemoteProtocolError("first frame is not HELLO")
        try:
            peer = self._service.accept_hello(frame.payload, self._cert_hash)
        except RemoteProtocolError as error:
            self._refuse(str(error))
            return
        if self._expected_peer is not None and peer != self._expected_peer:
            raise RemoteProtocolError("another node answers at this endpoint")
        self.peer = peer
        self.up_since = self._service.now()
        self._deadline = None
        self._reader.limit = GEOMETRY.message_frames
        # Before, Twisted's 64 KiB bound what somebody unknown can make us take at once.
        self._tls.transport.bufferSize = NODE_LIMITS.link_batch * GEOMETRY.frame
        self._service.link_up(self)
        if self._on_up is not None:
            self._on_up(self)

    def _saw(self, wire: memoryview) -> None:
        self._seen_frames += 1
        self._service.wire_frame("in", self.peer or b"", wire)

    def _watch_unfinished(self) -> None:
        """What has begun must end within `link_timeout`; each whole frame gives the next one as long."""
        if self.peer is None:
            return
        if not self._reader.unfinished:
            self._deadline = None
        elif self._deadline is None or self._seen_frames:
            self._deadline = self._service.now() + self._service.params.link_timeout
        self._seen_frames = 0

    # frames out

    def send(self, wires: list[bytes]) -> bool:
        """Send the frames of one message; False if the queue has no room for them (they are dropped).

        They leave together with what else is sent in this turn of the reactor: at the service's `flush`.
        """
        if self._queued + len(wires) > self._service.params.link_queue:
            return False
        if not self._queue and not self._full:
            self._service.link_has_work(self)
        self._queue.append(wires)
        self._queued += len(wires)
        if self._queued >= NODE_LIMITS.link_batch:
            self.flush()
        return True

    def flush(self) -> None:
        """Hand the queue to the socket, `link_batch` frames at a time, as long as that has room."""
        while self._queue and not self._full:
            batch = self._queue.popleft()
            while self._queue and len(batch) + len(self._queue[0]) <= NODE_LIMITS.link_batch:
                batch += self._queue.popleft()
            self._queued -= len(batch)
            self._write(batch)

    def _write(self, wires: list[bytes]) -> None:
        self._last_traffic = self._service.now()
        for wire in wires:
            self._service.wire_frame("out", self.peer or b"", wire)
        self._tls.writeSequence(wires)

    def pauseProducing(self) -> None:
        """The socket's buffer is full: what comes now waits in the queue."""
        self._full = True

    def resumeProducing(self) -> None:
        """The socket's buffer has room again."""
        self._full = False
        self.flush()

    def stopProducing(self) -> None:
        """The connection is gone; connectionLost follows."""
        self._full = True

    # ending

    def check_time(self, now: float) -> None:
        """Drop the link if the peer is late, close it if nothing went over it for long."""
        if self._deadline is not None and now > self._deadline:
            if self.closed:
                self.abort()  # refused, and it does not take our HELLO
            self.drop("the peer stopped half-way" if self.peer else "the peer did not say who it is in time")
        elif self.peer is not None and now - self._last_traffic > self._idle_limit:
            self.close("idle")

    def _refuse(self, reason: str) -> None:
        """As `drop`, but our own HELLO, which may still be on its way out, reaches the peer first."""
        self.closed = True
        self._note_drop(reason)
        self._tls.unregisterProducer()
        self._tls.loseConnection()

    def drop(self, reason: str) -> None:
        """Cut the connection to a peer that broke a rule; one line in the log, without an address."""
        if not self.closed:
            self.closed = True
            self._note_drop(reason)
            self._tls.abortConnection()

    def _note_drop(self, reason: str) -> None:
        self.reason = reason
        self._service.counters.dropped_links += 1
        log.info("dropped a link: {reason}", reason=reason)

    def close(self, reason: str) -> None:
        """End the connection in good order."""
        if not self.closed:
            self.flush()
            self.closed = True
            self.reason = reason
            self._tls.unregisterProducer()
            self._tls.loseConnection()

    def abort(self) -> None:
        """Cut a connection that `close` has not ended."""
        self._tls.abortConnection()
