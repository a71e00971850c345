"""Loads vectors, notes which of their fields a check has read, and makes wrong copies of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).resolve().parent.parent / "vectors"

Where = tuple[str | int, ...]


def load(name: str) -> dict[str, Any]:
    return json.loads((VECTORS / name).read_text("utf-8"))


def unhex(text: str) -> bytes:
    return bytes.fromhex(text)


def leaves(value: Any, where: Where = ()) -> Iterator[tuple[Where, Any]]:
    """All values that are no object or array, and where they stand; empty ones of those count as well."""
    if isinstance(value, dict | list) and value:
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for name, inner in pairs:
            yield from leaves(inner, (*where, name))
    else:
        yield where, value


class _Watched:
    def __init__(self, value: Any, where: Where, seen: set[Where]) -> None:
        self._value, self._where, self._seen = value, where, seen
        if not value:
            seen.add(where)

    def __len__(self) -> int:
        return len(self._value)

    def __getitem__(self, name: Any) -> Any:
        return watch(self._value[name], (*self._where, name), self._seen)


class _WatchedObject(_Watched, Mapping):
    def __iter__(self) -> Iterator[str]:
        return iter(self._value)

    def __contains__(self, name: object) -> bool:
        return name in self._value


class _WatchedArray(_Watched, Sequence):
    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self._value)))


def watch(value: Any, where: Where, seen: set[Where]) -> Any:
    """A view of `value` that adds to `seen` the place of each leaf that is read through it."""
    if isinstance(value, dict):
        return _WatchedObject(value, where, seen)
    if isinstance(value, list):
        return _WatchedArray(value, where, seen)
    seen.add(where)
    return value


def unread(
    vectors: dict[str, Any], checks: Mapping[str, Callable[[Any, Any], None]], no_vectors: set[str]
) -> set[Where]:
    """Places in `vectors`, whose kinds are arrays of entries, that no check has looked at."""
    seen: set[Where] = set()
    watched = watch(vectors, (), seen)
    for kind in vectors.keys() & checks.keys():
        for entry in watched[kind]:
            checks[kind](entry, vectors)
    return {where for where, _ in leaves(vectors)} - seen - {(name,) for name in no_vectors}


def mutated(value: Any, where: Where) -> Any:
    """A copy of `value` with another leaf at `where`."""
    if where:
        copy = value.copy()
        copy[where[0]] = mutated(copy[where[0]], where[1:])
        return copy
    if isinstance(value, int):
        return value + 1 if value < 1000 else value * 2
    if value in ("", []):
        return "00" if value == "" else ["00"]
    if re.fullmatch("([0-9a-fA-F]{2})+", value):
        at = len(value) // 4  # in the middle
        raw = bytearray.fromhex(value)
        raw[at] ^= 1
        return raw.hex()
    return value + "?"
