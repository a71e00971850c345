"""Whose clock is right: what a HELLO says of the time (docs/protocol/directory.md, "Links").

    HELLO (7712) = descriptor (7704) | u64 unix time of the sender in ms

A link whose ends are more than `clock_skew` apart is refused: the nodes would disagree on the epoch, and
their packets would be dropped without a word.  `PeerClocks` remembers what the last peers said, so that the
one whose own clock is wrong is told so.
"""

from __future__ import annotations

from collections import OrderedDict

from mixmail.encoding import require_length
from mixmail.errors import RemoteProtocolError
from mixmail.params import GEOMETRY, NODE_LIMITS, NetworkParameters

_MOST = 3  # fewer peers than this are not "most of the network"
_UNITS = ((86_400.0, "days", 2.0), (3_600.0, "h", 1.5), (60.0, "min", 1.5), (1.0, "s", 0.0))


def pack_hello(descriptor: bytes, now: float) -> bytes:
    """A HELLO of 7712 bytes; `now` in unix seconds."""
    return descriptor + int(now * 1_000).to_bytes(8, "big")


def parse_hello(raw: bytes) -> tuple[bytes, float]:
    """The packed descriptor and the sender's unix time in seconds.  RemoteProtocolError: wrong length."""
    raw = bytes(require_length("HELLO", raw, GEOMETRY.hello))
    return raw[: GEOMETRY.descriptor], int.from_bytes(raw[GEOMETRY.descriptor :], "big") / 1_000


class PeerClocks:
    """By how much the clocks of the last peers differ from ours, in seconds; positive: theirs are ahead."""

    def __init__(self, params: NetworkParameters) -> None:
        self._skew = params.clock_skew
        self._ahead: OrderedDict[bytes, float] = OrderedDict()

    def note(self, peer: bytes, theirs: float, ours: float) -> None:
        """Remember what a peer with a valid descriptor said; the peers heard last count."""
        self._ahead[peer] = theirs - ours
        self._ahead.move_to_end(peer)
        if len(self._ahead) > NODE_LIMITS.peer_clocks:
            self._ahead.popitem(last=False)

    def check(self, theirs: float, ours: float) -> None:
        """RemoteProtocolError when the two clocks are more than `clock_skew` apart."""
        if abs(theirs - ours) > self._skew:
            apart = about(abs(theirs - ours))
            raise RemoteProtocolError(f"the peer's clock and ours differ by about {apart}")

    def warning(self) -> str:
        """What the user should do about the own clock; empty when nothing."""
        peers = len(self._ahead)
        for way in (1.0, -1.0):
            off = sorted(way * ahead for ahead in self._ahead.values() if way * ahead > self._skew)
            if not off:
                continue
            apart = about(off[len(off) // 2])
            if peers >= _MOST and 2 * len(off) > peers:
                # The daemon's clock is steady: it takes the time of day at its start only.
                return (
                    f"Your clock differs from most of the network by about {apart}: set it right."
                    " Then start mixmail again."
                )
            if len(off) == peers:
                return (
                    f"Your clock differs from that of each node met so far by about {apart}: check it."
                    " If you set it, start mixmail again."
                )
        return ""


def about(seconds: float) -> str:
    """A span of time as people say it: "40 s", "12 min", "2 h", "3 days"."""
    for unit, name, least in _UNITS:
        if seconds >= least * unit:
            return f"{seconds / unit:.0f} {name}"
    raise ValueError(f"{seconds} seconds are no span of time")
