#!/usr/bin/env python3
"""Write tests/vectors/networks.json: endpoints and the network of each (docs/protocol/store.md)."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from mixmail.directory.networks import network_of  # noqa: E402

BLOCKS_V4 = ("0.0.0.0 0.255.255.255", "10.0.0.0 10.255.255.255", "100.64.0.0 100.127.255.255")
BLOCKS_V4 += ("127.0.0.0 127.255.255.255", "169.254.0.0 169.254.255.255", "172.16.0.0 172.31.255.255")
BLOCKS_V4 += ("192.0.2.0 192.0.2.255", "192.168.0.0 192.168.255.255", "198.18.0.0 198.19.255.255")
BLOCKS_V4 += ("198.51.100.0 198.51.100.255", "203.0.113.0 203.0.113.255", "224.0.0.0 255.255.255.255")
BESIDE_V4 = (
    "1.0.0.0",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.1.2.3",
    "128.0.0.1",
)
BESIDE_V4 += ("169.253.0.1", "169.255.0.1", "172.15.255.255", "172.32.0.0", "192.0.1.255", "192.0.3.0")
BESIDE_V4 += ("192.167.0.1", "192.169.0.1", "198.17.0.1", "198.20.0.1", "198.51.99.1", "198.51.101.1")
BESIDE_V4 += ("203.0.112.1", "203.0.114.1", "223.255.255.255", "8.8.1.2", "8.8.200.1", "192.88.99.1")
V6 = (
    "2000::1",
    "1fff:ffff::1",
    "3fff:ffff::1",
    "4000::1",
    "2001:db8::1",
    "2001:db7::1",
    "2001:db9::1",
    "::1",
)
V6 += ("2001:0:4136:e378::1", "2001:1::1", "2002:808:102::1", "fe80::1", "fc00::1", "::ffff:8.8.1.2")
V6 += ("::ffff:808:102", "::FFFF:10.0.0.1", "64:ff9b::808:102", "2600:0:0:0:0:0:8.8.1.2", "2600::ABCD")
V6 += ("2600::1%eth0", "2600:::1", "1:2:3:4:5:6:7:8:9", "2600::8.8.1", "2600:12345::1", "::")
NAMES = (
    "example.org",
    "010.8.1.2",
    "8.8.258",
    "0x8080102",
    "134743298",
    "8.8.1.256",
    "8.8.1.2.",
    "8.8.1.-2",
    "",
)
ODD = (
    "tcp:8.8.1.2:4711",
    "tcp:port=4711:host=8.8.1.2",
    "tcp:8.9.1.2:host=8.8.1.2:port=1",
    "tcp:host=8.8.1.2:host=8.9.1.2:port=1",
    "tcp:HOST=8.8.1.2:port=1",
    "tcp6:host=8.8.1.2:port=1",
    "TCP:host=8.8.1.2:port=1",
    "tls:host=8.8.1.2:port=1",
    "tor:host=8.8.1.2:port=1",
    "i2p:8.8.1.2:1",
    "tcp",
    "tcp:",
    "8.8.1.2:4711",
    "tcp:host=2600::1:port=1",
    r"tcp:[2600\:\:1]:1",
    r"tcp6:host=[2600\:\:1]:port=1",
    r"tcp:host=[2600\:\:1:port=1",
    r"tcp:host=[[2600\:\:1]]:port=1",
    "tcp:host=[8.8.1.2]:port=1",
)
PORTS = ("65535", "00001", "0", "00000", "65536", "000001", "", "+1", "x", "1:timeout=3")


def endpoints() -> list[str]:
    """All, in order."""
    hosts = [host for block in BLOCKS_V4 for host in block.split()] + [*BESIDE_V4, *V6, *NAMES]
    found = [f"tcp:host={host.replace(':', chr(92) + ':')}:port=1" for host in hosts] + list(ODD)
    return found + [f"tcp:host=8.8.1.2:port={port}" for port in PORTS] + [r"tcp:host=2600\:\:08.8.1.2:port=1"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "tests" / "vectors", metavar="FOLDER")
    folder: Path = parser.parse_args().folder
    entries = [{"endpoint": one, "network": network_of(one).hex()} for one in endpoints()]
    text = json.dumps({"endpoints": entries}, indent=1, ensure_ascii=True) + "\n"
    (folder / "networks.json").write_text(text, encoding="ascii")


if __name__ == "__main__":
    main()
