"""Can storers tell that two keys belong to one user?

Networks of full nodes with agents (`storer_network`); storers write down every query that reaches them and
are asked about pairs of keys (`storer_pairs`).  A classifier that learned the truth of half of the networks
ranks the pairs of the other half by all that can be compared (`storer_features`); the figure is the area
under its curve: 0.5 is a guess, 1 certainty.  Views: one home alone (each in turn), a fifth of the homes
together (drawn several times), all homes together.

The first question is of boxes that are waited for; `written_*` and `next_*` are the other two.  With a fault
planted in the agents the first must be answered better.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from mixmail.lab.report import Lab, Report, Say
from mixmail.lab.wire import PARAMS
from mixmail.testing import SeededRandomness

from .storer_changes import FAULTS, TRIALS
from .storer_features import FAMILIES
from .storer_network import Notes, note
from .storer_pairs import contacts_pairs, next_pairs, written_pairs
from .storer_stats import Pairs, auc_of, join, scores, upper_bound

Question = Callable[[Notes, Sequence[int], int, int, int], Pairs]
VIEWS = {"one": 2, "fifth": 3, "all": 9}
"""Who takes notes, and how many pairs of two users are looked at for one of one user."""
FIFTHS = 6  # draws of a fifth of the homes in each network


@dataclass(frozen=True, slots=True)
class Found:
    """How well pairs are told apart: the AUC, its upper 95 % bound, n, and the AUC of each family alone."""

    auc: float
    upper: float
    pairs: int
    of_one_user: int
    families: dict[str, float]


def tell(networks: Sequence[Notes], question: Question, view: str, seed: int) -> Found:
    """What storers of `view` make of the notes of at least two networks."""
    parts = [
        question(notes, homes, number, VIEWS[view], seed)
        for number, notes in enumerate(networks)
        for homes in _homes(notes.hosts, view, seed + number)
    ]
    pairs = join([part for part in parts if len(part.same)])
    said = scores(pairs)
    rng = np.random.default_rng(SeededRandomness(f"bootstrap {seed}").below(2**63))
    families = {name: pairs.of(list(columns)) for name, columns in FAMILIES.items()}
    return Found(
        auc_of(pairs, said),
        upper_bound(pairs, said, rng),
        len(pairs.same),
        int(pairs.same.sum()),
        {name: auc_of(family, scores(family)) for name, family in families.items()},
    )


def _homes(hosts: int, view: str, seed: int) -> list[Sequence[int]]:
    if view == "all":
        return [range(hosts)]
    if view == "one":
        return [[home] for home in range(hosts)]
    rng = SeededRandomness(f"fifth {seed}")
    return [rng.sample(range(hosts), hosts // 5) for _ in range(FIFTHS)]


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--networks", type=int, default=4, help="networks, half of them to learn from (4)")
    parser.add_argument("--users", type=int, default=24, help="full nodes with an agent each (24)")
    parser.add_argument("--hours", type=float, default=48.0, help="virtual hours that are watched (48)")
    parser.add_argument("--fault", choices=FAULTS, help="plant this, and answer the first question only")
    parser.add_argument("--trial", choices=TRIALS, help="plant what does not ship; no faults afterwards")
    parser.add_argument("--only", choices=("waiting", "written"), help="answer this question only")


def _run(options: argparse.Namespace, say: Say) -> Report:
    figures: dict[str, float] = {}
    run = partial(_networks, options, say)
    change = options.fault or options.trial or "none"
    only = "waiting" if options.fault else options.only
    if only != "written":
        waiting = run(options.networks, options.hours, change, 1.0)
        _add(figures, "", waiting, contacts_pairs, options.seed, say)
        if only is None:
            _add(figures, "next_", waiting, next_pairs, options.seed, say, ("fifth", "all"))
    if only != "waiting":
        writing = run(2, options.hours / 4, change, 8.0)
        _add(figures, "written_", writing, written_pairs, options.seed, say)
    if only is None and change == "none":
        for fault, share in zip(FAULTS, (8, 4), strict=True):  # the second shows more slowly
            planted = run(2, options.hours / share, fault, 1.0)
            _add(figures, f"{fault}_", planted, contacts_pairs, options.seed, say)
    n = figures["written_storer_pairs" if only == "written" else "storer_pairs"]
    return Report("storer", int(n), options.seed, figures)


def _networks(
    options: argparse.Namespace, say: Say, count: int, hours: float, change: str, mails_a_day: float
) -> list[Notes]:
    made = []
    for number in range(count):
        seed = options.seed * 1_000 + number
        made.append(note(seed, hours, PARAMS, options.users, change=change, mails_a_day=mails_a_day))
        say(f"{change}, network {number + 1} of {count}: {made[-1].queries} queries at homes")
    return made


def _add(
    figures: dict[str, float],
    name: str,
    networks: Sequence[Notes],
    question: Question,
    seed: int,
    say: Say,
    views: Sequence[str] = tuple(VIEWS),
) -> None:
    for view in views:
        found = tell(networks, question, view, seed)
        start = f"{name}storer" if view == "one" else f"{name}{view}"
        figures[f"{start}_auc"], figures[f"{start}_auc_upper"] = found.auc, found.upper
        figures[f"{start}_pairs"], figures[f"{start}_pairs_one_user"] = found.pairs, found.of_one_user
        if name != "next_":
            figures |= {f"{start}_{family}_auc": value for family, value in found.families.items()}
        say(f"{start}: {found.auc:.3f}, at most {found.upper:.3f} (n = {found.pairs})")


LAB = Lab("storer", "can storers tell that two keys belong to one user?", _options, _run)
