"""What a lab is to `scripts/lab`, and the shape in which all labs print their figures."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of one run of the lab `lab`; `n` is what they rest on, `seed` replays them."""

    lab: str
    n: int
    seed: int
    figures: Mapping[str, float] = field(default_factory=dict)

    def line(self) -> str:
        """The JSON line; four digits are more than any figure is worth."""
        figures = {key: float(f"{value:.4g}") for key, value in self.figures.items()}
        return json.dumps({"lab": self.lab, "n": self.n, "seed": self.seed, "figures": figures})


@dataclass(frozen=True, slots=True)
class Lab:
    """One entry of `scripts/lab`.

    `options` adds what only this lab knows to its parser, which has `--seed`, `--json` and `--plot` already.
    `run` gets the parsed options and a function that takes lines of progress; it draws the plot itself when
    `options.plot` names a file.
    """

    name: str
    summary: str
    options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Say], Report]
