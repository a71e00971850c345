"""One connection to one other node: handshake check, HELLO, then frames.

A link is *connecting* until TLS is checked and the peer's HELLO has been accepted, then *up*, then *closed*.
Until it is up it takes one frame.  What comes is only kept here; `link.turns` says when a frame is worked on,
and a link that keeps `NodeLimits.link_inbox` bytes is not read on.
"""

from __future__ import annotations

import socket
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
from mixmail.errors import ForeignNetwork, RemoteProtocolError
from mixmail.link.frames import FrameReader, cut
from mixmail.link.tls import check_handshake
from mixmail.params import GEOMETRY

if TYPE_CHECKING:
    from mixmail.link.service import LinkService

HELLO = 9  # the kind of the first frame each way; its payload is the sender's descriptor and clock

READ = 2**16  # bytes that Twisted reads from a socket at once, and above which its buffer counts as full
CLOSE_GRACE = 1 / 8  # of `link_timeout`: what a peer gets to answer our end of the connection

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
        self.held = 0  # bytes in memory, in and out (`link.memory`)
        self.closed = False
        self.reason = "the connection was lost"
        self._cert_hash: bytes | None = None
        self._reader = FrameReader(limit=1, on_wire=self._saw)
        self._queue: deque[list[bytes]] = deque()  # a message each
        self._queued = 0  # frames in it
        self._in_socket = 0  # bytes that the socket has and does not get rid of
        self._full_since: float | None = None  # since when the socket takes nothing
        self._waits_for_turn = False
        self._paused = False
        now = service.now()
        self._deadline: float | None = now + service.params.link_timeout
        self.last_traffic = self.up_since = now
        self._idle_limit = service.draw_idle_limit()

    @property
    def _tls(self) -> Any:
        return self.transport  # a TLSMemoryBIOProtocol, whose methods have no types

    @property
    def called_us(self) -> bool:
        """True if the peer opened this connection."""
        return self._expected_hash is None

    @property
    def heard(self) -> bool:
        """True if anything has come from the peer, were it the beginning of TLS that is not read yet."""
        if self._tls.heard:
            return True
        try:
            return bool(self._tls.transport.getHandle().recv(1, socket.MSG_PEEK))
        except OSError:  # nothing has come, or the connection is gone
            return False

    @property
    def stranger(self) -> bool:
        """True as long as the peer does not stand in the directory."""
        return self.peer is None or not self._service.knows(self.peer)

    # the connection

    def connectionMade(self) -> None:
        """TCP stands; TLS begins, with a caller when it is his turn."""
        self._tls.registerProducer(self, True)
        if self.called_us:
            self._pause()
        self._service.link_began(self, self._tls.getPeer().host)

    def handshakeCompleted(self) -> None:
        """TLS stands: check it, then say who we are."""
        try:
            self._cert_hash = check_handshake(self._tls.getHandle(), self._expected_hash)
        except RemoteProtocolError as error:
            self.drop(str(error))
            return
        self._write(cut(Frame(HELLO, 0, self._service.hello())))

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the peer: keep them, and stop reading when there are enough."""
        if self.closed:
            return
        self._reader.push(data)
        self._account()
        if self.closed:  # it was the greediest
            return
        if self._reader.whole:
            if not self._waits_for_turn:
                self._waits_for_turn = True
                self._service.turns.wants_input(self)
            if self._reader.waiting >= self._service.limits.link_inbox or self._service.memory.tight:
                self._pause()
        self._watch_unfinished()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone; the whole frames that are here still count."""
        while self.peer is not None and not self.closed and self._reader.whole:
            self.take_frame()
        if not self.closed:
            self.closed = True
            if isinstance(reason.value, SSL.Error):
                self._note_drop(f"no TLS with the peer ({_openssl_words(reason.value)})", "tls")
            elif self.peer is None:
                self.reason = "the peer left before it said who it is"
        log.debug("a link ended: {reason}", reason=self.reason)
        self._forget()
        self._service.link_ended(self)
        if self.peer is None and self._on_refused is not None:
            self._on_refused(self)

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._tls.pauseProducing()

    def read(self) -> None:
        """Read from the socket (again): much at once only where that is safe."""
        if self._paused:
            self._paused = False
            if not self.stranger:
                batch = (
                    READ if self._service.memory.tight else self._service.limits.link_batch * GEOMETRY.frame
                )
                self._tls.transport.bufferSize = batch
            self._tls.resumeProducing()

    def _forget(self) -> None:
        self._reader.clear()
        self._queue.clear()
        self._queued = self._in_socket = 0
        self._account()

    def _account(self) -> None:
        frames = self._queued * GEOMETRY.frame
        self._service.memory.set(self, self._reader.held + frames + self._in_socket)

    # frames in

    def take_frame(self) -> bool:
        """Work on one wire frame; True if another one is here and its turn is wanted."""
        if not self.closed:
            try:
                frame = self._reader.take()
                if frame is not None:
                    self._take(frame)
            except RemoteProtocolError as error:
                self.drop(str(error))
            except Exception:  # the others must go on
                log.failure("a frame made the node fail")
                self.drop("a defect in this node", "defect")
        if not self.closed:
            self._account()
        self._waits_for_turn = not self.closed and self._reader.whole
        if not self._waits_for_turn and not self.closed:
            self._watch_unfinished(True)
            self.read()
        return self._waits_for_turn

    def _take(self, frame: Frame) -> None:
        self.last_traffic = self._service.now()
        if self.peer is not None:
            if frame.kind == HELLO:
                raise RemoteProtocolError("second HELLO")
            self._service.frame_came(self.peer, frame)
            return
        if frame.kind != HELLO or self._cert_hash is None:
            raise RemoteProtocolError("first frame is not HELLO")
        try:
            peer = self._service.accept_hello(self, frame.payload, self._cert_hash)
        except RemoteProtocolError as error:
            self._refuse(str(error), "foreign" if isinstance(error, ForeignNetwork) else "broken")
            return
        if self._expected_peer is not None and peer != self._expected_peer:
            raise RemoteProtocolError("another node answers at this endpoint")
        self.peer = peer
        self.up_since = self._service.now()
        self._deadline = None
        self._reader.limit = GEOMETRY.message_frames
        self._service.link_up(self)
        if self._on_up is not None:
            self._on_up(self)

    def _saw(self, wire: memoryview) -> None:
        self._service.wire_frame("in", self.peer or b"", wire)

    def _watch_unfinished(self, took: bool = False) -> None:
        """What has begun must end within `link_timeout`; each whole frame gives the next one as long.

        While whole frames wait for their turn, the peer is not the one who is late.
        """
        if self.peer is None:
            return
        if self._reader.whole or not self._reader.unfinished:
            self._deadline = None
        elif self._deadline is None or took:
            self._deadline = self._service.now() + self._service.params.link_timeout

    # frames out

    def send(self, wires: list[bytes]) -> bool:
        """Send the frames of one message; False if the queue has no room for them (they are dropped).

        They leave together with what else is sent in this turn of the reactor: at the service's `flush`.
        """
        if self.closed or self._queued + len(wires) > self._service.params.link_queue:
            return False
        if not self._queue and self._full_since is None:
            self._service.link_has_work(self)
        self._queue.append(wires)
        self._queued += len(wires)
        if self._queued >= self._service.limits.link_batch:
            self.flush()
        if self._queued:
            self._account()
        return True

    def flush(self) -> None:
        """Hand the queue to the socket, `link_batch` frames at a time, as long as that has room."""
        if not self._queue or self._full_since is not None:
            return
        most = self._service.limits.link_batch
        while self._queue and self._full_since is None:
            batch = self._queue.popleft()
            while self._queue and len(batch) + len(self._queue[0]) <= most:
                batch += self._queue.popleft()
            self._queued -= len(batch)
            self._write(batch)
        self._account()

    def _write(self, wires: list[bytes]) -> None:
        self.last_traffic = self._service.now()
        for wire in wires:
            self._service.wire_frame("out", self.peer or b"", wire)
        self._tls.writeSequence(wires)
        if self._full_since is not None:
            self._in_socket = READ + len(wires) * GEOMETRY.frame

    def pauseProducing(self) -> None:
        """The socket's buffer is full: what comes now waits in the queue."""
        if self._full_since is None:
            self._full_since = self._service.now()

    def resumeProducing(self) -> None:
        """The socket's buffer has room again."""
        self._full_since = None
        if self._in_socket:
            self._in_socket = 0
            self._account()
        self.flush()

    def stopProducing(self) -> None:
        """The connection is gone; connectionLost follows."""
        self.pauseProducing()

    def relieve(self) -> int:
        """Give up the younger half of the queue; a link that holds only what came in is dropped."""
        lost = len(self._queue) - len(self._queue) // 2
        if not lost:
            self.drop("too much waits in all links", "memory")
            return 0
        for _ in range(lost):
            self._queued -= len(self._queue.pop())
        self._account()
        return lost

    # ending

    def check_time(self, now: float) -> None:
        """Drop the link if the peer is late or takes nothing, close it if nothing went over it for long."""
        timeout = self._service.params.link_timeout
        if self._deadline is not None and now > self._deadline:
            if self.closed:
                self.abort()
            elif self.peer is None:
                self.drop("the peer did not say who it is in time", "late")
            else:
                self.drop("the peer stopped half-way", "half")
        elif self._full_since is not None and now - self._full_since > timeout and not self.closed:
            self.drop("the peer does not take what is sent to it", "stall")
        elif self.peer is not None and now - self.last_traffic > self._idle_limit:
            self.close("idle")

    def _refuse(self, reason: str, kind: str) -> None:
        """As `drop`, but our own HELLO, which may still be on its way out, reaches the peer first."""
        self._note_drop(reason, kind)
        self._end(reason)

    def drop(self, reason: str, kind: str = "broken") -> None:
        """Cut the connection to a peer that broke a rule; a line in the log, without an address.

        `kind` is one of docs/protocol/links.md, "What is counted"."""
        if not self.closed:
            self.closed = True
            self._note_drop(reason, kind)
            self._forget()
            self._tls.abortConnection()
            self._service.link_closed(self)

    def _note_drop(self, reason: str, kind: str) -> None:
        self.reason = reason
        self._service.link_dropped(reason, kind)

    def close(self, reason: str) -> None:
        """End the connection in good order, within `CLOSE_GRACE`; what the socket has still goes."""
        if not self.closed:
            self.flush()
            self._end(reason)

    def _end(self, reason: str) -> None:
        self.closed = True
        self.reason = reason
        self._forget()
        self._deadline = self._service.now() + self._service.params.link_timeout * CLOSE_GRACE
        self._tls.unregisterProducer()
        self._tls.loseConnection()
        self.read()  # to see the peer's answer
        self._service.link_closed(self)

    def abort(self) -> None:
        """Cut a connection that `close` has not ended."""
        self._tls.abortConnection()
