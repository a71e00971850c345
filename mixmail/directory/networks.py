"""The network an endpoint stands in (docs/protocol/store.md, "Placement"): IPv4 /16, IPv6 /32.

Everybody must compute the same, so the addresses without global scope are listed here: what `ipaddress`
calls global has changed between releases of Python.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from mixmail.directory.endpoint import tcp_endpoint

ALONE = b""  # shares its network with nobody
_LOCAL_V4 = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        "224.0.0.0/3",
    )
)
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_EXAMPLES_V6 = ipaddress.IPv6Network("2001:db8::/32")


@lru_cache(maxsize=65536)
def network_of(endpoint: str) -> bytes:
    """2 bytes for IPv4, 4 for IPv6; ALONE for addresses without global scope and all other endpoints."""
    found = tcp_endpoint(endpoint)
    if found is None:
        return ALONE
    address = found[0]
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if isinstance(address, ipaddress.IPv4Address):
        return ALONE if any(address in local for local in _LOCAL_V4) else address.packed[:2]
    if address not in _GLOBAL_V6 or address in _EXAMPLES_V6:
        return ALONE
    return address.packed[:4]
