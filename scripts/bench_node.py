"""What one real node relays: `scripts/bench node`.

The node is `mixmail node` in a process of its own, alone on one core.  This process, on another core, is
all of its peers: senders whose packets were made beforehand, and receivers, each behind a TLS link of its
own.  Nothing is switched off in the node: it checks MACs and replays, opens bodies, holds each packet for
the delay that the packet asks for (the law of the `demo` preset, halved at full load) and on to the next
tick, and fills its own slots.  A receiver opens a part of what it gets and compares it with what was sent.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from mixmail.daemon.clock import SteadyClock
from mixmail.daemon.home import NodeConfig, NodeHome, solve_keys
from mixmail.directory.descriptor import FULL, Descriptor, Role, build, epoch_of
from mixmail.directory.network_file import NetworkFile
from mixmail.directory.peer_clocks import pack_hello, parse_hello
from mixmail.directory.puzzle import Proof
from mixmail.effects import Frame
from mixmail.errors import RemoteProtocolError, UserError
from mixmail.link import certificate
from mixmail.mixing import delays
from mixmail.mixing.ticks import first_tick_from, tick_time
from mixmail.node.keys import EpochKeys
from mixmail.node.wire import Kind
from mixmail.params import DEMO, GEOMETRY, ID_BYTES, NODE_LIMITS, Network, day_of
from mixmail.randomness import SystemRandomness
from mixmail.sphinx.command import CommandKind
from mixmail.sphinx.create import Hop, create_packet
from mixmail.sphinx.unwrap import open_header

SENDERS = 4
RECEIVERS = 4
WINDOW = min(NODE_LIMITS.mix_pool, NODE_LIMITS.link_memory // GEOMETRY.frame) - 31
"""Packets on their way at most (480): with more, a fast node's pool or links would be full and drop some."""
FULL_LOAD = 0.5
"""Delays at full load, of what the law gives.  Whole ones, 170 ms in the mean and on to the next tick, would
leave WINDOW packets no more than 2,600 a second, whatever the node could do."""
OPENED = 50  # every so many packets are opened by their receiver
UNWRAPS, PASSES = 400, 10  # different packets for the unwrap-only rate of a round, and how often each
START_LIMIT = 60.0  # seconds until the node must answer
QUIET_LIMIT = 10.0  # seconds without a packet after which the rest counts as lost
FEED = 32  # packets sent in one turn of the reactor

Say = Callable[[str], None]


@dataclass(slots=True)
class Sample:
    """One packet of the bench and what became of it; times in unix seconds."""

    packet: bytes
    delay: float
    sent: float = 0.0
    came: float = 0.0


@dataclass(slots=True)
class Load:
    """One round: samples by number, and what the receivers saw."""

    samples: list[Sample]
    keep: int  # every so many packets are kept until the end and opened
    arrivals: list[float] = field(default_factory=list)
    kept: list[tuple[int, bytes, float]] = field(default_factory=list)  # (receiver, packet, when it came)
    cpu: dict[int, float] = field(default_factory=dict)  # the node's processor time at these arrivals


class Peer:
    """One of the node's peers: the callbacks of a `LinkService`, and its keys."""

    def __init__(self, place: Path, network: Network, roles: int, now: float, came: Callable[[bytes], None]):
        rng = SystemRandomness()
        keys = solve_keys(network, None, now, rng)
        epochs = EpochKeys(network.parameters, rng)
        epochs.rotate(now)
        place.mkdir()
        self.certificate = certificate.make(place)
        self.node_id = keys.node_id
        self.key = epochs.live_mix(now)[0][1]
        self.other: Descriptor | None = None
        self.links: Any = None
        self._came = came
        self._descriptor = build(
            keys.seed,
            network,
            day=day_of(now),
            revision=1,
            epoch=epochs.epoch,
            mix_keys=epochs.public_mix(),
            proxy_keys=epochs.public_proxy(),
            endpoint="tcp:host=127.0.0.1:port=9",  # nobody calls it: it calls the node
            link_cert_hash=self.certificate.hash,
            proof=Proof(keys.nonce, keys.q, keys.storage_id),
            roles=roles,
            stamp_bits=network.parameters.box_bits,
        )

    def hello(self) -> bytes:
        """Our descriptor and clock."""
        return pack_hello(self._descriptor.raw, time.time())

    def on_hello(self, raw: bytes, cert_hash: bytes) -> bytes:
        """The node's descriptor, whose mix key the packets need."""
        other = Descriptor.parse(parse_hello(raw)[0])
        if other.link_cert_hash != cert_hash:
            raise RemoteProtocolError("the descriptor names another link certificate")
        self.other = other
        return other.node_id

    def on_frame(self, peer: bytes, frame: Frame) -> None:
        """What the node sends; only packets count."""
        if frame.kind == Kind.PACKET:
            self._came(frame.payload)

    def on_link_up(self, peer: bytes) -> None:
        """The link stands; whoever opened it knows."""

    def on_link_down(self, peer: bytes) -> None:
        """The link is gone: the round ends without its packets."""

    def resolve(self, peer: bytes) -> None:
        """No new links."""
        return None


class Bench:
    """The rounds on one node, which gets `core` for itself; `reactor` runs until `run` has fired."""

    def __init__(self, reactor: Any, place: Path, core: int, say: Say) -> None:
        self.figures: dict[str, float] = {}
        self._reactor = reactor
        self._say = say
        self._clock = SteadyClock()
        self._rng = SystemRandomness()
        self._network = Network(self._rng.bytes(32), day_of(self._clock.now()), DEMO)
        self._place = place
        self._load = Load([], 1)
        self._arrived: Callable[[], None] = lambda: None
        self._core = core
        self._node = self._start_node()
        now = self._clock.now()
        # Receivers take no part in the node's own paths, so what comes to them is from the bench.
        roles = [int(FULL)] * SENDERS + [int(Role.MIX)] * RECEIVERS
        self._peers = [
            Peer(place / f"peer-{number}", self._network, role, now, self._receiver(number - SENDERS))
            for number, role in enumerate(roles)
        ]

    # the node

    def _start_node(self) -> subprocess.Popen[bytes]:
        home = NodeHome(self._place / "node")
        home.save_keys(solve_keys(self._network, None, self._clock.now(), self._rng))
        self._certificate = certificate.load_or_make(home.path)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        home.write_config(NodeConfig(listen=f"tcp:{self._port}:interface=127.0.0.1"))
        network = self._network
        home.write_network_file(NetworkFile(network.network_id, network.birth_day, DEMO.name, ()))
        command = [sys.executable, "-m", "mixmail", "node", "--home", str(home.path)]
        with (self._place / "node.log").open("wb") as log, on_core(self._core):
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def close(self) -> None:
        """End the node."""
        self._node.send_signal(signal.SIGTERM)
        try:
            self._node.wait(20)
        except subprocess.TimeoutExpired:
            self._node.kill()
            self._node.wait()

    def _words(self) -> str:
        return " / ".join((self._place / "node.log").read_text(errors="replace").splitlines()[-3:])

    def _cpu(self) -> float:
        """Seconds of processor time that the node has used, all threads, user and system."""
        fields = Path(f"/proc/{self._node.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _kept_waiting(self) -> float:
        """Seconds that the node's main thread was ready to run and something else had its core."""
        return int(Path(f"/proc/{self._node.pid}/schedstat").read_text().split()[1]) / 1e9

    # packets

    def _receiver(self, number: int) -> Callable[[bytes], None]:
        def came(packet: bytes) -> None:
            if number < 0:
                return  # the node's own traffic to somebody whom it takes for a mix
            load, now = self._load, self._clock.now()
            count = len(load.arrivals)
            load.arrivals.append(now)
            if count % load.keep == 0:
                load.kept.append((number, packet, now))
            if count in load.cpu:
                load.cpu[count] = self._cpu()
            self._arrived()

        return came

    def _make(self, count: int, keep: int, share: float = 1.0) -> Load:
        """Packets for the node, the receivers in turn; the number of each stands in its last command.

        `share`: of the delays that the law gives.
        """
        first = self._peers[0].other
        assert first is not None  # its link stands
        key = first.mix_key(epoch_of(DEMO, self._clock.now()))
        waits = [round(share * wait) for wait in delays.draw_delays_ms(DEMO, self._rng, count)]
        samples = []
        for number, wait in enumerate(waits):
            target = self._peers[SENDERS + number % RECEIVERS]
            path = [Hop(first.node_id, key, wait), Hop(target.node_id, target.key.public, 0)]
            final = (CommandKind.DELIVER, number.to_bytes(ID_BYTES, "big"))
            packet = create_packet(path, payload_of(number), self._rng, final)
            samples.append(Sample(packet, wait / delays.MS))
        return Load(samples, keep)

    def _open_kept(self, load: Load) -> None:
        """What came must be what was sent; fills in when each came."""
        for receiver, packet, when in load.kept:
            opened = open_header([self._peers[SENDERS + receiver].key], packet)
            number = int.from_bytes(opened.command.ident, "big")
            if opened.finish() != payload_of(number) or number % RECEIVERS != receiver:
                raise UserError("The node relayed a packet that nobody sent.", "bench")
            load.samples[number].came = when

    def _unwrap_only(self) -> float:
        """Unwraps a second of processor time on the node's core, each of another packet."""
        target = self._peers[0].key
        path = [Hop(bytes(32), target.public, 0), Hop(bytes(32), self._peers[1].key.public, 0)]
        payload = payload_of(0)
        packets = [create_packet(path, payload, self._rng) for _ in range(UNWRAPS)]
        with on_core(self._core):
            begun = time.process_time()
            for packet in packets * PASSES:
                open_header((target,), packet).finish()
            return PASSES * UNWRAPS / (time.process_time() - begun)

    # rounds

    def run(self, rounds: int, count: int) -> Any:
        """All rounds; a Deferred."""
        from twisted.internet.defer import inlineCallbacks

        @inlineCallbacks
        def all_rounds() -> Any:
            yield from self._connect()
            relayed, walls, unwraps, busy = [], [], [], []
            for number in range(rounds):
                unwraps.append(self._unwrap_only())
                load = self._make(count, OPENED, FULL_LOAD)
                wall, cpu = yield from self._saturate(load)
                walls.append(wall)
                relayed.append(cpu)
                busy.append(wall / cpu)
                self._say(
                    f"round {number + 1} of {rounds}: {wall:.0f} packets/s, {cpu:.0f} a second of processor "
                    f"time, unwrap only {unwraps[-1]:.0f}"
                )
            load = self._make(count, 1)
            waited = self._kept_waiting()
            begun = self._clock.now()
            yield from self._pace(load, max(walls) / 2)
            self._say(
                f"half load: others had the node's core for {self._kept_waiting() - waited:.2f} "
                f"of {self._clock.now() - begun:.2f} s while it wanted to run"
            )
            late, over = lateness(load)
            self.figures = {
                # round by round, as a core's speed changes by more than what is measured here
                "relay_over_unwrap": median(one / other for one, other in zip(relayed, unwraps, strict=True)),
                "packets_per_s": max(walls),
                "packets_per_cpu_s": max(relayed),
                "unwraps_per_cpu_s": max(unwraps),
                "busy": max(busy),
                "extra_delay_p99_ms": quantile(over, 0.99) * 1e3,
                "after_tick_p99_ms": quantile(late, 0.99) * 1e3,
            }

        return all_rounds()

    def _connect(self) -> Iterator[Any]:
        from twisted.internet.task import deferLater

        from mixmail.link.service import LinkService

        endpoint = f"tcp:host=127.0.0.1:port={self._port}"
        deadline = time.monotonic() + START_LIMIT
        for peer in self._peers:
            peer.links = LinkService(self._reactor, peer, peer.certificate, DEMO)
            while True:
                if self._node.poll() is not None or time.monotonic() > deadline:
                    raise UserError(f"The node did not come up: {self._words()}", "bench")
                try:
                    yield peer.links.connect_seed(endpoint, self._certificate.hash)
                    break
                except UserError:  # it has not opened its port yet
                    yield deferLater(self._reactor, 0.1)
        self._say(f"a node with {SENDERS} links in and {RECEIVERS} links out")

    def _send(self, number: int) -> None:
        sample, sender = self._load.samples[number], self._peers[number % SENDERS]
        sample.sent = self._clock.now()
        assert sender.other is not None
        sender.links.send(sender.other.node_id, Frame(Kind.PACKET, 0, sample.packet))
        sample.packet = b""

    def _saturate(self, load: Load) -> Iterator[Any]:
        """As fast as the node takes them: (packets a second, packets a second of its processor time)."""
        from twisted.internet.defer import Deferred

        count = len(load.samples)
        window = min(WINDOW, count // 4)
        first, last = window, count - window - 1  # the pool is full between the two
        load.cpu = {first: 0.0, last: 0.0}
        self._load = load
        done: Deferred[None] = Deferred()
        following = iter(range(count))

        def fill() -> None:
            """Send what the window allows, a little in each turn."""
            for _ in range(FEED):
                number = next(following, None)
                if number is None:
                    return
                self._send(number)
                if number - len(load.arrivals) >= window:
                    return
            self._reactor.callLater(0, fill)

        def arrived() -> None:
            if len(load.arrivals) == count:
                done.callback(None)
            else:
                number = next(following, None)
                if number is not None:
                    self._send(number)

        self._arrived = arrived
        fill()
        yield from self._until(done, load)
        self._open_kept(load)
        relayed = last - first
        wall = relayed / (load.arrivals[last] - load.arrivals[first])
        return wall, relayed / (load.cpu[last] - load.cpu[first])

    def _pace(self, load: Load, rate: float) -> Iterator[Any]:
        """Packets at random moments, `rate` a second in the mean."""
        from twisted.internet.defer import Deferred

        count = len(load.samples)
        self._load = load
        done: Deferred[None] = Deferred()
        moments = []
        moment = self._clock.now()
        for _ in range(count):
            moment += self._rng.exponential(1 / rate)
            moments.append(moment)
        following = 0

        def turn() -> None:
            nonlocal following
            while following < count and moments[following] <= self._clock.now():
                self._send(following)
                following += 1
            if following < count:
                self._reactor.callLater(max(0.0, moments[following] - self._clock.now()), turn)

        def arrived() -> None:
            if len(load.arrivals) == count:
                done.callback(None)

        self._arrived = arrived
        turn()
        yield from self._until(done, load)
        self._open_kept(load)

    def _until(self, done: Any, load: Load) -> Iterator[Any]:
        """Wait for `done`, or until nothing has come for a while."""
        from twisted.internet.task import LoopingCall

        seen = -1

        def look() -> None:
            nonlocal seen
            if self._node.poll() is not None:
                done.errback(UserError(f"The node ended: {self._words()}", "bench"))
            elif seen == len(load.arrivals) and not done.called:
                lost = len(load.samples) - seen
                done.errback(UserError(f"The node lost {lost} packets: {self._words()}", "bench"))
            seen = len(load.arrivals)

        watch = LoopingCall(look)
        watch.clock = self._reactor
        watch.start(QUIET_LIMIT)
        try:
            yield done
        finally:
            watch.stop()
            self._arrived = lambda: None


def payload_of(number: int) -> bytes:
    """What packet `number` carries."""
    return number.to_bytes(8, "big") * (GEOMETRY.payload // 8) + bytes(GEOMETRY.payload % 8)


def lateness(load: Load) -> tuple[list[float], list[float]]:
    """Seconds by which packets came after the tick at which they were due, and beyond delay and one tick."""
    late, over = [], []
    for sample in load.samples:
        if sample.came:
            due = tick_time(DEMO, first_tick_from(DEMO, sample.sent + sample.delay))
            late.append(sample.came - due)
            over.append(sample.came - sample.sent - sample.delay - DEMO.tick)
    return late, over


def quantile(values: list[float], share: float) -> float:
    """The value below which `share` of them lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Run on this core inside; children that are started inside stay there."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def measure(rounds: int, packets: int, say: Say) -> dict[str, float]:
    """The best of `rounds` rounds with `packets` packets each.  UserError: the node failed or lost some."""
    if not hasattr(os, "sched_setaffinity") or not Path("/proc/self/stat").exists():
        raise UserError("bench node needs Linux: it pins processes and reads their time from /proc.", "linux")
    from twisted.internet import reactor  # a process has one, and it runs once

    everything: Any = reactor
    failures: list[BaseException] = []
    cores = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory(prefix="mixmail-bench-") as place, on_core(min(cores)):
        bench = Bench(everything, Path(place), max(cores), say)
        try:

            def begin() -> None:
                running = bench.run(rounds, packets)
                running.addErrback(lambda failure: failures.append(failure.value))
                running.addBoth(lambda _: everything.stop())

            everything.callWhenRunning(begin)
            everything.run()
        finally:
            bench.close()
    if failures:
        raise failures[0]
    if not bench.figures:
        raise KeyboardInterrupt
    return bench.figures
