"""`scripts/soak wire`: a capture of a private network's real traffic; does it tell when its people write?

Twelve nodes in real processes on loopback, preset `demo`.  The time is cut into blocks, half of them (drawn
by the seed) busy: you and a friend write to each other all the time; in the others nobody writes.  Between
two blocks everything written has arrived and nothing is captured.  What an observer of the wire sees is
taken from a raw socket on the loopback interface: who sends to whom, how many bytes, when.  The bytes of
one connection that come within MERGE of each other are one burst.

For you and for the friend, and for each quantity, the Kolmogorov-Smirnov distance between busy and idle
blocks is compared with its law when the blocks are dealt anew (mixmail/lab/wire.py).  Needs Linux and the
right to capture (root or CAP_NET_RAW).
"""

from __future__ import annotations

import math
import os
import socket
import struct
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from real_network import Person, real_network
from waiting import wait_for

from mixmail.daemon.home import NodeHome
from mixmail.errors import UserError
from mixmail.lab.wire import LEVEL, p_value
from mixmail.params import DEMO, GEOMETRY

NODES = 12
BUSY, IDLE = "busy", "idle"
QUANTITIES = ("gaps", "bytes_in_slot", "bytes_to_peer")
LIMIT = LEVEL / (2 * len(QUANTITIES))  # of two people (Bonferroni)
FEWEST = 14  # blocks: dealt at random, fewer can look like the truth too often for any p to be small enough
MERGE = 0.002  # seconds: a frame comes in several segments; ticks, at which frames leave, are 25 ms apart
MAIL_EVERY = 6.0  # seconds between two mails of one person in a busy block
HEADERS = 96  # bytes of each packet that are kept: Ethernet, IP and TCP headers
PORTS_EVERY = 1.0

ETHERNET, IPV4, TCP = 14, 0x0800, 6
SOL_PACKET, PACKET_STATISTICS = 263, 6


@dataclass(frozen=True, slots=True)
class Segment:
    """TCP payload seen on the interface: ports, bytes, and when."""

    source: int
    target: int
    size: int
    time: float


@dataclass(slots=True)
class Block:
    """What one block showed of one person's node."""

    kind: str
    begin: float
    end: float
    segments: list[Segment] = field(default_factory=list)


def parse(packet: bytes, moment: float) -> Segment | None:
    """A captured packet's payload, None for what is not TCP over IPv4 or carries nothing.

    RFC 791 3.1 and RFC 9293 3.1: lengths of the headers in words of 4 bytes, of the whole packet in bytes.
    """
    if len(packet) < ETHERNET + 20 or struct.unpack_from("!H", packet, 12)[0] != IPV4:
        return None
    header = 4 * (packet[ETHERNET] & 15)
    tcp = ETHERNET + header
    if packet[ETHERNET + 9] != TCP or len(packet) < tcp + 20:
        return None
    (whole,) = struct.unpack_from("!H", packet, ETHERNET + 2)
    size = whole - header - 4 * (packet[tcp + 12] >> 4)
    source, target = struct.unpack_from("!HH", packet, tcp)
    return Segment(source, target, size, moment) if size > 0 else None


def bursts(segments: Sequence[Segment]) -> list[Segment]:
    """Segments of one connection that follow each other within MERGE, as one, in order of time."""
    open_ones: dict[tuple[int, int], tuple[Segment, float]] = {}
    found = []
    for one in sorted(segments, key=lambda segment: segment.time):
        way = one.source, one.target
        first, last = open_ones.get(way, (None, 0.0))
        if first is not None and one.time - last <= MERGE:
            first = Segment(first.source, first.target, first.size + one.size, first.time)
        else:
            found += [first] if first is not None else []
            first = one
        open_ones[way] = first, one.time
    found += [first for first, _ in open_ones.values()]
    return sorted(found, key=lambda segment: segment.time)


def values_of(block: Block, slot: float = DEMO.slot) -> dict[str, NDArray[np.float64]]:
    """The quantities of one block: gaps between bursts, bytes in each slot, bytes to each peer by size."""
    seen = bursts(block.segments)
    slots = int((block.end - block.begin) / slot)
    in_slot = np.zeros(slots)
    to_peer: dict[int, int] = defaultdict(int)
    for one in seen:
        which = int((one.time - block.begin) / slot)
        if 0 <= which < slots:
            in_slot[which] += one.size
        to_peer[one.target] += one.size
    return {
        "gaps": np.diff(np.array([one.time for one in seen])),
        "bytes_in_slot": in_slot,
        "bytes_to_peer": np.array(sorted(to_peer.values()), dtype=float),
    }


def tell(blocks: Sequence[Block], seed: int) -> dict[str, float]:
    """p of each quantity: how rarely blocks dealt at random differ as much as busy and idle ones do."""
    roles = np.array([block.kind for block in blocks])
    values = [values_of(block) for block in blocks]
    rng = np.random.default_rng(seed)
    return {name: p_value([one[name] for one in values], roles, BUSY, IDLE, rng) for name in QUANTITIES}


def ports_of(pid: int) -> set[int]:
    """The local TCP ports of a process, from /proc."""
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            name = os.readlink(entry)
        except FileNotFoundError:
            continue  # closed meanwhile
        if name.startswith("socket:["):
            inodes.add(name[8:-1])
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[9] in inodes}


class Capture:
    """A raw socket on loopback, read by a thread of its own while `running` is set."""

    def __init__(self) -> None:
        try:
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(IPV4))
        except (AttributeError, PermissionError) as error:
            raise UserError(
                "To capture needs Linux and root (or CAP_NET_RAW): run it as root.", "capture"
            ) from error
        self.socket.bind(("lo", IPV4))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
        self.socket.settimeout(0.2)
        self.running = threading.Event()
        self.closing = False
        self.segments: list[Segment] = []
        self.missed = 0
        self.thread = threading.Thread(target=self._read, name="capture")
        self.thread.start()

    def _read(self) -> None:
        while not self.closing:
            try:
                packet = self.socket.recv(HEADERS)  # once: a tap of one protocol sees no outgoing copy
            except TimeoutError:
                continue
            if self.running.is_set():
                segment = parse(packet, time.monotonic())
                if segment is not None:
                    self.segments.append(segment)

    def start(self) -> None:
        """From now on packets count."""
        self._statistics()
        self.segments = []
        self.running.set()

    def stop(self) -> list[Segment]:
        """What was seen since `start`."""
        self.running.clear()
        self.missed += self._statistics()
        return self.segments

    def _statistics(self) -> int:
        """Packets that the kernel dropped since the last call."""
        return int(struct.unpack("II", self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1])

    def close(self) -> None:
        """End the thread."""
        self.closing = True
        self.thread.join()
        self.socket.close()


def say(text: str) -> None:
    """Progress."""
    print(f"soak: {text}", file=sys.stderr, flush=True)


def _all_read(people: Sequence[tuple[Person, str]], subjects: set[str]) -> bool:
    """Whether every mail has been read by its receiver, and the senders know."""
    found: set[str] = set()
    for person, _ in people:
        found |= {row.subject for row in person.folder("inbox")}
    return subjects <= found and not any(person.folder("outbox") for person, _ in people)


def _pid(person: Person) -> int:
    pid = NodeHome(person.home.folder).holder()
    if pid is None:
        raise UserError(f"The daemon of {person.home.folder} has ended: see its log.", "daemon")
    return pid


def _write(people: Sequence[tuple[Person, str]], subject: str) -> set[str]:
    """One mail from each to the other; their subjects."""
    subjects = {f"{subject} to {other}" for _, other in people}
    for person, other in people:
        person.send(other, f"{subject} to {other}", "Does it show?\n" * 400)
    return subjects


def _block(
    people: Sequence[tuple[Person, str]], kind: str, number: int, seconds: float, capture: Capture
) -> tuple[list[Block], int]:
    """One block of each person, and how many mails were written (all have been read at the end)."""
    ports: list[set[int]] = [set() for _ in people]
    subjects: set[str] = set()
    begin = time.monotonic()
    capture.start()
    next_mail = begin
    while (now := time.monotonic()) < begin + seconds:
        for mine, (person, _) in zip(ports, people, strict=True):
            mine |= ports_of(_pid(person))
        if kind == BUSY and now >= next_mail:
            next_mail += MAIL_EVERY
            subjects |= _write(people, f"Block {number}, {len(subjects)}")
        time.sleep(min(PORTS_EVERY, max(0.0, begin + seconds - time.monotonic())))
    end = time.monotonic()
    segments = capture.stop()
    wait_for(lambda: _all_read(people, subjects), f"all mails of block {number} are read")
    seen = [[one for one in segments if one.source in mine] for mine in ports]
    if not all(seen):
        raise UserError("Nothing was captured: is the loopback interface called lo?", "capture")
    return [Block(kind, begin, end, one) for one in seen], len(subjects)


def order_of(blocks: int, seed: int) -> list[str]:
    """The kinds of the blocks, half of each, in an order drawn by the seed."""
    kinds = np.array([BUSY, IDLE] * (blocks // 2))
    return [str(kind) for kind in np.random.default_rng(seed).permutation(kinds)]


def smallest_p(blocks: int) -> float:
    """The share of deals that part the blocks as the truth does, or the other way round."""
    return 2 / math.comb(blocks, blocks // 2)


def wire(blocks: int, seconds: float, seed: int) -> dict[str, Any]:
    """Capture, and compare; `failed` names what told busy blocks from idle ones."""
    if blocks < FEWEST or blocks % 2:
        raise UserError(f"{blocks} blocks tell nothing: take an even number from {FEWEST} on.", "blocks")
    capture = Capture()
    seen: dict[str, list[Block]] = {"you": [], "friend": []}
    mails = 0
    try:
        with (
            tempfile.TemporaryDirectory(prefix="mixmail-soak-") as place,
            real_network(Path(place) / "net", NODES, friend=True) as network,
        ):
            people = ((network.you, "friend"), (network.echo, "Ada"))
            network.you.start()
            network.meet()
            first = _write(people, "Before")
            wait_for(lambda: _all_read(people, first), "the first mails are read")
            for number, kind in enumerate(order_of(blocks, seed)):
                found, written = _block(people, kind, number, seconds, capture)
                for name, block in zip(seen, found, strict=True):
                    seen[name].append(block)
                mails += written
                size = len(found[0].segments)
                say(f"block {number + 1} of {blocks}, {kind}: {written} mails, {size} segments of you")
    finally:
        capture.close()
    result: dict[str, Any] = {"blocks": blocks, "seconds_a_block": seconds, "nodes": NODES, "seed": seed}
    p_values: dict[str, float] = {}
    for name, parts in seen.items():
        for kind in (BUSY, IDLE):
            sent = sum(one.size for part in parts if part.kind == kind for one in part.segments)
            result[f"{name}_frames_{kind}"] = round(sent / GEOMETRY.frame)
        p_values |= {f"p_{name}_{quantity}": p for quantity, p in tell(parts, seed).items()}
    return result | {
        "mails": mails,
        "packets_missed": capture.missed,
        "smallest_p_possible": smallest_p(blocks),
        **{name: round(p, 4) for name, p in p_values.items()},
        "told_apart": min(p_values.values()) < LIMIT,
        "failed": [name for name, p in p_values.items() if p < LIMIT],
    }
