"""The connections that others open to us: how many, how often, and who makes room.

Rules:

- An address has a token bucket (`limits.address_key`): a connection without a token is closed before TLS.
- `NodeLimits.link_pending` callers may be on their way to a HELLO.  One more, and of the address with
  most of them the oldest is dropped that has sent nothing, if there is none the oldest: who comes in large
  numbers drops himself, and who begins TLS at once is the last to go.
- A node has a token bucket for its HELLOs, and `link_same_peer` links: one more ends its oldest, which may
  be dead without our knowing.
- `NodeLimits.link_callers` of such links may be up.  One more, and a stranger's link is dropped, if there is
  none the one that was silent for longest.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from mixmail.errors import RemoteProtocolError
from mixmail.link.limits import Buckets, address_key
from mixmail.params import NodeLimits

if TYPE_CHECKING:
    from mixmail.link.protocol import Link


class Callers:
    """`say(kind, text)` is the bounded log."""

    def __init__(self, limits: NodeLimits, say: Callable[[str, str], None]) -> None:
        self.refused = 0  # connections closed since their address came too often
        self._limits = limits
        self._say = say
        self._addresses = Buckets(
            limits.link_address_burst, limits.link_address_refill, limits.link_remembered
        )
        self._peers = Buckets(limits.link_peer_burst, limits.link_peer_refill, limits.link_remembered)
        self._pending: dict[str | None, OrderedDict[Link, None]] = {}
        self._address: dict[Link, str | None] = {}  # of the pending ones
        self._up: OrderedDict[Link, None] = OrderedDict()

    @property
    def pending(self) -> int:
        """Callers that have not said who they are."""
        return len(self._address)

    @property
    def up(self) -> int:
        """Callers' links that are up."""
        return len(self._up)

    def may_come(self, host: str, now: float) -> bool:
        """Whether this address may open another connection now."""
        address = address_key(host)
        if address is None or self._addresses.take(address, now):
            return True
        self.refused += 1
        self._say("often", "refused a connection: its address comes too often")
        return False

    def came(self, link: Link, host: str) -> str | None:
        """A TCP connection stands; returns what stands for its address."""
        address = self._address[link] = address_key(host)
        self._pending.setdefault(address, OrderedDict())[link] = None
        if self.pending > self._limits.link_pending:
            most = max(self._pending.values(), key=len)
            victim = next((one for one in most if not one.heard), next(iter(most)))
            victim.drop("too many callers have not said who they are", "crowd")
        return address

    def introduce(self, link: Link, peer: bytes, now: float) -> None:
        """A pending caller has proved that it is `peer`.  RemoteProtocolError if it comes too often."""
        if not self._peers.take(peer, now):
            raise RemoteProtocolError("the peer opens links too often")
        self._forget_pending(link)
        self._up[link] = None
        if self.up > self._limits.link_callers:
            others = [one for one in self._up if one is not link]
            victim = max(others, key=lambda one: (one.stranger, -one.last_traffic))
            victim.drop("too many links stand", "crowd")

    def left(self, link: Link) -> None:
        """A connection is closed; called at least once, also for links that we opened."""
        self._forget_pending(link)
        self._up.pop(link, None)

    def _forget_pending(self, link: Link) -> None:
        if link not in self._address:
            return
        address = self._address.pop(link)
        same = self._pending[address]
        del same[link]
        if not same:
            del self._pending[address]
