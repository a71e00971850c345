"""The turn of a key epoch: whether queries or mails get lost or late when all nodes change keys.

Each seed runs the same network twice, once over midnight and once over noon, when no keys change: hosts,
slots and the moments of mails are the same, so the difference between the two is what the turn does.  Clocks
differ by up to ten minutes (each host's by -300 s to 300 s), so that some hosts use the keys of the new epoch
while others are still in the old one, and descriptors with new keys meet nodes on both sides.

`slots_*`, `answered_*` and `round_trip_*` are of the queries that leave within 15 minutes of the turn.  Mails
are written from 60 to 10 minutes before it, one by each host, to somebody who is not known yet; most are
under way at the turn.  `known_least_share_*` is the smallest part of the network from which any host draws
its paths.  Differences are turn minus noon with the standard error over seeds.  After the turn, packets that
were seen on a link before it are handed to their mixes again: within two hours they are refused as replays,
afterwards because their key is gone (`old_keys_gone_share`).
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from mixmail.agent.events import MailArrived, QueryEnded, QuerySent
from mixmail.effects import Frame
from mixmail.lab.network import LabHost, LabNetwork
from mixmail.lab.report import Lab, Report, Say
from mixmail.lab.scenario import add_person, send
from mixmail.lab.standins import stand_in_crypto
from mixmail.node.events import SurbReply
from mixmail.node.wire import Kind
from mixmail.params import DAY, MAIL, NetworkParameters
from mixmail.testing import SeededRandomness

PARAMS = dataclasses.replace(MAIL, puzzle_memory=8_192, puzzle_bits=1, stamp_memory=8_192, stranger_bits=1)
MIDNIGHT = 20_001.0 * DAY
NOON = MIDNIGHT - DAY / 2
AHEAD_S = 300.0  # of the fastest clock, and how late the slowest one is
LEAD_S = 6_000.0  # before the turn the network starts
WINDOW_S = 900.0  # on both sides of the turn
MAILS_S = (-3_600.0, -600.0)
MAILS_WAIT_S = 21_600.0  # after the turn it is given up to wait for a mail
STEP_S = 15.0
BIN_S = 150.0
KEPT_PACKETS = 20  # of each host, to be handed in again


@dataclasses.dataclass(slots=True)
class _Query:
    sent: float  # after the turn, seconds
    took: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Turn:
    """What one run showed.  `queries`: (sent, took) in seconds, `sent` counted from the turn."""

    queries: tuple[tuple[float, float | None], ...]
    expected: float  # queries that should leave within the window
    known_least: float  # the smallest share of the network that a host drew its paths from
    mails: int
    mail_delays: tuple[float, ...]
    refused_as_replay: float  # share of old packets handed in again before their key's end
    refused_without_key: float  # and after it

    def near(self) -> list[tuple[float, float | None]]:
        """The queries of the window."""
        return [query for query in self.queries if abs(query[0]) < WINDOW_S]

    @property
    def slots(self) -> float:
        """Share of the window's slots in which a query left."""
        return len(self.near()) / self.expected

    @property
    def answered(self) -> float:
        """Share of the window's slots whose query left and was answered."""
        return sum(took is not None for _, took in self.near()) / self.expected

    @property
    def round_trip(self) -> float:
        """Mean seconds from sending to the answer."""
        return _mean([took for _, took in self.near() if took is not None])

    @property
    def delivered(self) -> float:
        """Share of the mails that arrived."""
        return len(self.mail_delays) / self.mails if self.mails else math.nan


class _Watch:
    """Listens to a network: when queries leave and end, and packets to hand in again."""

    def __init__(self, lab: LabNetwork, turn: float) -> None:
        self.lab, self.turn = lab, turn
        self.queries: dict[bytes, _Query] = {}
        self.packets: dict[bytes, list[Frame]] = {}
        self._reply: dict[int, bytes] = {}
        lab.on_event.append(self._event)
        lab.observers.append(self._frame)

    def _event(self, host: LabHost, event: Any) -> None:
        match event:
            case QuerySent() if host.agent is not None:
                self.queries[host.agent.newest_query] = _Query(self.lab.now - self.turn)
            case SurbReply():
                self._reply[host.number] = event.ident
            case QueryEnded(answered=True):
                query = self.queries[self._reply[host.number]]
                query.took = self.lab.now - self.turn - query.sent

    def _frame(self, sender: int, receiver: bytes, frame: Frame) -> None:
        if frame.kind == Kind.PACKET and -3_600 < self.lab.now - self.turn < -1_200:
            kept = self.packets.setdefault(receiver, [])
            if len(kept) < KEPT_PACKETS:
                kept.append(frame)

    def hand_in_again(self, reason: str) -> float:
        """The share of the kept packets that their mixes refuse for this reason."""
        refused = 0
        for host in self.lab.hosts:
            if host.node is not None:
                before = host.node.stats[f"drop.packet_{reason}"]
                for frame in self.packets.get(host.node_id, ()):
                    host.node.handle_frame(b"", frame, self.lab.time_of(host))
                refused += host.node.stats[f"drop.packet_{reason}"] - before
        handed = sum(map(len, self.packets.values()))
        return refused / handed if handed else math.nan


def cross(
    nodes: int,
    seed: int,
    turn: float,
    params: NetworkParameters = PARAMS,
    ahead: float = AHEAD_S,
    lead: float = LEAD_S,
    writers: int | None = None,
) -> Turn:
    """One network that runs over `turn` until the keys before it are deleted and the mails are there.

    Each clock is ahead by up to `ahead` seconds, or as much behind; it starts `lead` seconds before the turn.
    `writers` hosts write one mail each (all, if not given).
    """
    rng = SeededRandomness(f"midnight {seed}")
    with stand_in_crypto(seed):
        lab = LabNetwork(params, nodes, seed, trace=False, start=turn - lead)
        for host in lab.hosts:
            host.skew = ahead * (2 * rng.uniform() - 1)
        watch = _Watch(lab, turn)
        lab.start()
        lab.connect()
        people = [add_person(lab, number, f"Person {number}") for number in range(nodes)]
        found: dict[int, float] = {}
        written: dict[int, float] = {}

        def look(host: LabHost, event: object) -> None:
            if isinstance(event, MailArrived):
                found.setdefault(host.number, lab.now)

        lab.on_event.append(look)
        mails = nodes if writers is None else writers
        first, last = MAILS_S
        for moment, number in sorted(
            (turn + first + (last - first) * rng.uniform(), n) for n in range(mails)
        ):
            lab.run(moment - lab.now)
            written[(number + 1) % nodes] = moment
            send(lab, people[number], people[(number + 1) % nodes], "Turn", "Which day is it?\n")
        least = 1.0
        lab.run(turn - WINDOW_S - lab.now)
        while lab.now < turn + WINDOW_S:
            lab.run(STEP_S)
            least = min(least, *(_known_share(lab, host) for host in lab.hosts))
        end = turn + params.epoch_late
        lab.run(end - ahead - 1 - lab.now)  # no clock has come to the end of the old keys yet
        replays = watch.hand_in_again("replay")
        lab.run(end + ahead + 1 - lab.now)
        unknown = watch.hand_in_again("header")
        lab.run(turn + WINDOW_S + params.rto - lab.now)
        lab.run(turn + MAILS_WAIT_S - lab.now, until=lambda: len(found) == mails)
    return Turn(
        tuple((query.sent, query.took) for query in watch.queries.values()),
        nodes * 2 * WINDOW_S / params.slot,
        least,
        mails,
        tuple(when - written[number] for number, when in found.items()),
        replays,
        unknown,
    )


def _known_share(lab: LabNetwork, host: LabHost) -> float:
    known = host.node.view.eligible(lab.time_of(host)) if host.node is not None else ()
    return len(known) / len(lab.hosts)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def difference(turns: Sequence[float], noons: Sequence[float]) -> tuple[float, float]:
    """Mean of turn minus noon over seeds, and its standard error (0 for one seed)."""
    pairs = [turn - noon for turn, noon in zip(turns, noons, strict=True)]
    mean = _mean(pairs)
    spread = sum((pair - mean) ** 2 for pair in pairs)
    return mean, math.sqrt(spread / (len(pairs) - 1) / len(pairs)) if len(pairs) > 1 else 0.0


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--nodes", type=int, default=12, help="full nodes with an agent each (12)")
    parser.add_argument("--seeds", type=int, default=6, help="networks, each over midnight and over noon (6)")


def _run(options: argparse.Namespace, say: Say) -> Report:
    turns: list[Turn] = []
    noons: list[Turn] = []
    for number in range(options.seeds):
        seed = options.seed * 1_000 + number
        turns.append(cross(options.nodes, seed, MIDNIGHT))
        noons.append(cross(options.nodes, seed, NOON))
        turn, noon = turns[-1], noons[-1]
        say(
            f"network {number + 1} of {options.seeds}, midnight and noon: answered {turn.answered:.4f} "
            f"{noon.answered:.4f}, in {turn.round_trip:.0f} s {noon.round_trip:.0f} s, mails delivered "
            f"{turn.delivered:.3f} {noon.delivered:.3f}"
        )
    figures: dict[str, float] = {}
    for name in ("slots", "answered", "round_trip", "delivered"):
        here, there = ([getattr(run, name) for run in runs] for runs in (turns, noons))
        figures[f"{name}_turn"], figures[f"{name}_noon"] = _mean(here), _mean(there)
        figures[f"{name}_difference"], figures[f"{name}_standard_error"] = difference(here, there)
    delays = [[delay / 60 for run in runs for delay in run.mail_delays] for runs in (turns, noons)]
    figures["mail_minutes_turn"], figures["mail_minutes_noon"] = map(_mean, delays)
    for name, runs in (("turn", turns), ("noon", noons)):
        figures[f"known_least_share_{name}"] = min(run.known_least for run in runs)
    figures["old_replays_refused_share"] = _mean([run.refused_as_replay for run in turns])
    figures["old_keys_gone_share"] = _mean([run.refused_without_key for run in turns])
    if options.plot:
        _plot(turns, noons, str(options.plot))
    return Report("midnight", sum(len(run.near()) for run in turns), options.seed, figures)


def _plot(turns: list[Turn], noons: list[Turn], file: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    for name, runs in (("midnight", turns), ("noon", noons)):
        means: list[float] = []
        places = [BIN_S * place for place in range(int(-3 * WINDOW_S / BIN_S), int(3 * WINDOW_S / BIN_S))]
        for place in places:
            bin_ = [query for run in runs for query in run.queries if place <= query[0] < place + BIN_S]
            means.append(_mean([took for _, took in bin_ if took is not None]))
        axes.plot([(place + BIN_S / 2) / 60 for place in places], means, label=name)
    axes.set_xlabel("minutes after the turn at which a query leaves")
    axes.set_ylabel("seconds until its answer")
    axes.set_ylim(bottom=0)
    axes.legend()
    figure.savefig(file)


LAB = Lab(
    "midnight", "Queries and mails over the turn of a key epoch, beside the same over noon", _options, _run
)
