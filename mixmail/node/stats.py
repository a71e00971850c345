"""Counters of one node: what it did and why it dropped something.  Never who, when or what."""

from __future__ import annotations


class Stats:
    """Monotone counters by name; names of dropped things begin with `drop.`."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, name: str, count: int = 1) -> None:
        """Add `count` to the counter `name`."""
        self._counts[name] = self._counts.get(name, 0) + count

    def __getitem__(self, name: str) -> int:
        return self._counts.get(name, 0)

    def snapshot(self) -> dict[str, int]:
        """All counters so far, by name."""
        return dict(sorted(self._counts.items()))

    def dropped(self) -> dict[str, int]:
        """Only what was dropped, by reason."""
        return {name[5:]: n for name, n in sorted(self._counts.items()) if name.startswith("drop.")}
