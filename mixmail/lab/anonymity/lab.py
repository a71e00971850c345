"""`scripts/lab anonymity`."""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Mapping

from mixmail.errors import UserError
from mixmail.mixing.delays import LAWS
from mixmail.params import MAIL

from ..report import Lab, Report, Say
from . import compare, fast, plot, sweep
from .figures import Seen
from .flow import Setting

_FEWEST = 20
_EXACT = 10_000  # users beyond which only the fast path has room
_MOST = 2_000_000
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
        "--fast", action="store_true", help=f"the fast path also for {_EXACT:,} users and fewer, in arrays"
    )
    parser.add_argument("--seeds", type=int, default=1, help="so many networks of each setting (1)")
    parser.add_argument(
        "--dask", metavar="ADDRESS", help="simulate on the workers of this scheduler of dask.distributed"
    )
    parser.add_argument(
        "--law", choices=tuple(LAWS), default=MAIL.delay_law, help="of the delays (what ships)"
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=("shipping", *compare.settings(Setting())),
        help="only these comparisons, or none: shipping",
    )


def _jobs(options: argparse.Namespace) -> dict[str, list[sweep.Job]]:
    """Name of a setting -> one job a seed; the first is what ships, with hostile mixes as well."""
    quick = options.fast or options.users > _EXACT
    base = Setting(users=options.users, params=dataclasses.replace(MAIL, delay_law=options.law))
    shares = (0.0, *compare.HOSTILE)
    messages = min(options.messages, 300) if options.quick else options.messages
    if quick:
        base = fast.shortened(base)
        messages = min(messages, fast.most_messages(options.users, len(shares)))
    seeds = range(options.seed, options.seed + options.seeds)
    jobs = {"shipping": [sweep.Job(base, seed, messages, shares, quick) for seed in seeds]}
    for name, setting in ({} if options.quick else compare.settings(base)).items():
        wanted = options.only is None or name in options.only
        if not wanted or setting == base:
            continue
        if quick and not fast.can(setting):
            if options.only is not None:
                raise UserError(f"The fast path does not know {name}: leave it out.", code="fast")
            continue
        jobs[name] = [sweep.Job(setting, seed, messages, quick=quick) for seed in seeds]
    return jobs


def _run(options: argparse.Namespace, say: Say) -> Report:
    if not _FEWEST <= options.users <= _MOST:
        raise UserError(f"--users goes from {_FEWEST} to {_MOST}: name another number.", code="users")
    jobs = _jobs(options)
    found = sweep.run([job for some in jobs.values() for job in some], options.dask)
    results: dict[str, Seen] = {}
    figures: dict[str, float] = {}
    for name, some in jobs.items():
        one = sweep.merge([next(found) for _ in some])
        results[name] = one.seen[0]
        say(f"{name}: {compare.summary(one.seen[0])}")
        if name == "shipping":
            figures |= _shipping(one, options.users, results, say)
        else:
            figures |= {f"{name}.{key}": one.seen[0].figures()[key] for key in _KEYS}
    if options.plot:
        plot.draw(results, options.users, options.plot)
    return Report("anonymity", results["shipping"].n, options.seed, figures)


def _shipping(one: sweep.Found, users: int, results: dict[str, Seen], say: Say) -> Mapping[str, float]:
    """The figures of what ships, without and with hostile mixes; those come into `results`."""
    figures = one.seen[0].figures()
    for share, hostile, path in zip(compare.HOSTILE, one.seen[1:], one.path_hostile[1:], strict=True):
        results[f"hostile_{share:.0%}"] = hostile
        name = f"{share:.0%}".rstrip("%")
        found = hostile.figures()
        figures[f"path_hostile_{name}"] = path
        figures[f"epsilon_{name}"] = found["epsilon"]
        for key in ("epsilon_median", "epsilon_excluded_share", "sender_entropy_5pct_bits"):
            figures[f"{key}_{name}"] = found[key]
        figures[f"sender_entropy_mean_bits_{name}"] = found["sender_entropy_mean_bits"]
        say(f"{share:.0%} hostile: {compare.summary(hostile)}")
    figures["sender_entropy_ceiling_bits"] = math.log2(users)
    bits, likeliest = one.ways
    if len(bits):
        figures["calculated_large.query_entropy_min_bits"] = float(bits.min())
        figures["calculated_large.query_entropy_mean_bits"] = float(bits.mean())
        figures["calculated_large.worst_guess"] = float(likeliest.max())
    figures["surprises"] = one.seen[0].surprises
    return figures


LAB = Lab("anonymity", "what an observer of all links knows about who sent a message", _options, _run)
