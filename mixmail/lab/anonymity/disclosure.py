"""Statistical disclosure: after how many rounds an observer knows to whom his target writes.

The classical attack (Danezis, "Statistical disclosure attacks", SEC 2003; Mathewson, Dingledine, "Practical
traffic analysis", PET 2004) sets who gets mail in the rounds in which the target sends against the rounds
in which she does not.  Here everybody sends one query a round (a slot of the schedule), so that there are no
rounds without her; what is left to correlate is *when* in them her query leaves.

The observer sees every link and owns a share of the storers: he sees the moment at which a box is written
when one of the homes that are asked first is his.  He computes L_target of that moment as in `contact`:
how much better it fits her queries than anybody's.  He is taken to know more than that:

- which answer belongs to which query, of everybody (`contact`);
- *who reads each box*.  Its reader polls it again and again until it is there, so with short delays a few
  of his polls give him away.  With those that ship they do not: what follows is too pessimistic by far.

For every user u he adds log(1 + (L - 1) / contacts) over the boxes that u reads, the log likelihood ratio of
"she is one of the `contacts` people who write to u".  The target is *disclosed* in the first round after
which the users with the highest sums are her contacts and nobody else.

What one box tells about its writer is v = E[L] - 1 = Var[L], the first mean being over boxes of the target,
the variance over those of others.  Sums of contacts are then z = sqrt(n * v / contacts) standard deviations
above those of others when n boxes for each have been seen, which gives an estimate where the simulation ends
before it finds them.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mixmail.lab.report import Lab, Report, Say
from mixmail.params import MAIL, NetworkParameters

from .contact import BANK, Crowd, Setting
from .ways import Floats

HOSTILE = 0.2
CHECKS = 1.02  # rounds after which he looks again, as a factor
BOXES = 200_000  # moments of boxes whose L is computed: all are drawn from them
PART = 10_000


@dataclass(frozen=True, slots=True)
class People:
    """Who writes to whom how often: everybody to `contacts` people, to each once in `every` rounds."""

    users: int = 1_000
    contacts: int = 8
    every: float = 120.0

    def real_share(self, params: NetworkParameters) -> float:
        """The share of slots that hold something real: mails, and polls of the contacts' boxes."""
        hot = min(self.contacts, params.hot_max)
        warm = min(self.contacts - hot, params.warm_max)
        return min(1.0, self.contacts / self.every + hot * params.hot_weight + warm * params.warm_weight)


@dataclass(frozen=True, slots=True)
class Disclosure:
    """For each target the round that disclosed her (inf: none of `rounds`), and what is expected."""

    found: Floats
    rounds: int
    box_information: float  # v
    expected: float  # rounds

    @property
    def median(self) -> float:
        """Half of the targets are disclosed by then."""
        return float(np.median(self.found))


@dataclass(frozen=True, slots=True)
class Evidence:
    """L of the target at the moments at which boxes were written: her own, and those of others."""

    own: Floats
    others: Floats

    @property
    def information(self) -> float:
        """v, by the moments of both."""
        return float(((self.own.mean() - 1) + self.others.var()) / 2)


def evidence(setting: Setting, seed: int, boxes: int = BOXES) -> Evidence:
    """L at `boxes` moments each; the mean over boxes of others is 1 by definition and is made so."""
    crowd = Crowd(setting, seed, min(boxes, BANK))
    own, others = [], []
    for _ in range(boxes // PART):
        phase = crowd.rng.random(PART, dtype=np.float32) * np.float32(setting.params.slot)
        own.append(np.exp(crowd.victims(PART, 1, phase)[:, 0], dtype=float))
        others.append(np.exp(crowd.others(PART, 1, phase)[:, 0], dtype=float))
    scale = np.concatenate(others).mean()
    return Evidence(np.concatenate(own) / scale, np.concatenate(others) / scale)


def seen_share(params: NetworkParameters) -> float:
    """How often one of the homes that a write asks first is the observer's."""
    return float(1 - (1 - HOSTILE) ** params.write_acks)


def disclose(
    setting: Setting, people: People, targets: int, rounds: int, seed: int, boxes: int = BOXES
) -> Disclosure:
    """Watch `targets` targets, one after the other, for at most `rounds` rounds."""
    known = evidence(setting, seed, boxes)
    rng = np.random.default_rng([seed, 1])
    rate = seen_share(setting.params) / people.every  # boxes seen in a round, of one writer for one reader
    found = np.array([_watch(people, known, rate, rounds, rng) for _ in range(targets)])
    needed = _deviations(people, rng) ** 2 * people.contacts / known.information
    return Disclosure(found, rounds, known.information, needed / rate)


def _watch(people: People, known: Evidence, rate: float, rounds: int, rng: np.random.Generator) -> float:
    """The round in which one target is disclosed."""
    others = people.users - 1
    contacts = people.contacts
    own = np.log1p((known.own - 1) / contacts)
    foreign = np.log1p((known.others - 1) / contacts)
    sums = np.zeros(others)  # her contacts are the first
    writers = rng.poisson(contacts, others)  # other people who write to each
    writers[:contacts] = np.maximum(writers[:contacts] - 1, 0)
    now = 0
    while now < rounds:
        step = min(max(1, int(now * (CHECKS - 1))), rounds - now)
        now += step
        _add(sums, foreign, rng.poisson(rate * step * writers), rng)
        _add(sums[:contacts], own, rng.poisson(rate * step, contacts), rng)
        if sums[:contacts].min() > sums[contacts:].max():
            return float(now)
    return math.inf


def _add(sums: Floats, logs: Floats, counts: NDArray[np.int64], rng: np.random.Generator) -> None:
    """Add to each sum so many values, drawn from `logs`."""
    drawn = logs[rng.integers(0, logs.size, int(counts.sum()))]
    readers = np.repeat(np.arange(counts.size), counts)
    sums += np.bincount(readers, drawn, minlength=counts.size)


def _deviations(people: People, rng: np.random.Generator) -> float:
    """How many standard deviations above others contacts must stand so that half of all targets are known."""
    others = rng.standard_normal((500, people.users - 1 - people.contacts)).max(axis=1)
    contacts = rng.standard_normal((500, people.contacts)).min(axis=1)
    return float(np.median(others - contacts))


def settings(params: NetworkParameters, people: People) -> dict[str, Setting]:
    """What is compared; the first is what ships."""
    spacings = dataclasses.replace(params, delay_law="spacings")
    exponential = dataclasses.replace(params, delay_law="exponential")
    no_delays = dataclasses.replace(params, mean_delay=0.0)
    share = people.real_share(params)
    return {
        "disclosure_rounds": Setting(params),
        "disclosure_rounds_spacings": Setting(spacings),
        "disclosure_rounds_exponential": Setting(exponential),
        "disclosure_rounds_exponential_poisson_schedule": Setting(exponential, schedule="poisson"),
        "disclosure_rounds_spacings_cover_off": Setting(spacings, share=share),
        "disclosure_rounds_constant_rate_alone": Setting(no_delays),
        "disclosure_rounds_no_delays_cover_off": Setting(no_delays, share=share),
    }


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--users", type=int, default=1_000, help="users (1000)")
    parser.add_argument("--contacts", type=int, default=8, help="people to whom each user writes (8)")
    parser.add_argument(
        "--every", type=float, default=120.0, help="rounds between mails to one contact (120)"
    )
    parser.add_argument("--targets", type=int, default=20, help="targets of which the median is told (20)")
    parser.add_argument("--rounds", type=int, default=100_000, help="rounds that are simulated (100000)")


def _run(options: argparse.Namespace, say: Say) -> Report:
    people = People(options.users, options.contacts, options.every)
    figures: dict[str, float] = {}
    ends: dict[str, Disclosure] = {}
    for key, setting in settings(MAIL, people).items():
        one = ends[key] = disclose(setting, people, options.targets, options.rounds, options.seed)
        # A figure that reaches `disclosure_rounds_looked_at` is a lower bound.
        figures[key] = min(one.median, options.rounds)
        figures[f"{key}_expected"] = one.expected
        median = f"{one.median:.0f}" if np.isfinite(one.median) else f"more than {options.rounds}"
        say(
            f"{key}: {median} rounds ({int(np.isfinite(one.found).sum())} of {options.targets} disclosed), "
            f"expected {one.expected:.3g}, v = {one.box_information:.2g}"
        )
    figures["disclosure_rounds_looked_at"] = options.rounds
    if options.plot:
        _plot(ends, options.plot)
    return Report("disclosure", options.targets, options.seed, figures)


def _plot(ends: dict[str, Disclosure], file: object) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    names = [
        key.removeprefix("disclosure_rounds").strip("_").replace("_", " ") or "as shipped" for key in ends
    ]
    axes.barh(names, [one.expected for one in ends.values()], color="lightgrey", label="expected")
    for row, one in enumerate(ends.values()):
        found = one.found[np.isfinite(one.found)]
        axes.plot(found, np.full(found.size, row), "|", color="black")
    axes.axvline(20_000, color="grey", linestyle=":")
    axes.set_xscale("log")
    axes.invert_yaxis()
    axes.set_xlabel("rounds until disclosed (marks: simulated targets)")
    figure.savefig(str(file))


LAB = Lab("disclosure", "rounds until an observer knows to whom his target writes", _options, _run)
