"""`scripts/soak flood`: one real node under three times the load that it can carry, and 2,000 idle callers.

The node is `mixmail node` in a process of its own.  Its capacity is measured first, as `scripts/bench node`
does it.  Then flooders, processes of their own behind TLS links, offer three times that; each makes its
packets beforehand and sends them again and again: the first round is relayed, in later ones the node opens
each packet as far as its replay check.  Meanwhile this process opens idle connections, opens them anew
when the node has dropped them, connects honestly (TCP, TLS and HELLO), and watches the node's memory.

Recovered: five honest packets in a row pass within the longest time that one took before the flood, and a
tick.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench_node import Bench, Peer, payload_of, quantile

from mixmail.directory.descriptor import FULL, epoch_of
from mixmail.effects import Frame
from mixmail.errors import UserError
from mixmail.node.wire import Kind
from mixmail.params import DEMO, Network
from mixmail.randomness import SystemRandomness
from mixmail.sphinx.create import Hop, create_packet

OVERLOAD = 3
FLOODERS = 2
PACKETS = 2_000  # made beforehand by each flooder
STEP = 0.02  # seconds between two batches of a flooder
IDENTITIES = 20  # honest callers, in turn: a node id may come once in ten seconds
CONNECT_STEP = 0.5
REOPENED = 100  # idle connections opened anew in one such step, at most
PROBES = 20
IN_A_ROW = 5
LOST = 2.0  # seconds after which an honest packet counts as lost
BARS = {"connect_p99_s": 1.0, "rss_over_base_mib": 64.0}
SHORT, RECOVER_SHORT, RECOVER = 60.0, 10.0, 60.0  # up to 60 s of flood the node has 10 s, beyond it 60 s


def say(text: str) -> None:
    """Progress."""
    print(f"soak: {text}", file=sys.stderr, flush=True)


def to_itself(peer: Peer, delay_ms: int, number: int) -> bytes:
    """A packet that the node relays to the peer that sends it."""
    node = peer.other
    assert node is not None  # its link stands
    path = [
        Hop(node.node_id, node.mix_key(epoch_of(DEMO, time.time())), delay_ms),
        Hop(peer.node_id, peer.key.public, 0),
    ]
    return create_packet(path, payload_of(number), SystemRandomness())


def flooder(order: dict[str, Any]) -> None:
    """A process of its own: says "ready", floods when a line comes, then prints what it offered and got."""
    from twisted.internet import reactor as found
    from twisted.internet.defer import inlineCallbacks
    from twisted.internet.threads import deferToThread

    from mixmail.link.service import LinkService

    reactor: Any = found
    network = Network(bytes.fromhex(order["network"]), order["birth_day"], DEMO)
    got = [0, 0]

    def came(packet: bytes) -> None:
        got[0] += 1

    peer = Peer(Path(order["place"]), network, int(FULL), time.time(), came)
    peer.links = LinkService(reactor, peer, peer.certificate, DEMO)

    @inlineCallbacks
    def run() -> Any:
        id = yield peer.links.connect_seed(order["endpoint"], bytes.fromhex(order["hash"]))
        packets = [to_itself(peer, 100, number) for number in range(PACKETS)]
        print("ready", flush=True)
        seconds = float((yield deferToThread(sys.stdin.readline)))
        begun = time.monotonic()

        def step() -> None:
            now = time.monotonic() - begun
            while got[1] < min(now, seconds) * order["rate"]:
                peer.links.send(id, Frame(Kind.PACKET, 0, packets[got[1] % PACKETS]))
                got[1] += 1
            if now < seconds:
                reactor.callLater(STEP, step)
            else:
                full = peer.links.counters.full
                print(json.dumps({"offered": got[1], "held_back": full, "back": got[0]}), flush=True)
                for link in peer.links._links:
                    link.abort()
                reactor.callLater(STEP, reactor.stop)

        step()

    reactor.callWhenRunning(
        lambda: run().addErrback(lambda failure: (failure.printTraceback(), reactor.stop()))
    )
    reactor.run()


class Flood(Bench):
    """The node of the bench, its capacity, and then the flood; `result` has the figures."""

    result: dict[str, Any]

    def soak(self, seconds: float, idle: int) -> Any:
        """All of it; a Deferred."""
        from twisted.internet.defer import inlineCallbacks

        self._came: dict[bool, Any] = {}
        self._connects: list[float] = []
        self._failed = 0
        self._idle: list[socket.socket] = []
        self._flooding = True
        self._connecting = False
        self._lost = 0

        @inlineCallbacks
        def all_of_it() -> Any:
            yield from self._connect()
            base = peak = self._rss()
            capacity, _ = yield from self._saturate(self._make(4_000, 50))
            say(f"capacity {capacity:.0f} packets/s, base {base:.0f} MiB")
            now = self._clock.now()
            callers = [
                Peer(self._place / f"caller-{number}", self._network, int(FULL), now, self._probe_came)
                for number in range(IDENTITIES)
            ]
            self._prober = callers.pop()
            yield self._call(self._prober)
            normal = []
            for _ in range(PROBES):
                normal.append((yield from self._probe()))
            bar = max(normal) + DEMO.tick
            say(f"an honest packet passes within {max(normal):.3f} s")
            flooders = self._start_flooders(capacity)
            for one in flooders:
                assert one.stdin is not None
                one.stdin.write(f"{seconds}\n".encode())
                one.stdin.flush()
            ends = time.monotonic() + seconds
            number = 0
            while time.monotonic() < ends:
                self._keep_idle(idle)
                yield from self._honest(callers[number % len(callers)])
                peak = max(peak, self._rss())
                number += 1
            for connection in self._idle:
                connection.close()
            over = time.monotonic()
            row = 0
            since = over
            while row < IN_A_ROW:
                began = time.monotonic()
                took = yield from self._probe()
                row = row + 1 if took <= bar else 0
                since = began if row == 1 else since
                peak = max(peak, self._rss())
                if began - over > 3 * RECOVER:
                    break
            told = [json.loads(one.communicate()[0].splitlines()[-1]) for one in flooders]
            say(f"flooders: {told}")
            self.result = {
                "soak": "flood",
                "n": len(self._connects),
                "connect_p50_s": round(quantile(self._connects, 0.5), 4),
                "connect_p99_s": round(quantile(self._connects, 0.99), 4),
                "connects_failed": self._failed,
                "rss_over_base_mib": round(peak - base, 1),
                "recovered_s": round(since - over, 3) if row == IN_A_ROW else None,
                "normal_s": round(max(normal), 3),
                "capacity_per_s": round(capacity),
                "offered_per_s": round(sum(one["offered"] for one in told) / seconds),
                "seconds": seconds,
                "idle": idle,
            }

        return all_of_it()

    def _rss(self) -> float:
        """MiB of the node."""
        lines = Path(f"/proc/{self._node.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

    def _call(self, peer: Peer) -> Any:
        from mixmail.link.service import LinkService

        peer.links = LinkService(self._reactor, peer, peer.certificate, DEMO)
        endpoint = f"tcp:host=127.0.0.1:port={self._port}"
        return peer.links.connect_seed(endpoint, self._certificate.hash)

    def _honest(self, peer: Peer) -> Iterator[Any]:
        """One honest connect, and the rest of its step."""
        from twisted.internet.task import deferLater

        begun = time.monotonic()
        try:
            yield self._call(peer)
            self._connects.append(time.monotonic() - begun)
        except UserError as error:
            self._failed += 1
            self._connects.append(DEMO.link_timeout)  # counts as the longest
            say(f"an honest connect failed: {error}")
        yield peer.links.close()
        yield deferLater(self._reactor, max(0.0, CONNECT_STEP - (time.monotonic() - begun)))

    def _keep_idle(self, count: int) -> None:
        """Open what is missing of `count` idle connections."""
        standing = []
        for connection in self._idle:
            try:
                gone = connection.recv(1, socket.MSG_PEEK) == b""
            except BlockingIOError:
                gone = False
            except OSError:
                gone = True
            if gone:
                connection.close()
            else:
                standing.append(connection)
        most = count if not self._idle else len(standing) + REOPENED
        while len(standing) < min(count, most):
            connection = socket.socket()
            connection.setblocking(False)
            connection.connect_ex(("127.0.0.1", self._port))
            standing.append(connection)
        self._idle = standing

    def _probe_came(self, packet: bytes) -> None:
        waiting = self._came.pop(True, None)
        if waiting is not None and not waiting.called:
            waiting.callback(None)

    def _probe(self) -> Iterator[Any]:
        """How long one honest packet takes; infinite if it does not come back in time."""
        from twisted.internet.defer import Deferred, TimeoutError

        came: Deferred[None] = Deferred()
        self._came[True] = came
        came.addTimeout(LOST, self._reactor)
        begun = time.monotonic()
        peer = self._prober
        assert peer.other is not None
        peer.links.send(peer.other.node_id, Frame(Kind.PACKET, 0, to_itself(peer, 0, 0)))
        try:
            yield came
        except TimeoutError:
            return float("inf")
        return time.monotonic() - begun

    def _start_flooders(self, capacity: float) -> list[subprocess.Popen[bytes]]:
        flooders = []
        for number in range(FLOODERS):
            order = {
                "network": self._network.network_id.hex(),
                "birth_day": self._network.birth_day,
                "place": str(self._place / f"flooder-{number}"),
                "endpoint": f"tcp:host=127.0.0.1:port={self._port}",
                "hash": self._certificate.hash.hex(),
                "rate": OVERLOAD * capacity / FLOODERS,
            }
            command = [sys.executable, __file__, json.dumps(order)]
            flooders.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        for one in flooders:
            assert one.stdout is not None
            if one.stdout.readline() != b"ready\n":
                raise UserError("A flooder did not come up.", "soak")
        return flooders


def flood(seconds: float, idle: int) -> dict[str, Any]:
    """The figures, and `failed`: the bars that were missed."""
    from twisted.internet import reactor as found

    reactor: Any = found
    failures: list[BaseException] = []
    with tempfile.TemporaryDirectory(prefix="mixmail-soak-") as place:
        soak = Flood(reactor, Path(place), max(os.sched_getaffinity(0)), say)
        try:

            def begin() -> None:
                running = soak.soak(seconds, idle)
                running.addErrback(lambda failure: failures.append(failure.value))
                running.addBoth(lambda _: reactor.stop())

            reactor.callWhenRunning(begin)
            reactor.run()
        finally:
            soak.close()
    if failures:
        raise failures[0]
    result = soak.result
    bars = {**BARS, "recovered_s": RECOVER_SHORT if seconds <= SHORT else RECOVER}
    failed = [key for key, bar in bars.items() if result[key] is None or result[key] > bar]
    return {**result, "failed": failed}


if __name__ == "__main__":
    flooder(json.loads(sys.argv[1]))
