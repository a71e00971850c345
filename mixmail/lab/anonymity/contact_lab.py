"""`scripts/lab contact`."""

from __future__ import annotations

import argparse
import dataclasses

import numpy as np

from mixmail.lab.report import Lab, Report, Say
from mixmail.params import MAIL

from . import follow
from .contact import Search, search, settings
from .figures import Study
from .flow import Setting as FlowSetting


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--users", type=int, default=1_000, help="users among whom the victim is (1000)")
    parser.add_argument("--victims", type=int, default=20, help="searches of which the median is told (20)")
    parser.add_argument("--reads", type=int, default=50_000, help="reads after which a search ends (50000)")
    parser.add_argument(
        "--follow", type=int, default=0, metavar="N", help="also by following N packets; minutes a law (0)"
    )
    parser.add_argument("--shipping", action="store_true", help="only the network that ships")


def _run(options: argparse.Namespace, say: Say) -> Report:
    compared = settings(MAIL)
    if options.shipping:
        compared = {"contact_reads": compared["contact_reads"]}
    searches: dict[str, Search] = {}
    for key, setting in compared.items():
        known = next((old for old in searches if compared[old] == setting), None)
        if known is not None:
            searches[key] = searches[known]
            continue
        one = search(setting, options.users, options.victims, options.reads, options.seed)
        searches[key] = one
        median = f"{one.median:.0f}" if np.isfinite(one.median) else f"more than {options.reads}"
        say(
            f"{key}: {median} reads (5 % of victims: {np.quantile(one.found, 0.05, method='higher'):.0f}; "
            f"found {int(np.isfinite(one.found).sum())} of {options.victims}), {one.bits:.2g} bits a read"
        )
    # A figure that reaches `contact_reads_looked_at` is a lower bound.
    figures = {key: min(one.median, options.reads) for key, one in searches.items()}
    figures["contact_reads_5_percent"] = min(
        float(np.quantile(searches["contact_reads"].found, 0.05, method="higher")), options.reads
    )
    figures["contact_reads_looked_at"] = options.reads
    if options.follow:
        figures |= _follow(options, say)
    if options.plot:
        _plot(searches, options.plot)
    return Report("contact", options.victims, options.seed, figures)


def _follow(options: argparse.Namespace, say: Say) -> dict[str, float]:
    figures = {}
    for law in ("spacings", "exponential"):
        params = dataclasses.replace(MAIL, delay_law=law)
        study = Study(FlowSetting(users=options.users, params=params), options.seed)
        known = follow.follow(study, options.follow)
        one = follow.search(known, options.victims, options.reads, options.seed)
        key = f"contact_reads_following_{law}"
        figures[key] = min(one.median, options.reads)
        figures[f"{key}_calibration"] = known.calibration
        say(f"{key}: {one.median:.0f} reads, {one.bits:.2g} bits a read, calibration {known.calibration:.2f}")
    return figures


def _plot(searches: dict[str, Search], file: object) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for key, one in searches.items():
        found = np.sort(one.found)
        share = np.arange(1, found.size + 1) / found.size
        label = key.removeprefix("contact_reads").strip("_").replace("_", " ") or "as shipped"
        axes.step(found[np.isfinite(found)], share[np.isfinite(found)], where="post", label=label)
    axes.set_xscale("log")
    axes.set_xlabel("reads of boxes that the contact knows")
    axes.set_ylabel("share of victims found")
    axes.legend(fontsize="x-small")
    figure.savefig(str(file))


LAB = Lab("contact", "reads until a malicious contact with storers has found his victim", _options, _run)
