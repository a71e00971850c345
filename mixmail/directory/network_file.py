"""The network file: the little that a newcomer needs to find a network, as TOML text.

    version = 1
    network = "64 hex digits"
    birth_day = 20780
    parameters = "mail"

    [[seeds]]
    endpoint = "tcp:host=192.0.2.1:port=4711"
    certificate = "64 hex digits"
    node = "64 hex digits"

No key signs it: the network is what its hash says, BLAKE2b-256(id | birth day).
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from typing import Any

from mixmail.directory.descriptor import pack_endpoint
from mixmail.errors import LocalProtocolError, UserError
from mixmail.params import ID_BYTES, PRESETS, Network

VERSION = 1
_BIRTH_DAY_MAX = 0xFFFF  # two bytes in the network hash
_CODE = "network-file"
_FIELDS = {"version", "network", "birth_day", "parameters", "seeds"}
_SEED_FIELDS = {"endpoint", "certificate", "node"}


@dataclass(frozen=True, slots=True)
class Seed:
    """A node to ask first: where it is, the hash of its link certificate, its node id."""

    endpoint: str
    cert_hash: bytes
    node_id: bytes


@dataclass(frozen=True, slots=True)
class NetworkFile:
    """`parameters` is the name of a preset, `birth_day` counts from 1970-01-01 UTC."""

    network_id: bytes
    birth_day: int
    parameters: str
    seeds: tuple[Seed, ...]

    def network(self) -> Network:
        """The network that the file names."""
        return Network(self.network_id, self.birth_day, PRESETS[self.parameters])

    def text(self) -> str:
        """The file's text: `parse` gives the same NetworkFile back."""
        lines = [
            f"version = {VERSION}",
            f'network = "{self.network_id.hex()}"',
            f"birth_day = {self.birth_day}",
            f"parameters = {json.dumps(self.parameters)}",
        ]
        for seed in self.seeds:
            lines += [
                "",
                "[[seeds]]",
                f"endpoint = {json.dumps(seed.endpoint)}",
                f'certificate = "{seed.cert_hash.hex()}"',
                f'node = "{seed.node_id.hex()}"',
            ]
        return "\n".join(lines) + "\n"


def parse(text: str) -> NetworkFile:
    """Read a network file; UserError (code "network-file") says in a sentence what is wrong."""
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise _wrong(f"it is not TOML text ({error})") from error
    if type(data.get("version")) is not int or data["version"] != VERSION:
        raise _wrong(f"its version is not {VERSION}")
    _only(data, _FIELDS, "the file")
    birth_day = data.get("birth_day")
    if type(birth_day) is not int or not 0 <= birth_day <= _BIRTH_DAY_MAX:
        raise _wrong("birth_day is not a day number")
    name = data.get("parameters")
    if not isinstance(name, str) or name not in PRESETS:
        raise _wrong(f"parameters is none of {', '.join(PRESETS)}")
    seeds = data.get("seeds", [])
    if not isinstance(seeds, list):
        raise _wrong("seeds is not a list of tables")
    return NetworkFile(_hex(data, "network"), birth_day, name, tuple(_seed(item) for item in seeds))


def _seed(item: object) -> Seed:
    if not isinstance(item, dict):
        raise _wrong("a seed is not a table")
    _only(item, _SEED_FIELDS, "a seed")
    endpoint = item.get("endpoint")
    if not isinstance(endpoint, str):
        raise _wrong("a seed has no endpoint")
    try:
        pack_endpoint(endpoint)
    except LocalProtocolError as error:
        raise _wrong(f"a seed's endpoint is {error}") from error
    return Seed(endpoint, _hex(item, "certificate"), _hex(item, "node"))


def _hex(table: dict[str, Any], name: str) -> bytes:
    value = table.get(name)
    try:
        raw = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        raw = b""
    if len(raw) != ID_BYTES:
        raise _wrong(f"{name} is not {2 * ID_BYTES} hex digits")
    return raw


def _only(table: dict[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(set(table) - known)
    if unknown:
        raise _wrong(f"{where} has the unknown entry {unknown[0]!r}")


def _wrong(what: str) -> UserError:
    return UserError(
        f"The network file cannot be used: {what}. Ask for a fresh copy where you got it.", code=_CODE
    )
