"""Does a user find out which node loses packets?  Own queries over shipping routes in a network of twelve.

Each trial draws routes as the agent does, loses queries at each node they pass with that node's probability,
and asks `agent.losses` after every 50 queries whom it names.  Cases: one mix that loses 20 %; the same while
links lose 15 % of the queries elsewhere; one dead node; two that lose 20 % and 30 %; nobody.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping

from mixmail.agent.losses import NodeLosses
from mixmail.directory.path import draw_route
from mixmail.directory.view import View
from mixmail.lab.network import LabNetwork
from mixmail.lab.report import Lab, Report, Say
from mixmail.params import MAIL
from mixmail.testing import SeededRandomness

PARAMS = dataclasses.replace(MAIL, puzzle_memory=8_192, puzzle_bits=0)
# case: losses of the first other nodes, and of a query elsewhere
CASES: Mapping[str, tuple[tuple[float, ...], float]] = {
    "one_20": ((0.2,), 0.0),
    "one_20_lossy_links": ((0.2,), 0.15),  # eight frames over links that lose 2 % each
    "one_dead": ((1.0,), 0.0),
    "two": ((0.2, 0.3), 0.0),
    "none": ((), 0.15),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Trial:
    """Whether all bad nodes were named at the end, after how many queries first, honest ones ever named."""

    found: bool
    after: int | None
    honest_named: int


def network_of(nodes: int, seed: int) -> tuple[View, bytes, float]:
    """A view as the first host of a lab network has it, that host's id, and the moment."""
    lab = LabNetwork(PARAMS, nodes, seed, trace=False, senders=0)
    lab.start()
    host = lab.hosts[0]
    if host.node is None:
        raise ValueError("the first host is down")
    return host.node.view, host.node_id, lab.now


def trial(case: str, queries: int, seed: int, nodes: int = 12, look_every: int = 50) -> Trial:
    """One user's queries in one network."""
    bad_losses, elsewhere = CASES[case]
    view, own_id, now = network_of(nodes, seed)
    rng = SeededRandomness(f"losses {case} {seed}")
    others = [item.node_id for item in view.others(own_id, now)]
    bad = dict(zip(rng.sample(others, len(bad_losses)), bad_losses, strict=True))
    losses = NodeLosses()
    after: int | None = None
    honest: set[bytes] = set()
    named: set[bytes] = set()
    for number in range(1, queries + 1):
        route = draw_route(view, own_id, now, rng)
        passed = tuple(node.node_id for node in (*route.out, route.courier, route.proxy, *route.back))
        lost = rng.uniform() < elsewhere or any(rng.uniform() < bad.get(node, 0.0) for node in passed)
        losses.add(not lost, passed)
        if number % look_every == 0:
            named = {one.node_id for one in losses.named()}
            honest |= named - bad.keys()
            if after is None and bad.keys() <= named:
                after = number
    return Trial(bad.keys() <= named, after, len(honest))


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, default=20, help="trials of each case (20)")
    parser.add_argument("--queries", type=int, default=1_000, help="own queries of a trial (1000)")


def _run(options: argparse.Namespace, say: Say) -> Report:
    figures: dict[str, float] = {}
    for case in CASES:
        trials = [
            trial(case, options.queries, options.seed * 1_000 + number) for number in range(options.seeds)
        ]
        if case != "none":
            figures[f"{case}_named_share"] = sum(one.found for one in trials) / len(trials)
            figures[f"{case}_named_after_worst"] = max(one.after or options.queries + 1 for one in trials)
        figures[f"{case}_honest_named"] = sum(one.honest_named for one in trials)
        say(f"{case}: {sum(one.found for one in trials)} of {len(trials)}")
    return Report("losses", options.seeds, options.seed, figures)


LAB = Lab("losses", "own queries: which node loses packets", _options, _run)
