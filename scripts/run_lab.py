"""Measures on virtual networks: what `scripts/lab` calls inside of .venv.

The last line of standard output is {"lab": NAME, "n": …, "seed": …, "figures": {KEY: number}}; progress goes
to standard error.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mixmail.errors import MixmailError, UserError
from mixmail.lab import blocking, losses, midnight, traffic, wire
from mixmail.lab.anonymity import contact_lab, disclosure
from mixmail.lab.anonymity import lab as anonymity
from mixmail.lab.report import Lab, Report

LABS: list[Lab] = [
    anonymity.LAB,
    blocking.LAB,
    traffic.LAB,
    losses.LAB,
    wire.LAB,
    midnight.LAB,
    contact_lab.LAB,
    disclosure.LAB,
]


def say(text: str) -> None:
    """Progress."""
    print(f"lab: {text}", file=sys.stderr, flush=True)


def parser() -> argparse.ArgumentParser:
    """The options of all labs."""
    made = argparse.ArgumentParser(
        prog="scripts/lab",
        description="Measure on a virtual network. The last line of standard output is JSON.",
    )
    kinds = made.add_subparsers(dest="name", required=True, metavar="NAME")
    for lab in LABS:
        one = kinds.add_parser(lab.name, help=lab.summary, description=lab.summary)
        one.add_argument("--seed", type=int, default=1, help="replays a run (1)")
        one.add_argument("--json", action="store_true", help="only the JSON line on standard output")
        one.add_argument("--plot", type=Path, metavar="FILE", help="draw a picture: .png or .svg")
        lab.options(one)
    return made


def show(report: Report) -> None:
    """For people."""
    print(f"{report.lab} (n = {report.n}, seed {report.seed})")
    for key, value in report.figures.items():
        print(f"  {key:<32} {value:.4g}")


def main(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    lab = next(lab for lab in LABS if lab.name == options.name)
    try:
        report = lab.run(options, say)
    except UserError as error:
        say(str(error))
        return 1
    except MixmailError as error:
        say(f"{error}: this is a defect.")
        return 1
    if not options.json:
        show(report)
    print(report.line())
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
