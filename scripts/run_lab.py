"""Measures on virtual networks: what `scripts/lab` calls inside of .venv.

The last line of standard output is {"lab": NAME, "n": …, "seed": …, "figures": {KEY: number}}; progress goes
to standard error.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from mixmail.errors import MixmailError, UserError
from mixmail.lab.report import Lab, Report

LABS = {
    "anonymity": "mixmail.lab.anonymity.lab",
    "blocking": "mixmail.lab.blocking",
    "traffic": "mixmail.lab.traffic",
    "losses": "mixmail.lab.losses",
    "wire": "mixmail.lab.wire",
    "storer": "mixmail.lab.storer",
    "midnight": "mixmail.lab.midnight",
    "sybil": "mixmail.lab.sybil",
    "contact": "mixmail.lab.anonymity.contact_lab",
    "churn": "mixmail.lab.churn.lab",
    "disclosure": "mixmail.lab.anonymity.disclosure",
}
EXTRA = {"distributed", "matplotlib", "numpy", "scipy"}  # the extra `lab` brings them; not all labs need them


def say(text: str) -> None:
    """Progress."""
    print(f"lab: {text}", file=sys.stderr, flush=True)


def load(name: str) -> Lab:
    """The lab of that name; UserError when a library is missing that it needs."""
    try:
        lab: Lab = importlib.import_module(LABS[name]).LAB
    except ModuleNotFoundError as error:
        raise missing(name, error) from error
    return lab


def missing(name: str, error: ModuleNotFoundError) -> Exception:
    """What to say about a module that is not there."""
    library = (error.name or "").split(".")[0]
    if library not in EXTRA:
        return error
    return UserError(
        f"The lab {name} needs {library}, which is not installed: install the extra `lab` "
        "(scripts/setup test does).",
        code="extra",
    )


def parser(labs: Sequence[Lab]) -> argparse.ArgumentParser:
    """The options of `labs`."""
    made = argparse.ArgumentParser(
        prog="scripts/lab",
        description="Measure on a virtual network. The last line of standard output is JSON.",
    )
    kinds = made.add_subparsers(dest="name", required=True, metavar="NAME")
    for lab in labs:
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
    named = [name for name in arguments[:1] if name in LABS]
    try:
        labs = [load(name) for name in named or LABS]  # only what is needed: numpy takes its time
        options = parser(labs).parse_args(arguments)
        lab = next(lab for lab in labs if lab.name == options.name)
        report = lab.run(options, say)
    except ModuleNotFoundError as error:
        reason = missing(arguments[0], error)
        if reason is error:
            raise
        say(str(reason))
        return 1
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
