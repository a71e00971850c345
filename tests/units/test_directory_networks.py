"""The network of an endpoint: what the choice of homes keeps apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmail.directory.networks import ALONE, network_of


@pytest.mark.parametrize(
    ("endpoint", "network"),
    [
        ("tcp:host=8.9.10.11:port=4711", b"\x08\x09"),
        ("tcp:8.9.200.1:4711", b"\x08\x09"),
        ("tcp:port=4711:host=8.9.10.11", b"\x08\x09"),
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


@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=128)
    | st.from_regex(r"tcp6?:(host=)?[0-9a-f.:%\\\[\]]{0,60}(:port=1)?", fullmatch=True)
)
def test_any_endpoint_of_a_descriptor_has_a_network(endpoint: str) -> None:
    assert len(network_of(endpoint)) in (0, 2, 4)
