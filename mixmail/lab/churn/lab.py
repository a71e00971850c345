"""`scripts/lab churn`: how many boxes are lost while nodes leave and storers are hostile.

scripts/lab churn                          300,000 boxes, what ships, 20 % hostile storers
scripts/lab churn --exact --nodes 40 ...   the same by the shipping code itself, for small networks
XX churn --table --boxes 8000     replication x interval x hostile storers, as in docs/protocol/store.md
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mixmail.errors import UserError
from mixmail.lab.churn.exact import World
from mixmail.lab.churn.fast import Outcome, simulate
from mixmail.lab.churn.setting import HOSTILE, Kind, Population, Setting, make_population
from mixmail.lab.report import Lab, Report, Say
from mixmail.params import DAY, GEOMETRY

WRITING_DAYS = 1.0  # boxes are written at random moments of the first day, so each lives nearly all its class
LARGEST_EXACT = 200  # nodes
TABLE = {"replication": (8, 16, 24, 32), "repair_h": (2.0, 6.0, 24.0), "hostile": (0.0, 0.1, 0.2, 0.3)}
DRAWS = 20  # of the fast path, to compare one run of the exact path with

BASE = Setting(nodes=40, days=3, graceful=0.5)
AGREEMENT = {
    "no repair": replace(BASE, days=5, replication=8, repair_h=0.0),
    "a sweep a day": replace(BASE, days=5, replication=4, repair_h=24.0, spread=False),
    "half hostile": replace(BASE, replication=6, hostile=0.5, spread=False),
    "what ships": BASE,
}
"""Networks small enough for the shipping code; three of them lose boxes."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Boxes lost and mean copies by the shipping code in one run, and by the fast path in several.

    All on one history of nodes, with the same keys; the fast path draws the moments of the sweeps and all
    choices anew each time, and one run of the shipping code is one more draw of that.
    """

    boxes: int
    exact: int
    copies: float
    fast: tuple[int, ...]
    fast_copies: float

    @property
    def mean(self) -> float:
        """Boxes lost by the fast path."""
        return float(np.mean(self.fast))

    @property
    def sigma(self) -> float:
        """Standard error of the difference: the binomial one, as a home's choices hit many boxes at once.

        The spread of the draws, if that is greater; half a box at least, since boxes are whole.
        """
        binomial = (self.mean * (1 - self.mean / self.boxes)) ** 0.5
        return float(max(np.std(self.fast, ddof=1), binomial, 0.5) * (1 + 1 / len(self.fast)) ** 0.5)

    @property
    def sigmas(self) -> float:
        """How far the two are apart."""
        return abs(self.exact - self.mean) / self.sigma


def compare(setting: Setting, boxes: int, seed: int, draws: int = DRAWS) -> Agreement:
    """One run of the shipping code and `draws` of the fast path, with the same nodes and keys."""
    rng = np.random.default_rng(seed)
    people = make_population(setting, rng)
    written_at = np.sort(rng.random(boxes) * WRITING_DAYS)
    world = World(setting, people, written_at, seed)
    exact, copies = int(world.run().sum()), float(world.copies().mean())
    scores, found = world.scores(0, boxes), []
    for _ in range(draws):
        again = replace(people, phase=rng.random(len(people)))
        found.append(simulate(setting, again, written_at, rng, lambda begin, end: scores[begin:end]))
    fast = tuple(int(outcome.lost.sum()) for outcome in found)
    return Agreement(boxes, exact, copies, fast, float(np.mean([outcome.copies.mean() for outcome in found])))


def measure(setting: Setting, boxes: int, seed: int, say: Say) -> tuple[Outcome, Population]:
    """The fast path once."""
    rng = np.random.default_rng(seed)
    people = make_population(setting, rng)
    return simulate(setting, people, rng.random(boxes) * WRITING_DAYS, rng, say=say), people


def traffic(setting: Setting, outcome: Outcome, viewed: float) -> tuple[float, float]:
    """KB/s each way that a node spends on records of repair and on offers; a frame each.

    Offers of one sweep to one peer share a frame: one to each node that was born since, one to each of the
    chosen ones, and one to each of the others that has come nearer to anything held here (these fall on
    `viewed` peers at random).
    """
    if not setting.repairs:
        return 0.0, 0.0
    a_node = GEOMETRY.frame / 1_000 / (setting.nodes * setting.days * DAY)
    steps = len(outcome.shifts)
    sweeping = (
        setting.nodes * (1 - setting.hostile) * setting.days * 24 / setting.repair_h / steps
    )  # in a step
    told = viewed * -np.expm1(-outcome.shifts * setting.share / sweeping / viewed)
    born = setting.leave * setting.nodes * setting.repair_h / 24
    offers = float((told + born + setting.peers).sum()) * sweeping
    return outcome.records_sent * a_node, offers * a_node


def _figures(setting: Setting, boxes: int, seed: int, say: Say) -> dict[str, float]:
    outcome, people = measure(setting, boxes, seed, say)
    records, offers = traffic(setting, outcome, people.viewed)
    return {
        "boxes": boxes,
        "lost": int(outcome.lost.sum()),
        "replication": setting.replication,
        "repair_h": setting.repair_h,
        "lost_first_day": int((outcome.lost_at <= WRITING_DAYS + 1).sum()),
        "least_copies": int(outcome.least.min()),
        "few_copies": int((outcome.least <= 2).sum()),
        "unreadable_share": outcome.unreadable_days / (boxes * setting.days),
        "records_kb_per_s": records,
        "offers_kb_per_s": offers,
        "copies_least_mean": float(outcome.least.mean()),
        "hostile": setting.hostile,
        "leave": setting.leave,
        "graceful": setting.graceful,
        "nodes": setting.nodes,
        "nodes_in_view": people.viewed,
        "days": setting.days,
    }


def _exact(setting: Setting, boxes: int, seed: int, say: Say) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    people = make_population(setting, rng)
    world = World(setting, people, np.sort(rng.random(boxes) * WRITING_DAYS), seed)
    lost = int(world.run(say).sum())
    return {
        "boxes": boxes,
        "lost": lost,
        "replication": setting.replication,
        "repair_h": setting.repair_h,
        "copies": float(world.copies().mean()),
        "hostile": setting.hostile,
        "nodes": setting.nodes,
        "days": setting.days,
    }


def _agree(boxes: int, seed: int, say: Say) -> dict[str, float]:
    figures: dict[str, float] = {}
    for name, setting in AGREEMENT.items():
        found = compare(setting, boxes, seed)
        say(
            f"{name}: {found.exact} of {boxes} lost, {found.mean:.1f} by the fast path "
            f"({found.sigmas:.1f} sigmas); {found.copies:.2f} and {found.fast_copies:.2f} copies of each"
        )
        key = name.replace(" ", "_").replace(",", "")
        figures |= {f"{key}_exact": found.exact, f"{key}_fast": found.mean, f"{key}_sigmas": found.sigmas}
        figures |= {f"{key}_copies_exact": found.copies, f"{key}_copies_fast": found.fast_copies}
    return figures


def table(setting: Setting, boxes: int, seed: int, say: Say) -> dict[str, float]:
    """Boxes lost of `boxes` for each point of `TABLE`; says the table's lines in Markdown."""
    say("| R | sweep | " + " | ".join(f"{share:.0%}" for share in TABLE["hostile"]) + " |")
    say("|---|---|" + "---|" * len(TABLE["hostile"]))
    figures: dict[str, float] = {}
    for replication in TABLE["replication"]:
        for interval in TABLE["repair_h"]:
            row = []
            for hostile in TABLE["hostile"]:
                point = replace(setting, replication=int(replication), repair_h=interval, hostile=hostile)
                outcome, _ = measure(point, boxes, seed, lambda text: None)
                row.append(int(outcome.lost.sum()))
                figures[f"lost_{replication}_{interval:g}h_{hostile:.0%}"] = row[-1]
            say(f"| {replication} | {interval:g} h | " + " | ".join(f"{lost:,}" for lost in row) + " |")
    return figures


def _options(parser: argparse.ArgumentParser) -> None:
    what = Setting()
    parser.add_argument(
        "--boxes", type=int, default=300_000, help="boxes, written on the first day (300,000)"
    )
    parser.add_argument(
        "--nodes", type=int, default=what.nodes, help=f"nodes that run at a time ({what.nodes})"
    )
    parser.add_argument("--days", type=int, default=what.days, help=f"virtual days ({what.days})")
    parser.add_argument("--leave", type=float, default=what.leave, help="share of nodes leaving a day (0.3)")
    parser.add_argument("--graceful", type=float, default=what.graceful, help="of these, with a word (0)")
    parser.add_argument("--hostile", type=float, default=what.hostile, help="share of hostile storers (0.2)")
    parser.add_argument(
        "--kinds",
        default="drop",
        help="what these do: drop, lie, forget, old, with commas between, or all (drop)",
    )
    parser.add_argument(
        "--replication", type=int, default=what.replication, help="homes of a box (what ships)"
    )
    parser.add_argument(
        "--repair-h", type=float, default=what.repair_h, help="hours of a sweep, 0: no repair"
    )
    parser.add_argument("--share", type=float, default=what.share, help="of the homes that tell a new home")
    parser.add_argument(
        "--descriptor-days", type=int, default=what.descriptor_days, help="how long views keep who is gone"
    )
    parser.add_argument(
        "--announced",
        type=int,
        default=int(what.announced),
        help="1: who leaves with a word leaves the views",
    )
    parser.add_argument(
        "--spread", type=int, default=int(what.spread), help="1: writers write once more, to random homes"
    )
    parser.add_argument("--exact", action="store_true", help="by the shipping code itself (small networks)")
    parser.add_argument("--agree", action="store_true", help="both ways at some settings of 40 nodes")
    parser.add_argument(
        "--table", action="store_true", help="replication, interval and hostile storers varied"
    )


def _kinds(text: str) -> tuple[Kind, ...]:
    if text == "all":
        return HOSTILE
    try:
        return tuple(Kind[name.strip().upper()] for name in text.split(","))
    except KeyError as error:
        raise UserError(
            f"There is no kind of hostile storer {error}: use drop, lie, forget, old or all."
        ) from None


def _setting(options: argparse.Namespace) -> Setting:
    if not 1 <= options.replication <= 32:
        raise UserError(
            "--replication is from 1 to 32: an answer has 32 bits for the homes that acknowledged."
        )
    if options.repair_h > 24 or options.repair_h < 0:
        raise UserError("--repair-h is from 0 to 24 hours.")
    if options.leave <= 0 or options.days < 2 or options.boxes < 1:
        raise UserError("Use --leave above 0, --days from 2 on and at least one box.")
    if options.exact and options.nodes > LARGEST_EXACT:
        raise UserError(f"--exact is for small networks: use --nodes {LARGEST_EXACT} at most.")
    return Setting(
        nodes=options.nodes,
        days=options.days,
        leave=options.leave,
        graceful=options.graceful,
        hostile=options.hostile,
        kinds=_kinds(options.kinds),
        replication=options.replication,
        repair_h=options.repair_h,
        share=options.share,
        descriptor_days=options.descriptor_days,
        announced=bool(options.announced),
        spread=bool(options.spread),
    )


def _run(options: argparse.Namespace, say: Say) -> Report:
    setting = _setting(options)
    if options.table:
        figures = table(setting, options.boxes, options.seed, say)
        if options.plot:
            _plot(figures, options.boxes, str(options.plot))
    elif options.agree:
        figures = _agree(options.boxes, options.seed, say)
    elif options.exact:
        figures = _exact(setting, options.boxes, options.seed, say)
    else:
        figures = _figures(setting, options.boxes, options.seed, say)
    return Report("churn", options.boxes, options.seed, figures)


def _plot(figures: dict[str, float], boxes: int, file: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    interval: float = TABLE["repair_h"][0]
    shares: Sequence[float] = TABLE["hostile"]
    for replication in TABLE["replication"]:
        lost = [figures[f"lost_{replication}_{interval:g}h_{share:.0%}"] / boxes for share in shares]
        axes.plot([100 * share for share in shares], lost, marker="o", label=f"{replication} homes")
    axes.set_yscale("symlog", linthresh=1 / boxes)
    axes.set_xlabel("hostile storers, %")
    axes.set_ylabel(f"boxes lost, sweeps of {interval:g} h")
    axes.legend()
    figure.savefig(file)


LAB = Lab("churn", "boxes lost while nodes leave and storers are hostile", _options, _run)
