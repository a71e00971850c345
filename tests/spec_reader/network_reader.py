"""Which network an endpoint belongs to, written from docs/protocol/store.md, "Placement", alone."""

from __future__ import annotations

import re

# (4 or 6, the first 16 or 32 bits); None: it shares its network with nobody.
Network = tuple[int, int] | None


class NotSaid(Exception):
    """The document does not say how this is read."""


# First address and length of the prefix.
NOT_GLOBAL_IPV4 = (
    ("0.0.0.0", 8),
    ("10.0.0.0", 8),
    ("100.64.0.0", 10),
    ("127.0.0.0", 8),
    ("169.254.0.0", 16),
    ("172.16.0.0", 12),
    ("192.0.2.0", 24),
    ("192.168.0.0", 16),
    ("198.18.0.0", 15),
    ("198.51.100.0", 24),
    ("203.0.113.0", 24),
    ("224.0.0.0", 3),
)


def ipv4(text: str) -> int | None:
    """Four decimal numbers without leading zeros; None is no such address."""
    parts = text.split(".")
    if len(parts) != 4 or not all(re.fullmatch("0|[1-9][0-9]{0,2}", part) for part in parts):
        return None
    numbers = [int(part) for part in parts]
    return int.from_bytes(bytes(numbers), "big") if max(numbers) < 256 else None


def ipv6(text: str) -> int | None:
    """One of the three text forms of RFC 4291, 2.2; None is no such address."""
    head, _, tail = text.rpartition(":")
    if "." in tail:
        last = ipv4(tail)
        if last is None:
            return None
        text = f"{head}:{last >> 16:x}:{last & 0xFFFF:x}"
    halves = text.split("::")
    groups = [half.split(":") if half else [] for half in halves]
    if not all(re.fullmatch("[0-9a-fA-F]{1,4}", group) for half in groups for group in half):
        return None
    given = sum(len(half) for half in groups)
    if len(halves) == 2 and given < 8:
        filled = groups[0] + ["0"] * (8 - given) + groups[1]
    elif len(halves) == 1 and given == 8:
        filled = groups[0]
    else:
        return None
    return int("".join(group.rjust(4, "0") for group in filled), 16)


def network_of_ipv4(address: int) -> Network:
    for first, length in NOT_GLOBAL_IPV4:
        if address >> 32 - length == ipv4(first) >> 32 - length:
            return None
    return 4, address >> 16


def network_of_host(host: str) -> Network:
    if (address := ipv4(host)) is not None:
        return network_of_ipv4(address)
    if (address := ipv6(host)) is not None:
        if address >> 32 == 0xFFFF:
            return network_of_ipv4(address & 0xFFFFFFFF)
        if address >> 125 != 0x2000 >> 13 or address >> 96 == 0x20010DB8:
            return None
        return 6, address >> 96
    if re.fullmatch("([0-9]+|0[xX][0-9a-fA-F]*)(\\.([0-9]+|0[xX][0-9a-fA-F]*))*\\.?", host):
        raise NotSaid("an IPv4 address written in another way, or a host name?")
    if not re.fullmatch("[0-9A-Za-z_.-]+", host):
        raise NotSaid("no host name and no address in its usual form")
    return None


def network_of(endpoint: str) -> Network:
    """Of the one form of which directory.md has an example."""
    match = re.fullmatch("tcp:host=([^:=\\\\]+):port=([0-9]+)", endpoint)
    if not match:
        raise NotSaid("an endpoint of another form")
    return network_of_host(match[1])
