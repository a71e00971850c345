"""Who may come how often, and how many lines the log gets about it.  Sans-IO; times in seconds.

Addresses are used here and nowhere else, and no text made here holds one.
"""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable

from mixmail.params import NodeLimits


class Buckets:
    """Token buckets by key: `burst` at once, then one every `refill` seconds.

    At most `remembered` keys are kept, the ones used last; a key that is forgotten has a full bucket.
    """

    def __init__(self, burst: int, refill: float, remembered: int) -> None:
        self._burst = burst
        self._refill = refill
        self._remembered = remembered
        self._left: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()  # key: (tokens, when)

    def __len__(self) -> int:
        return len(self._left)

    def take(self, key: Hashable, now: float) -> bool:
        """Take a token of `key`; False if there is none."""
        tokens, when = self._left.pop(key, (float(self._burst), now))
        tokens = min(float(self._burst), tokens + max(0.0, now - when) / self._refill)
        enough = tokens >= 1.0
        self._left[key] = (tokens - 1.0 if enough else tokens, now)
        if len(self._left) > self._remembered:
            self._left.popitem(last=False)
        return enough


def address_key(host: str) -> str | None:
    """What stands for one caller: an IPv4 address, or the /64 of an IPv6 address (one house has 2**64).

    None for 127.0.0.1, ::1 and what is no address: there come the peers of a Tor or I2P service of this
    machine, all by one address, and only the bounds over all callers hold for them.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address_key(str(address.ipv4_mapped))
        if address.is_loopback:
            return None
        return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
    return None if host == "127.0.0.1" else host


class BoundedLog:
    """At most so many lines of one kind; the next line says how many were left out.

    `kind` comes out of a fixed set, never from a peer.
    """

    def __init__(self, limits: NodeLimits, write: Callable[[str], None]) -> None:
        self._buckets = Buckets(limits.link_log_burst, limits.link_log_refill, limits.link_remembered)
        self._write = write
        self._left_out: Counter[str] = Counter()

    def say(self, kind: str, text: str, now: float) -> None:
        """Write `text`, one sentence without an address, or count it."""
        if not self._buckets.take(kind, now):
            self._left_out[kind] += 1
            return
        missing = self._left_out.pop(kind, 0)
        self._write(f"{text} (and {missing} more of this kind since the last line)" if missing else text)
