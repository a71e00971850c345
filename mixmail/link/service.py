"""The links of one node: listens, opens links on demand, hands messages on.

`send` never blocks and never fails: a message that finds its link's queue full, its peer unknown or not
reachable is dropped and counted.  Nothing above relies on a link; the agent's round trip does the repeating.

Rules: a message goes over the oldest link that stands to its peer; a second link (both sides called at the
same moment) is read as well and ends when idle.  A peer that cannot be reached is tried again when there is
something for it, after a wait that doubles and is drawn at random around its mean; only a link that stood
for `link_timeout` makes up for earlier failures.

What a peer can cost is bounded: `link.callers` who comes, `link.turns` whose bytes are worked on,
`link.memory` what waits; docs/protocol/links.md has all rules.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from twisted.internet.defer import Deferred, DeferredList, fail
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall, IListeningPort
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from mixmail.effects import Frame
from mixmail.errors import RemoteProtocolError, UserError
from mixmail.link.callers import Callers
from mixmail.link.certificate import Certificate
from mixmail.link.endpoints import client_endpoint, server_endpoint
from mixmail.link.frames import cut
from mixmail.link.limits import BoundedLog
from mixmail.link.memory import Memory
from mixmail.link.protocol import CLOSE_GRACE, Link
from mixmail.link.tls import client_factory, make_context, server_factory
from mixmail.link.turns import Turns
from mixmail.params import GEOMETRY, NODE_LIMITS, NetworkParameters, NodeLimits
from mixmail.randomness import Randomness, SystemRandomness

# In units of `link_timeout`, which is what a network thinks a connection may take:
SWEEP = 1 / 8  # how often late and idle links are looked for
FIRST_WAIT = 1 / 16  # mean wait after the first failure to reach a peer; doubles with each
LONGEST_WAIT = 2.0

log = Logger()


class LinkCallbacks(Protocol):
    """What the links ask of the node above them, always in the reactor's thread."""

    def hello(self) -> bytes:
        """Our own descriptor and clock, packed (`mixmail.directory.peer_clocks`)."""

    def on_hello(self, raw: bytes, cert_hash: bytes) -> bytes:
        """Check a peer's clock and descriptor and that it names the certificate used; return its node id.

        RemoteProtocolError: the link is refused; our own HELLO still goes out, so that the peer learns why
        where it can tell by itself (its clock may be the wrong one)."""

    def on_frame(self, peer: bytes, frame: Frame) -> None:
        """A message from `peer`.  RemoteProtocolError: the message is counted as broken, the link stays."""

    def on_link_up(self, peer: bytes) -> None:
        """The first link to `peer` stands."""

    def on_link_down(self, peer: bytes) -> None:
        """The last link to `peer` is gone."""

    def resolve(self, peer: bytes) -> tuple[str, bytes] | None:
        """Where `peer` is reached and the hash of its certificate; None if unknown."""


@dataclass(slots=True)
class Counters:
    """What went over the links since the start; messages and bytes on the wire by frame kind."""

    frames_in: Counter[int] = field(default_factory=Counter)
    frames_out: Counter[int] = field(default_factory=Counter)
    bytes_in: Counter[int] = field(default_factory=Counter)
    bytes_out: Counter[int] = field(default_factory=Counter)
    full: int = 0  # messages dropped because a queue was full
    late: int = 0  # messages dropped because no link came up in time
    unknown: int = 0  # messages dropped because nobody knows the peer
    broken: int = 0  # messages that the node refused
    dropped_links: int = 0
    dropped: Counter[str] = field(default_factory=Counter)  # the same by kind (docs/protocol/links.md)
    failed_connects: int = 0


Observer = Callable[[str, bytes, bytes], None]


@dataclass(slots=True, eq=False)
class _Peer:
    """What is known of a peer; as a holder of memory: the messages that wait for a link."""

    memory: Memory
    held: int = 0
    links: list[Link] = field(default_factory=list)  # up, oldest first
    waiting: deque[tuple[float, list[bytes]]] = field(default_factory=deque)  # (since, wire frames)
    waiting_frames: int = 0
    connecting: bool = False
    failures: int = 0
    retry: IDelayedCall | None = None

    @property
    def forgettable(self) -> bool:
        return not (self.links or self.waiting or self.connecting or self.retry)

    @property
    def stranger(self) -> bool:
        """Messages wait only for nodes whose address is known."""
        return False

    def relieve(self) -> int:
        """Give up the younger half of what waits."""
        lost = len(self.waiting) - len(self.waiting) // 2
        for _ in range(lost):
            self.waiting_frames -= len(self.waiting.pop()[1])
        self.hold()
        return lost

    def hold(self) -> None:
        """Say how much waits."""
        self.memory.set(self, self.waiting_frames * GEOMETRY.frame)

    def forget_waiting(self) -> None:
        """Nothing waits any more."""
        self.waiting.clear()
        self.waiting_frames = 0
        self.hold()


class LinkService:
    """All links of one node.  `observers` are called with ("in" | "out", peer id, wire frame) for each
    32,800-byte frame at the socket; the peer id is empty until the peer's HELLO has been accepted."""

    def __init__(
        self,
        reactor: Any,
        callbacks: LinkCallbacks,
        certificate: Certificate,
        params: NetworkParameters,
        rng: Randomness | None = None,
        limits: NodeLimits = NODE_LIMITS,
        ready: Callable[[], bool] = lambda: True,
    ) -> None:
        """While `ready` says no, nothing is taken from the links; then `turns.resume` must be called."""
        self.params = params
        self.limits = limits
        self.counters = Counters()
        self.observers: list[Observer] = []
        self._reactor = reactor
        self._callbacks = callbacks
        self._rng = rng or SystemRandomness()
        self._context = make_context(certificate)
        self._peers: dict[bytes, _Peer] = {}
        self._links: set[Link] = set()
        self._busy: set[Link] = set()  # have something to send at the next flush
        self._flush_call: IDelayedCall | None = None
        self._bounded_log = BoundedLog(limits, lambda text: log.info("{text}", text=text))
        self.callers = Callers(limits, self._say)
        self.turns = Turns(reactor, limits, lambda link: not link.stranger, ready)
        self.memory = Memory(limits.link_memory, self._gave_up)
        self._ports: list[IListeningPort] = []
        self._closing = False
        self._all_gone: Deferred[None] | None = None
        self._attempts: set[Deferred[Any]] = set()
        self._sweep = LoopingCall(self._look_after)
        self._sweep.clock = reactor
        sweeping = self._sweep.start(params.link_timeout * SWEEP, now=False)
        sweeping.addErrback(lambda failure: log.failure("the links are no longer looked after", failure))

    # what others call

    def listen(self, endpoint: str) -> Deferred[int]:
        """Listen on `tcp:PORT:interface=ADDRESS`; fires with the port.

        UserError "port" if it cannot be had, "endpoint" if the text is not an endpoint."""
        factory = Factory.forProtocol(lambda: Link(self))
        factory.noisy = False
        try:
            server = server_endpoint(self._reactor, endpoint, self.limits.link_backlog)
        except UserError as error:
            return fail(error)
        listening = server.listen(server_factory(self._reactor, self._context, factory, self._may_come))

        def began(port: IListeningPort) -> int:
            self._ports.append(port)
            host: Any = port.getHost()
            return int(host.port)

        def failed(failure: Failure) -> int:
            error: Any = failure.value
            if not isinstance(error, CannotListenError | OSError):
                raise error
            cause = error.socketError if isinstance(error, CannotListenError) else error
            raise UserError(
                f"Cannot listen on {endpoint}: {cause}. Stop the program that has it or choose another port.",
                code="port",
            ) from error

        return listening.addCallbacks(began, failed)

    def send(self, peer: bytes, frame: Frame) -> None:
        """Send a message to node `peer`, opening a link if there is none."""
        if self._closing:
            return
        wires = cut(frame)
        record = self._peers.setdefault(peer, _Peer(self.memory))
        if record.links:
            if not record.links[0].send(wires):
                self.counters.full += 1
            return
        if record.waiting_frames + len(wires) > self.params.link_queue:
            self.counters.full += 1
            return
        record.waiting.append((self.now(), wires))
        record.waiting_frames += len(wires)
        record.hold()
        if not record.connecting and record.retry is None:
            self._connect(peer, record)

    def flush(self) -> None:
        """Send what was handed to `send`.  It happens by itself in the reactor's next turn; a caller who has
        just sent a batch asks for it now."""
        busy, self._busy = self._busy, set()
        for link in busy:
            link.flush()

    def connect_seed(self, endpoint: str, cert_hash: bytes) -> Deferred[bytes]:
        """Open a link to a node of which only endpoint and certificate are known; fires with its id.

        UserError "endpoint" for a text that is no endpoint, "unreachable" if no link comes up."""
        result: Deferred[bytes] = Deferred()

        def unreachable(why: str) -> UserError:
            return UserError(
                f"The node at {endpoint} cannot be reached ({why}): check that it runs and the address.",
                code="unreachable",
            )

        def up(link: Link) -> None:
            assert link.peer is not None
            result.callback(link.peer)

        def refused(link: Link) -> None:
            result.errback(unreachable(link.reason))

        def failed(failure: Failure) -> None:
            result.errback(unreachable(failure.getErrorMessage() or "no answer"))

        try:
            self._open(endpoint, cert_hash, None, up, refused, failed)
        except RemoteProtocolError:
            text = f"{endpoint!r} is not a node's address: write it as tcp:host=192.0.2.1:port=4001."
            result.errback(UserError(text, code="endpoint"))
        return result

    def peers(self) -> list[bytes]:
        """The ids of the peers to which a link stands."""
        return [peer for peer, record in self._peers.items() if record.links]

    def close(self) -> Deferred[None]:
        """Stop listening and end every link; fires when all are gone."""
        self._closing = True
        if self._sweep.running:
            self._sweep.stop()
        for record in self._peers.values():
            if record.retry is not None:
                record.retry.cancel()
                record.retry = None
            record.forget_waiting()
        stopped = [port.stopListening() for port in self._ports]
        self._ports.clear()
        for attempt in list(self._attempts):
            attempt.cancel()
        if self._links:
            self._all_gone = Deferred()
            stopped.append(self._all_gone)
            grace = self._reactor.callLater(self.params.link_timeout * CLOSE_GRACE, self._abort_all)
            self._all_gone.addCallback(lambda _: grace.cancel() if grace.active() else None)
            for link in list(self._links):
                link.close("we stop")
        return DeferredList([d for d in stopped if d is not None]).addCallback(lambda _: None)

    # what the links call

    def now(self) -> float:
        """The reactor's clock."""
        return float(self._reactor.seconds())

    def draw_idle_limit(self) -> float:
        """After how many quiet seconds a link ends: random, so that the end says nothing about the start."""
        return self.params.link_idle * (1.0 + self._rng.uniform())

    def hello(self) -> bytes:
        """What we say first."""
        return self._callbacks.hello()

    def accept_hello(self, link: Link, raw: bytes, cert_hash: bytes) -> bytes:
        """The id of the peer that said this first, over a link with this certificate."""
        peer = self._callbacks.on_hello(raw, cert_hash)
        if link.called_us:
            self.callers.introduce(link, peer, self.now())
        return peer

    def knows(self, peer: bytes) -> bool:
        """Whether `peer` stands in the directory."""
        return self._callbacks.resolve(peer) is not None

    def frame_came(self, peer: bytes, frame: Frame) -> None:
        """Hand a message on; only that message is lost if the node refuses it."""
        try:
            self._callbacks.on_frame(peer, frame)
        except RemoteProtocolError as error:
            self.counters.broken += 1
            log.debug("refused a message: {error}", error=str(error))

    def wire_frame(self, direction: str, peer: bytes, wire: bytes | memoryview) -> None:
        """Count a wire frame and show it to the observers."""
        inward = direction == "in"
        frames = self.counters.frames_in if inward else self.counters.frames_out
        octets = self.counters.bytes_in if inward else self.counters.bytes_out
        frames[wire[0]] += 1
        octets[wire[0]] += len(wire)
        for observer in self.observers:
            observer(direction, peer, bytes(wire))

    def link_began(self, link: Link, host: str) -> None:
        """A TCP connection with this address stands."""
        self._links.add(link)
        if self._closing:
            link.close("we stop")
        elif link.called_us:
            self.turns.wants_handshake(link, self.callers.came(link, host))

    def link_dropped(self, reason: str, kind: str) -> None:
        """A link is dropped because of its peer."""
        self.counters.dropped_links += 1
        self.counters.dropped[kind] += 1
        self._say(kind, f"dropped a link: {reason}")

    def link_closed(self, link: Link) -> None:
        """A link takes and gives nothing any more; its connection ends soon."""
        self.callers.left(link)

    def link_has_work(self, link: Link) -> None:
        """The link has something to send, and waits a moment for more."""
        self._busy.add(link)
        if self._flush_call is None:
            self._flush_call = self._reactor.callLater(0, self._flush_now)

    def _flush_now(self) -> None:
        self._flush_call = None
        self.flush()

    def link_up(self, link: Link) -> None:
        """A link has been checked from both sides: what waited for it goes out."""
        assert link.peer is not None
        record = self._peers.setdefault(link.peer, _Peer(self.memory))
        record.links.append(link)
        if len(record.links) > self.limits.link_same_peer:
            record.links[0].drop("the peer has opened a younger link", "same")
        if record.retry is not None:
            record.retry.cancel()
            record.retry = None
        if len(record.links) == 1:
            self._callbacks.on_link_up(link.peer)
        waiting, record.waiting = record.waiting, deque()
        record.forget_waiting()
        for _, wires in waiting:
            if not record.links or not record.links[0].send(wires):
                self.counters.full += 1

    def link_ended(self, link: Link) -> None:
        """A connection is gone."""
        self._links.discard(link)
        self._busy.discard(link)
        self.callers.left(link)
        record = self._peers.get(link.peer) if link.peer is not None else None
        if record is not None and link in record.links:
            assert link.peer is not None
            record.links.remove(link)
            if self.now() - link.up_since >= self.params.link_timeout:
                record.failures = 0
            if not record.links:
                self._wait(link.peer, record)
                self._callbacks.on_link_down(link.peer)
        if self._all_gone is not None and not self._links:
            gone, self._all_gone = self._all_gone, None
            gone.callback(None)

    # opening links

    def _connect(self, peer: bytes, record: _Peer) -> None:
        where = self._callbacks.resolve(peer)
        if where is None:
            self.counters.unknown += len(record.waiting)
            record.forget_waiting()
            return
        record.connecting = True

        def up(link: Link) -> None:
            record.connecting = False

        def refused(link: Link) -> None:
            self._try_later(peer, record, link.reason)

        def failed(failure: Failure) -> None:
            self._try_later(peer, record, failure.type.__name__ if failure.type else "failed")

        try:
            self._open(*where, peer, up, refused, failed)
        except RemoteProtocolError as error:
            self._try_later(peer, record, str(error))

    def _open(
        self,
        endpoint: str,
        cert_hash: bytes,
        peer: bytes | None,
        up: Callable[[Link], None],
        refused: Callable[[Link], None],
        failed: Callable[[Failure], None],
    ) -> None:
        """Call `up` when the link stands, `refused` if it ended before, `failed` if there was none."""
        client = client_endpoint(self._reactor, endpoint)
        factory = Factory.forProtocol(lambda: Link(self, cert_hash, peer, up, refused))
        factory.noisy = False
        attempt = client.connect(client_factory(self._reactor, self._context, cert_hash, factory))
        self._attempts.add(attempt)
        attempt.addTimeout(self.params.link_timeout, self._reactor)

        def done(result: object) -> object:
            self._attempts.discard(attempt)
            return result

        attempt.addBoth(done).addErrback(failed)

    def _try_later(self, peer: bytes, record: _Peer, reason: str) -> None:
        record.connecting = False
        if self._closing:
            return
        self.counters.failed_connects += 1
        log.debug("no link to a peer: {reason}", reason=reason)
        if not record.links:
            self._wait(peer, record)

    def _wait(self, peer: bytes, record: _Peer) -> None:
        """Open no link to `peer` for a while.  Also after a link that stood: in TLS 1.3 a client whose
        certificate or descriptor is refused believes for a moment that the link stands."""
        if self._closing or record.retry is not None:
            return
        mean = self.params.link_timeout * min(FIRST_WAIT * 2.0 ** min(record.failures, 16), LONGEST_WAIT)
        record.failures += 1

        def again() -> None:
            record.retry = None
            if record.waiting and not record.links:
                self._connect(peer, record)

        record.retry = self._reactor.callLater(mean * (0.5 + self._rng.uniform()), again)

    # looking after them

    def _look_after(self) -> None:
        now = self.now()
        for link in list(self._links):
            link.check_time(now)
        for peer, record in list(self._peers.items()):
            self._forget_late(record)
            if record.forgettable:
                del self._peers[peer]

    def _forget_late(self, record: _Peer) -> None:
        """Messages that have waited `link_timeout` for a link are no use to anybody any more."""
        oldest = self.now() - self.params.link_timeout
        while record.waiting and record.waiting[0][0] < oldest:
            _, wires = record.waiting.popleft()
            record.waiting_frames -= len(wires)
            self.counters.late += 1
        record.hold()

    # bounds

    def _may_come(self, host: str) -> bool:
        return self.callers.may_come(host, self.now())

    def _say(self, kind: str, text: str) -> None:
        self._bounded_log.say(kind, text, self.now())

    def _gave_up(self, messages: int) -> None:
        self.counters.full += messages

    def _abort_all(self) -> None:
        for link in list(self._links):
            link.abort()
