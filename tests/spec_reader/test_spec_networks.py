"""The rule of docs/protocol/store.md, "Placement", that keeps the homes of a key in distinct networks."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Mapping
from typing import Any

import network_reader as networks
import pytest
import spec_vectors
import store_reader as store
from spec_primitives import shake
from spec_vectors import unhex

VECTORS = spec_vectors.load("networks.json")
PLACEMENT = spec_vectors.load("boxes.json")["placement"]
NODES = [(unhex(node["storage_id"]), unhex(node["node_id"])) for node in PLACEMENT["nodes"]]


@pytest.mark.parametrize(
    ("host", "bits"),
    [
        ("8.8.0.0", "8.8"),
        ("8.8.255.255", "8.8"),
        ("8.9.0.0", "8.9"),
        ("::ffff:8.8.1.2", "8.8"),
        ("::FFFF:808:102", "8.8"),
        ("0:0:0:0:0:ffff:8.8.1.2", "8.8"),
        ("2600:1234::", "2600:1234"),
        ("2600:1234:ffff:ffff:ffff:ffff:ffff:ffff", "2600:1234"),
        ("2600:1235::1", "2600:1235"),
        ("2600:1::8.8.1.2", "2600:1"),
    ],
)
def test_the_first_bits_of_an_address(host: str, bits: str) -> None:
    if ":" in bits:
        high, low = bits.split(":")
        expected = (6, int(high, 16) << 16 | int(low, 16))
    else:
        high, low = bits.split(".")
        expected = (4, int(high) << 8 | int(low))
    assert networks.network_of_host(host) == expected


# For each block of the document: the last address before it, its first, its last, the first one behind it.
EDGES = [
    (None, "0.0.0.0", "0.255.255.255", "1.0.0.0"),
    ("9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"),
    ("100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0"),
    ("126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"),
    ("169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"),
    ("172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"),
    ("192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0"),
    ("192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0"),
    ("198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0"),
    ("198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0"),
    ("203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0"),
    ("223.255.255.255", "224.0.0.0", "255.255.255.255", None),
    ("2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8::", "2001:db8:ffff::", "2001:db9::"),
    (None, "::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2000::"),
    ("3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "4000::", "ffff::ffff", None),
]


@pytest.mark.parametrize(("before", "first", "last", "behind"), EDGES)
def test_where_global_scope_ends(before: str | None, first: str, last: str, behind: str | None) -> None:
    for inside in (first, last):
        assert networks.network_of_host(inside) is None
    for outside in (before, behind):
        assert outside is None or networks.network_of_host(outside) is not None
    if "." in first:
        assert networks.network_of_host(f"::ffff:{first}") is None
        assert networks.network_of_host(f"::{first}") is None  # not mapped: outside of 2000::/3
        assert networks.network_of_host(f"64:ff9b::{first}") is None
        assert behind is None or networks.network_of_host(f"::ffff:{behind}") is not None


def test_the_blocks_are_all_of_them() -> None:
    """What is in none of these blocks has a network. Steps over IPv4 in /24 that no power of two divides."""
    blocks = [[int(ipaddress.IPv4Address(a)) >> 8 for a in edge[1:3]] for edge in EDGES if "." in edge[1]]
    for top in range(0, 2**24, 10007):
        inside = any(first <= top <= last for first, last in blocks)
        assert networks.network_of_ipv4(top << 8) == (None if inside else (4, top >> 8))


@pytest.mark.parametrize("host", ["node.example", "example", "abcdefghij234567.onion", "some-name.b32.i2p"])
def test_names_share_their_network_with_nobody(host: str) -> None:
    assert networks.network_of_host(host) is None
    assert networks.network_of(f"tcp:host={host}:port=4711") is None


def test_the_endpoint_of_the_document() -> None:
    assert networks.network_of("tcp:host=192.0.2.1:port=4711") is None  # 192.0.2/24
    assert networks.network_of("tcp:host=192.0.3.1:port=4711") == (4, 192 << 8)
    assert networks.network_of("tcp:host=192.0.1.9:port=1") == (4, 192 << 8)


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp:host=2600::1:port=4711",
        "tcp:host=2600\\:\\:1:port=4711\n",
        "tcp:host=\\2600\\:\\:1:port=4711",
        "tcp:host=[2600\\:\\:1]:port=4711",
        "tcp6:host=2600\\:\\:1:port=4711",
        "tcp:8.8.1.2:4711",
        "tcp:port=4711:host=8.8.1.2",
        "tcp:host=8.8.1.2",
        "tcp:host=8.8.1.2:port=",
        "tcp:host=8.8.1.2:port=0",
        "tcp:host=8.8.1.2:port=00000",
        "tcp:host=8.8.1.2:port=000001",
        "tcp:host=8.8.1.2:port=65536",
        "tcp:host=8.8.1.2:port=+1",
        "tcp:host=8.8.1.2:port=x",
        "tcp:host=8.8.1.2:port=4711:timeout=3",
        "tls:host=8.8.1.2:port=4711",
        "tor:host=8.8.1.2:port=4711",
        "tcp:host=8.8.258:port=4711",
        "tcp:host=010.8.1.2:port=4711",
        "tcp:host=0x8080102:port=4711",
        "8.8.1.2:4711",
        "x",
    ],
)
def test_an_endpoint_of_another_form_has_no_network(endpoint: str) -> None:
    assert networks.network_of(endpoint) is None


@pytest.mark.parametrize("port", ["1", "00001", "080", "65535"])
@pytest.mark.parametrize(("host", "network"), [("8.8.1.2", (4, 0x808)), ("2600\\:1\\:\\:2", (6, 0x26000001))])
def test_every_port_does(port: str, host: str, network: networks.Network) -> None:
    assert networks.network_of(f"tcp:host={host}:port={port}") == network


@pytest.mark.parametrize(
    "host",
    ["", "[2600::1]", "2600::1%eth0", "2600:::1", "1:2:3:4:5:6:7:8:9", "2600::8.8.1", "2600::08.8.1.2"],
)
def test_what_is_no_address_has_no_network(host: str) -> None:
    assert networks.network_of_host(host) is None


# The vectors of networks.json.


def check_endpoint(entry: Mapping[str, Any]) -> None:
    assert set(entry) == {"endpoint", "network"}
    assert networks.in_hex(networks.network_of(entry["endpoint"])) == entry["network"]


@pytest.mark.parametrize("entry", VECTORS["endpoints"], ids=lambda entry: entry["endpoint"])
def test_vector(entry: Mapping[str, Any]) -> None:
    check_endpoint(entry)


def test_no_vector_is_left_unread() -> None:
    assert set(VECTORS) == {"endpoints"}
    of_each = Counter(len(entry["network"]) for entry in VECTORS["endpoints"])
    assert set(of_each) == {0, 4, 8}
    assert min(of_each.values()) > 5


def test_a_changed_network_is_noticed() -> None:
    for entry in VECTORS["endpoints"]:
        for other in {"", "0808", "26000000", entry["network"] + "00", "00" + entry["network"]}:
            if other != entry["network"]:
                with pytest.raises(AssertionError):
                    check_endpoint({**entry, "network": other})


def test_addresses_are_read_as_others_read_them() -> None:
    for i in range(300):
        raw = shake(f"address {i}", 16)
        raw = bytes(b if raw[0] >> j % 8 & 1 else 0 for j, b in enumerate(raw))  # with rows of zeros
        for size in (4, 16):
            address = ipaddress.ip_address(raw[-size:])
            texts = {str(address), address.exploded, str(address).upper()}
            for text in texts:
                read = networks.ipv4(text) if size == 4 else networks.ipv6(text)
                assert read == int(address), text


# The ranking. r0 … r23 are the nodes by score alone.


def by_score(key: bytes) -> list[bytes]:
    ranking = store.ranking(NODES, key)
    assert len(ranking) == len(set(ranking)) == 24
    return ranking


def ranks(
    key: bytes, endpoints: dict[int, str], default: str = "tcp:host=node{}.example:port=1"
) -> list[int]:
    """The new ranking as ranks of the old one. `endpoints` are those of r_i, the others have a name."""
    old = by_score(key)
    table = {node: networks.network_of(endpoints.get(i, default.format(i))) for i, node in enumerate(old)}
    return [old.index(node) for node in store.ranking(NODES, key, table)]


KEYS = [unhex(vector["key"]) for vector in PLACEMENT["rankings"]]
A, A2, A3 = (f"tcp:host={a}:port=1" for a in ("8.8.1.2", "8.8.200.1", "8.8.1.2"))
B, B2 = (f"tcp:host={a}:port=1" for a in ("8.9.1.2", "8.9.1.3"))


@pytest.mark.parametrize("key", KEYS)
def test_who_is_in_the_network_of_a_nearer_one_comes_after_all_others(key: bytes) -> None:
    assert ranks(key, {}) == list(range(24))
    assert ranks(key, {0: A, 1: A2}) == [0, *range(2, 24), 1]
    assert ranks(key, {0: A, 1: A2, 4: A3}) == [0, 2, 3, *range(5, 24), 1, 4]
    assert ranks(key, {0: A, 1: B, 2: A2, 3: B2}) == [0, 1, *range(4, 24), 2, 3]
    assert ranks(key, {0: A, 1: B2, 2: B, 3: A2}) == [0, 1, *range(4, 24), 2, 3]
    assert ranks(key, {22: A, 23: A2}) == list(range(24))
    assert ranks(key, {0: A, 23: B}) == list(range(24))


@pytest.mark.parametrize("key", KEYS)
def test_few_networks(key: bytes) -> None:
    """With one network, or only strangers to the rule, the scores decide alone."""
    assert ranks(key, dict.fromkeys(range(24), A)) == list(range(24))
    assert ranks(key, dict.fromkeys(range(24), "tcp:host=one.example:port=1")) == list(range(24))
    assert ranks(key, dict.fromkeys(range(24), "tcp:host=10.0.0.1:port=1")) == list(range(24))
    two = {i: A if i % 2 else B for i in range(24)}
    assert ranks(key, two) == list(range(24))
    three_of_a_kind = {i: (A, A2, A3, B)[min(i, 3)] for i in range(24)}
    assert ranks(key, three_of_a_kind) == [0, 3, 1, 2, *range(4, 24)]


@pytest.mark.parametrize("key", KEYS)
def test_one_network_has_one_home_while_there_are_others(key: bytes) -> None:
    """Of the first 16 it has one if there are 15 others, and two if there are 14."""
    for many in (8, 9):
        homes = ranks(key, dict.fromkeys(range(many), A))[:16]
        assert [i for i in homes if i < many] == [0]
    homes = ranks(key, dict.fromkeys(range(10), A))[:16]
    assert [i for i in homes if i < 10] == [0, 1]


def test_the_vectors_of_placement_know_no_networks() -> None:
    """Not checked by vectors: they say that no two nodes share one. An endpoint in them must be read here."""
    assert {name for node in PLACEMENT["nodes"] for name in node} == {"storage_id", "node_id"}
    for vector in PLACEMENT["rankings"]:
        homes = [node.hex() for node in by_score(unhex(vector["key"]))[:16]]
        assert homes == list(vector["homes"])
        assert set(vector) == {"key", "first_score", "homes"}
