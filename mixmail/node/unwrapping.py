"""Unwrapping outside of the node's own process: packets leave in batches and come back opened.

Rules
- A batch leaves at once while fewer than `ahead` are out; what comes meanwhile waits and leaves together.  So
  a quiet node opens each packet when it comes, and a busy one in batches of up to `unwrap_batch`.
- Of the `unwrap_waiting` places each link may take as many as are still free, as in the mix's pool.
- Opened packets come back in any order of batches.  Their replay tags are looked up only then, in the one
  process that keeps them: of two copies that were opened side by side only the first goes on.
- A packet whose key has been deleted while it was away is dropped: its replay tags are gone with the key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from mixmail.crypto.kem import PrivateKey
from mixmail.effects import Effect
from mixmail.errors import RemoteProtocolError
from mixmail.jobs import Jobs
from mixmail.node.keys import EpochKeys
from mixmail.node.stats import Stats
from mixmail.node.wire import Kind
from mixmail.params import GEOMETRY, NodeLimits
from mixmail.sphinx.command import Command
from mixmail.sphinx.unwrap import OpenedHeader, open_header

LiveKeys = Sequence[tuple[int, PrivateKey]]


@dataclass(slots=True)
class Opened:
    """A packet under the key of `epoch`: what `OpenedHeader` says, its body open as well.

    `content` is what `OpenedHeader.finish` returns, None for a body that was changed on its way.
    """

    epoch: int
    replay_tag: bytes
    command: Command
    content: bytes | None = field(repr=False)

    def finish(self) -> bytes:
        """The opened body; RemoteProtocolError if it was changed on its way."""
        if self.content is None:
            raise RemoteProtocolError("the packet's body was changed on its way")
        return self.content


Came = Callable[[Opened | None, float, bytes], None]


def open_under(keys: LiveKeys, packet: bytes) -> tuple[int, OpenedHeader] | None:
    """The epoch whose key fits, with the header; None if no live key opens it."""
    # One key at a time, since the replay filter needs to know which epoch's key it was.
    for epoch, key in keys:
        try:
            return epoch, open_header((key,), packet)
        except RemoteProtocolError:
            continue  # another epoch's packet, or nobody's: the end of the loop tells
    return None


def open_packet(keys: LiveKeys, packet: bytes) -> Opened | None:
    """Header and body at once; None for a packet that no live key opens."""
    found = open_under(keys, packet)
    if found is None:
        return None
    epoch, header = found
    try:
        content = header.finish()
    except RemoteProtocolError:
        content = None
    return Opened(epoch, header.replay_tag, header.command, content)


@dataclass(frozen=True, slots=True)
class UnwrapJob:
    """One batch: `packets` of 32768 bytes, to be opened under `keys`, the live ones.

    Called, it does the work where it stands; the daemon hands it to a process.
    """

    keys: tuple[tuple[int, PrivateKey], ...] = field(repr=False)
    packets: tuple[bytes, ...] = field(repr=False)

    def __call__(self) -> list[Opened | None]:
        """What became of each packet."""
        return [open_packet(self.keys, packet) for packet in self.packets]


class Unwrapping:
    """The packets of one node that wait for a batch or are out in one; `came` gets each when it is back."""

    def __init__(
        self, keys: EpochKeys, jobs: Jobs, ahead: int, limits: NodeLimits, stats: Stats, came: Came
    ) -> None:
        self._keys = keys
        self._jobs = jobs
        self._ahead = ahead
        self._limits = limits
        self._stats = stats
        self._came = came
        self._waiting: list[tuple[bytes, bytes]] = []  # (packet, link)
        self._of_source: dict[bytes, int] = {}
        self._batches_out = 0
        self._packets_out = 0

    def __len__(self) -> int:
        """Packets that wait or are out."""
        return len(self._waiting) + self._packets_out

    @property
    def enough(self) -> bool:
        """Whether a quarter of the places is taken.

        One link may have half: who takes in no more until this is over never has a packet refused.
        """
        return len(self._waiting) >= self._limits.unwrap_waiting // 4

    def add(self, packet: bytes, now: float, source: bytes) -> list[Effect]:
        """Take in a packet from the link `source`.

        RemoteProtocolError (counted) for a wrong length; one too many is counted as `drop.unwrap_full`.
        """
        if len(packet) != GEOMETRY.packet:
            self._stats.add("mix.in")
            self._stats.add("drop.packet_header")
            raise RemoteProtocolError(f"a packet has {GEOMETRY.packet} bytes, not {len(packet)}")
        mine = self._of_source.get(source, 0)
        if mine >= self._limits.unwrap_waiting - len(self._waiting):
            self._stats.add("drop.unwrap_full")
            return []
        self._of_source[source] = mine + 1
        self._waiting.append((packet, source))
        return self._send_out(now)

    def _send_out(self, now: float) -> list[Effect]:
        if self._batches_out >= self._ahead or not self._waiting:
            return []
        batch = self._waiting[: self._limits.unwrap_batch]
        del self._waiting[: len(batch)]
        for _, source in batch:
            left = self._of_source[source] - 1
            if left:
                self._of_source[source] = left
            else:
                del self._of_source[source]
        self._batches_out += 1
        self._packets_out += len(batch)
        job = UnwrapJob(tuple(self._keys.live_mix(now)), tuple(packet for packet, _ in batch))
        sources = [source for _, source in batch]
        return self._jobs.start("unwrap", job, partial(self._back, sources))

    def _back(self, sources: list[bytes], result: Any, now: float) -> list[Effect]:
        self._batches_out -= 1
        self._packets_out -= len(sources)
        if isinstance(result, Exception):
            self._stats.add("drop.unwrap_failed", len(sources))
            return self._send_out(now)
        live = {epoch for epoch, _ in self._keys.live_mix(now)}
        for source, opened in zip(sources, result, strict=True):
            if opened is not None and opened.epoch not in live:
                opened = None
            try:
                self._came(opened, now, source)
            except RemoteProtocolError:
                self._stats.add(f"drop.frame_{Kind.PACKET}")
        return self._send_out(now)
