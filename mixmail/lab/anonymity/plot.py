"""The pictures of the anonymity lab."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .figures import Seen


def draw(results: Mapping[str, Seen], users: int, file: Path) -> None:
    """Entropy over packets and over users: which share of the messages has at most so many bits."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, seen in results.items():
        share = np.arange(1, seen.n + 1) / seen.n
        left.plot(np.sort(seen.query_bits), share, label=name)
        right.plot(np.sort(seen.sender_bits), share, label=name)
    right.axvline(float(np.log2(users)), color="grey", linestyle=":")
    left.set_xlabel("bits over candidate queries")
    right.set_xlabel(f"bits over {users} users (dotted: the ceiling)")
    left.set_ylabel("share of messages with at most so many")
    left.legend(fontsize="small")
    figure.savefig(file)
