"""The network of an endpoint: what the choice of homes keeps apart."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock

from mixmail.directory.endpoint import tcp_endpoint
from mixmail.directory.networks import ALONE, network_of
from mixmail.errors import RemoteProtocolError
from mixmail.link.endpoints import client_endpoint

VECTORS = Path(__file__).parent.parent / "vectors" / "networks.json"


@pytest.mark.parametrize(
    ("endpoint", "network"),
    [
        ("tcp:host=8.9.10.11:port=4711", b"\x08\x09"),
        ("tcp:8.9.200.1:4711", ALONE),  # nobody calls such forms
        ("tcp:port=4711:host=8.9.10.11", ALONE),
        ("tcp:host=8.9.10.11:host=8.8.1.1:port=4711", ALONE),
        (r"tcp:host=2a01\:4f8\:\:1:port=1", bytes.fromhex("2a0104f8")),
        (r"tcp:host=\:\:ffff\:8.9.10.11:port=1", b"\x08\x09"),
        ("tcp:127.0.0.1:4711", ALONE),
        ("tcp:host=192.0.2.1:port=1", ALONE),
        ("tcp:host=172.31.0.1:port=1", ALONE),
        ("tcp:host=172.32.0.1:port=1", b"\xac\x20"),
        (r"tcp:host=fe80\:\:1:port=1", ALONE),
        (r"tcp:host=2001\:db8\:\:1:port=1", ALONE),
        ("tcp:host=node7:port=1", ALONE),
        ("i2p:" + "x" * 52, ALONE),
        ("tcp:", ALONE),
        ("", ALONE),
    ],
)
def test_networks(endpoint: str, network: bytes) -> None:
    assert network_of(endpoint) == network


def test_the_vectors_of_networks_hold() -> None:
    entries = json.loads(VECTORS.read_text())["endpoints"]
    assert len(entries) > 80
    assert [network_of(entry["endpoint"]).hex() for entry in entries] == [
        entry["network"] for entry in entries
    ]


def test_what_is_called_and_what_counts_is_the_same_address() -> None:
    reactor: Any = MemoryReactorClock()
    for entry in json.loads(VECTORS.read_text())["endpoints"]:
        found = tcp_endpoint(entry["endpoint"])
        if found is None:
            with pytest.raises(RemoteProtocolError):
                client_endpoint(reactor, entry["endpoint"])
            continue
        client_endpoint(reactor, entry["endpoint"]).connect(Factory())
        host, port, *_ = reactor.tcpClients.pop()
        assert (ipaddress.ip_address(host), port) == found


@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=128)
    | st.from_regex(r"tcp6?:(host=)?[0-9a-f.:%\\\[\]]{0,60}(:port=1)?", fullmatch=True)
)
def test_any_endpoint_of_a_descriptor_has_a_network(endpoint: str) -> None:
    assert len(network_of(endpoint)) in (0, 2, 4)
