"""`scripts/lab anonymity`."""

from __future__ import annotations

import argparse
import dataclasses
import math

from mixmail.errors import UserError
from mixmail.mixing.delays import LAWS
from mixmail.params import MAIL

from ..report import Lab, Report, Say
from . import compare, large, plot
from .figures import Seen, Study
from .flow import Setting

_FEWEST = 20
_MOST = 10_000
_KEYS = (
    "packet_entropy_min_bits",
    "query_entropy_min_bits",
    "query_entropy_mean_bits",
    "sender_entropy_min_bits",
    "worst_guess",
    "epsilon",
    "calibration",
)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--users", type=int, default=1_000, help="each of them a node (1000)")
    parser.add_argument("--messages", type=int, default=2_000, help="looked at of those that leave (2000)")
    parser.add_argument("--quick", action="store_true", help="no comparisons and 300 messages")
    parser.add_argument(
        "--law", choices=tuple(LAWS), default=MAIL.delay_law, help="of the delays (what ships)"
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=("shipping", *compare.settings(Setting())),
        help="only these comparisons, or none: shipping",
    )


def _run(options: argparse.Namespace, say: Say) -> Report:
    if not _FEWEST <= options.users <= _MOST:
        raise UserError(f"--users goes from {_FEWEST} to {_MOST}: name another number.", code="users")
    base = Setting(users=options.users, params=dataclasses.replace(MAIL, delay_law=options.law))
    messages = min(options.messages, 300) if options.quick else options.messages
    study = Study(base, options.seed)
    seen = study.look(messages)
    say(f"shipping: {compare.summary(seen)}")
    results: dict[str, Seen] = {"shipping": seen}
    figures = seen.figures()
    for share in compare.HOSTILE:
        results[f"hostile_{share:.0%}"] = hostile = study.look(messages, share)
        name = f"{share:.0%}".rstrip("%")
        found = hostile.figures()
        figures[f"path_hostile_{name}"] = study.path_hostile(share)
        figures[f"epsilon_{name}"] = found["epsilon"]
        for key in ("epsilon_median", "epsilon_excluded_share", "sender_entropy_5pct_bits"):
            figures[f"{key}_{name}"] = found[key]
        figures[f"sender_entropy_mean_bits_{name}"] = found["sender_entropy_mean_bits"]
        say(f"{share:.0%} hostile: {compare.summary(hostile)}")
    figures["sender_entropy_ceiling_bits"] = math.log2(options.users)
    bits, likeliest = large.ways(study)
    figures["calculated_large.query_entropy_min_bits"] = float(bits.min())
    figures["calculated_large.query_entropy_mean_bits"] = float(bits.mean())
    figures["calculated_large.worst_guess"] = float(likeliest.max())
    figures["surprises"] = seen.surprises
    if not options.quick:
        for name, other in compare.compare(base, options.seed, messages, say, options.only):
            results[name] = other
            found = other.figures()
            figures |= {f"{name}.{key}": found[key] for key in _KEYS}
    if options.plot:
        plot.draw(results, options.users, options.plot)
    return Report("anonymity", seen.n, options.seed, figures)


LAB = Lab("anonymity", "what an observer of all links knows about who sent a message", _options, _run)
