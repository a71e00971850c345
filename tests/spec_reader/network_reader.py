"""Which network an endpoint belongs to: docs/protocol/store.md, "Placement", and directory.md, "Endpoint"."""

from __future__ import annotations

import re

# (4 or 6, the first 16 or 32 bits); None: it shares its network with nobody.
Network = tuple[int, int] | None


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
    """Of the HOST of an endpoint, without its backslashes; what is no address has no network."""
    if (address := ipv4(host)) is not None:
        return network_of_ipv4(address)
    if (address := ipv6(host)) is not None:
        if address >> 32 == 0xFFFF:
            return network_of_ipv4(address & 0xFFFFFFFF)
        if address >> 125 != 0x2000 >> 13 or address >> 96 == 0x20010DB8:
            return None
        return 6, address >> 96
    return None


def network_of(endpoint: str) -> Network:
    """Of an endpoint as it stands in a descriptor: a TCP endpoint of the one form, or of any other."""
    match = re.fullmatch(r"tcp:host=((?:[^:\\]|\\:)*):port=([0-9]{1,5})", endpoint)
    if not match or not 1 <= int(match[2]) <= 65535:
        return None
    return network_of_host(match[1].replace("\\:", ":"))


def in_hex(network: Network) -> str:
    """As the vectors write it: the bits that all of the network share, nothing for none."""
    if network is None:
        return ""
    version, bits = network
    return f"{bits:0{4 if version == 4 else 8}x}"
