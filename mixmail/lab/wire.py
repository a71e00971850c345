"""Can an observer of a node's links tell whether its user sends, reads or is idle?

Networks of 24 full nodes at the `mail` preset, stand-in cryptography of equal sizes: eight users write to
eight others (the readers) again and again, eight are idle and have no identity.  Frames are stamped where
they are handed to the link.  For each pair of roles and each of five quantities (sizes apart: they must be
one) the Kolmogorov-Smirnov distance between the pooled values of the two roles is compared with its law
when the roles are dealt anew to the sixteen users.  Frames of one node depend on each other, so a table for
independent values would find differences that are none; dealt by whole users, the level is exact (Good,
"Permutation, Parametric and Bootstrap Tests of Hypotheses", ch. 3).

The quantities: gaps between all frames that a node hands over; gaps between its own queries; own queries in
a slot of the grid; frames in a slot; frames to each other node.  Own queries leave between ticks: the
observer is given the kind of a frame, which links hide, and so finds every one of them.  That is more than
he has.

With the cover of idle users off, or their slots 5 % longer, the same test must find it.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixmail.agent.schedule import SendSchedule
from mixmail.effects import Frame
from mixmail.lab.network import LabNetwork
from mixmail.lab.report import Lab, Report, Say
from mixmail.lab.scenario import add_person, send
from mixmail.lab.standins import stand_in_crypto
from mixmail.node.wire import Kind
from mixmail.params import MAIL, NetworkParameters
from mixmail.testing import SeededRandomness

PARAMS = dataclasses.replace(MAIL, puzzle_memory=8_192, puzzle_bits=1, stamp_memory=8_192, stranger_bits=1)
ROLES = ("sends", "reads", "idle")
QUANTITIES = ("gaps", "query_gaps", "queries_in_slot", "per_slot", "per_link")
LEVEL = 0.01  # over all pairs and quantities of one seed together (Bonferroni)
DEALS = 4_000  # permutations: the smallest p that can show is far below the level of one test
BINS = 200
WARM_SLOTS = 40
MAIL_EVERY = 20  # slots between two mails of a user that sends
FAULTS = ("none", "cover_off", "slot_5_percent_longer")


@dataclasses.dataclass(slots=True)
class Seen:
    """What is seen of one user's node."""

    role: str
    times: list[float] = dataclasses.field(default_factory=list)
    queries: list[float] = dataclasses.field(default_factory=list)
    sizes: set[int] = dataclasses.field(default_factory=set)
    links: Counter[bytes] = dataclasses.field(default_factory=Counter)


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """One network watched: p of every (role, role, quantity), and what it rests on."""

    p: dict[tuple[str, str, str], float]
    frames_a_role: int
    one_size: bool
    real_share: float  # of the senders' queries

    @property
    def told_apart(self) -> bool:
        """Whether any test tells two roles apart at the level of all of them together."""
        return not self.one_size or min(self.p.values()) < LEVEL / len(self.p)


def watch(
    seed: int, hours: float, fault: str = "none", a_role: int = 8, params: NetworkParameters = PARAMS
) -> Verdict:
    """Run one network for so many hours after it has settled, and test."""
    with stand_in_crypto(seed):
        nodes = a_role * len(ROLES)
        lab = LabNetwork(params, nodes, seed, trace=False)
        lab.start()
        roles = [ROLES[number % len(ROLES)] for number in range(nodes)]
        people = {n: add_person(lab, n, f"Person {n}") for n in range(nodes) if roles[n] != "idle"}
        _plant(lab, [host.number for host in lab.hosts if roles[host.number] == "idle"], fault, params)
        lab.run(WARM_SLOTS * params.slot)
        seen = [Seen(role) for role in roles]
        real: Counter[bool] = Counter()

        def note(sender: int, receiver: bytes, frame: Frame) -> None:
            one = seen[sender]
            one.times.append(lab.now)
            one.sizes.add(len(frame.payload) if frame.kind == Kind.PACKET else 0)
            one.links[receiver] += 1
            ticks = lab.now / params.tick
            if frame.kind == Kind.PACKET and abs(ticks - round(ticks)) > 1e-3:
                one.queries.append(lab.now)

        def count(host: Any, event: Any) -> None:
            if type(event).__name__ == "QuerySent" and roles[host.number] == "sends":
                real[event.real] += 1

        lab.observers.append(note)
        lab.on_event.append(count)
        begin, mails = lab.now, 0
        while lab.now < begin + hours * 3_600:
            for number, host in people.items():
                if roles[number] == "sends":
                    send(lab, host, people[number + 1], f"Mail {mails}", "Does it show?\n" * 400)
            mails += 1
            lab.run(MAIL_EVERY * params.slot)
        return _verdict(seen, begin, lab.now, params, seed, real)


def _plant(lab: LabNetwork, idle: list[int], fault: str, params: NetworkParameters) -> None:
    for number in idle:
        host = lab.hosts[number]
        if host.agent is None:
            raise ValueError(f"host {number} has no agent")
        if fault == "slot_5_percent_longer":
            longer = dataclasses.replace(params, slot=1.05 * params.slot)
            host.agent.schedule = SendSchedule(longer, host.rng, lab.now)
        elif fault == "cover_off":
            host.agent, host.agent_moment = None, float("inf")
        elif fault != "none":
            raise ValueError(f"no such fault: {fault}")


def _verdict(
    seen: list[Seen], begin: float, end: float, params: NetworkParameters, seed: int, real: Counter[bool]
) -> Verdict:
    slots = int((end - begin) / params.slot)
    values: dict[str, list[NDArray[np.float64]]] = {name: [] for name in QUANTITIES}
    first = math.ceil(begin / params.slot)
    whole = math.floor(end / params.slot) - first
    for one in seen:
        grid = (np.array(one.queries) // params.slot).astype(int) - first
        inside = grid[(grid >= 0) & (grid < whole)]
        values["queries_in_slot"].append(np.bincount(inside, minlength=whole).astype(float))
        values["gaps"].append(np.diff(np.array(one.times)))
        values["query_gaps"].append(np.diff(np.array([begin, *one.queries, end])))
        which = ((np.array(one.times) - begin) // params.slot).astype(int)
        values["per_slot"].append(np.bincount(which, minlength=slots)[:slots].astype(float))
        values["per_link"].append(np.array(sorted(one.links.values()), dtype=float))
    rng = np.random.default_rng(SeededRandomness(f"deals {seed}").below(2**63))
    roles = np.array([one.role for one in seen])
    p = {
        (first, second, name): p_value(values[name], roles, first, second, rng)
        for name in QUANTITIES
        for first, second in combinations(ROLES, 2)
    }
    frames = min(sum(len(one.times) for one in seen if one.role == role) for role in ROLES)
    sizes = set().union(*(one.sizes for one in seen)) - {0}
    share = real[True] / max(1, real.total())
    return Verdict(p, frames, len(sizes) == 1, share)


def p_value(
    values: list[NDArray[np.float64]],
    roles: NDArray[np.str_],
    first: str,
    second: str,
    rng: np.random.Generator,
) -> float:
    """The share of deals of the two roles whose distance is at least the one seen."""
    users = np.flatnonzero((roles == first) | (roles == second))
    pooled = np.concatenate([values[user] for user in users])
    edges = np.unique(np.quantile(pooled, np.linspace(0, 1, BINS)))[:-1]  # of the pool: equal for every deal
    if not len(edges):
        return 1.0  # one value only, for everybody
    below = np.array([np.searchsorted(np.sort(values[user]), edges, side="right") for user in users])
    sizes = np.array([len(values[user]) for user in users])

    def distance(mine: NDArray[np.bool_]) -> NDArray[np.float64]:
        one = (mine @ below) / np.maximum(mine @ sizes, 1)[:, None]
        other = (~mine @ below) / np.maximum(~mine @ sizes, 1)[:, None]
        furthest: NDArray[np.float64] = np.abs(one - other).max(axis=1)
        return furthest

    truth = (roles[users] == first)[None, :]
    deals = rng.permuted(np.repeat(truth, DEALS, axis=0), axis=1)
    seen = distance(truth)[0]
    return float((1 + np.count_nonzero(distance(deals) >= seen - 1e-12)) / (1 + DEALS))


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seeds", type=int, default=10, help="networks watched without a fault and with each (10)"
    )
    parser.add_argument("--hours", type=float, default=1.0, help="virtual hours that are watched (1)")


def _run(options: argparse.Namespace, say: Say) -> Report:
    figures: dict[str, float] = {}
    frames: list[int] = []
    for fault in FAULTS:
        verdicts = []
        for number in range(options.seeds):
            verdict = watch(options.seed * 1_000 + number, options.hours, fault)
            verdicts.append(verdict)
            worst = min(verdict.p, key=lambda key: verdict.p[key])
            say(f"{fault}, seed {number + 1}: smallest p {verdict.p[worst]:.4f} ({', '.join(worst)})")
        name = "told_apart" if fault == "none" else f"{fault}_found"
        figures[name] = sum(verdict.told_apart for verdict in verdicts)
        if fault == "none":
            frames = [verdict.frames_a_role for verdict in verdicts]
            figures["smallest_p"] = min(min(verdict.p.values()) for verdict in verdicts)
            figures["frames_a_role"] = min(frames)
            figures["one_size"] = all(verdict.one_size for verdict in verdicts)
            figures["real_share_of_senders"] = sum(verdict.real_share for verdict in verdicts) / len(verdicts)
    return Report("wire", options.seeds, options.seed, figures)


LAB = Lab("wire", "does a node's traffic tell whether its user sends, reads or is idle?", _options, _run)
