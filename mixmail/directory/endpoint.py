"""The form of endpoint that version 1 calls: `tcp:host=ADDRESS:port=PORT` (docs/protocol/directory.md).

Whoever calls a node and whoever computes its network must read the same address out of its endpoint: else a
node could be called at one address and counted at another.
"""

from __future__ import annotations

import ipaddress
import re

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# A colon inside an IPv6 address is written "\:", as everywhere in endpoint strings.
_TCP = re.compile(r"tcp:host=((?:[0-9A-Fa-f.]|\\:)+):port=([0-9]{1,5})")


def tcp_endpoint(text: str) -> tuple[Address, int] | None:
    """Address and port; None for an endpoint of another form, also with a name in place of the address."""
    match = _TCP.fullmatch(text)
    if match is None or not 1 <= int(match[2]) <= 0xFFFF:
        return None
    try:
        return ipaddress.ip_address(match[1].replace("\\:", ":")), int(match[2])
    except ValueError:
        return None
