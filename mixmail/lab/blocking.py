"""The n-1 attack on the virtual network: how soon a blocked mix holds, and what it costs without an attack.

Each trial: a network of shipping nodes and agents at the `mail` preset, stand-in cryptography.  From a random
moment on, nothing but the attacker's packets comes in to one mix (a different layer in each trial).  Noted is
after how many slots its alarm holds; whether it tells its user after 15 minutes; and that it arms again
after the attack.  Beside it the share of time that mixes hold while nobody attacks.
"""

from __future__ import annotations

import argparse
import dataclasses
import math

from mixmail.effects import Frame
from mixmail.lab.network import LabHost, LabNetwork, Links
from mixmail.lab.report import Lab, Report, Say
from mixmail.lab.standins import stand_in_crypto
from mixmail.node.events import BlockingSuspected
from mixmail.node.wire import Kind
from mixmail.params import MAIL, NetworkParameters
from mixmail.testing import SeededRandomness

PARAMS = dataclasses.replace(MAIL, puzzle_memory=8_192, puzzle_bits=1, stamp_memory=8_192)
WARM_SLOTS = 30.0  # loops take eleven slots: by then every alarm is armed


@dataclasses.dataclass(frozen=True, slots=True)
class Trial:
    """What one attack showed: slots from its begin to the hold, and to the word to the user (inf: never)."""

    noticed: float
    told: float
    armed_again: bool
    quiet_hold_share: float  # of mix-seconds before the attack


def warm_network(params: NetworkParameters, nodes: int, seed: int, loss: float = 0.0) -> LabNetwork:
    """A network in which every alarm has had the time to arm."""
    lab = LabNetwork(params, nodes, seed, links=Links(loss=loss), trace=False)
    lab.start()
    lab.run(WARM_SLOTS * params.slot)
    return lab


def holds(lab: LabNetwork, host: LabHost) -> bool:
    """Whether this host's mix holds now."""
    return host.node is not None and host.node.holds(lab.now)


def cut_off(lab: LabNetwork, target: LabHost) -> None:
    """From now on no packet comes in to `target`."""

    def blocks(sender: bytes, receiver: bytes, frame: Frame) -> bool:
        return receiver == target.node_id and frame.kind == Kind.PACKET

    lab.blocker = blocks


def was_told(host: LabHost) -> bool:
    """Whether this host's user was told of the attack."""
    return any(isinstance(event, BlockingSuspected) for event in host.events)


def hold_share(lab: LabNetwork, slots: float) -> float:
    """The share of moments (one a second, every host) at which a mix holds during so many slots."""
    seen = held = 0
    for _ in range(int(slots * lab.params.slot)):
        lab.run(1.0)
        held += sum(holds(lab, host) for host in lab.hosts)
        seen += len(lab.hosts)
    return held / seen


def attack(nodes: int, seed: int, loss: float = 0.0) -> Trial:
    """One trial on a fresh network."""
    with stand_in_crypto(seed):
        lab = warm_network(PARAMS, nodes, seed, loss)
        slot = PARAMS.slot
        quiet = hold_share(lab, 20)
        rng = SeededRandomness(f"blocking {seed}")
        lab.run(rng.uniform() * 2 * slot)
        layer = lab.hosts[0].node.view.layers(lab.now)[seed % 3] if lab.hosts[0].node else ()
        target_id = rng.choice(layer).node_id
        target = next(host for host in lab.hosts if host.node_id == target_id)
        begin = lab.now
        cut_off(lab, target)
        held = lab.run(40 * slot, lambda: holds(lab, target))
        noticed = (lab.now - begin) / slot if held else math.inf
        told = lab.run(40 * slot, lambda: was_told(target))
        told_after = (lab.now - begin) / slot if told else math.inf
        lab.blocker = None
        back = lab.run(60 * slot, lambda: target.node is not None and not target.node.blocking_suspected)
        return Trial(noticed, told_after, back, quiet)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--nodes", type=int, default=24, help="nodes of the network (24)")
    parser.add_argument("--trials", type=int, default=12, help="attacks, each on a fresh network (12)")
    parser.add_argument("--loss", type=float, default=0.0, help="share of frames that links lose (0)")


def _run(options: argparse.Namespace, say: Say) -> Report:
    trials: list[Trial] = []
    for number in range(options.trials):
        trial = attack(options.nodes, options.seed * 1_000 + number, options.loss)
        trials.append(trial)
        say(
            f"attack {number + 1} of {options.trials}: held after {trial.noticed:.1f} slots, "
            f"told after {trial.told:.1f}, armed again: {'yes' if trial.armed_again else 'no'}"
        )
    figures = {
        "blocking_noticed_slots": max(trial.noticed for trial in trials),
        "blocking_noticed_mean_slots": sum(trial.noticed for trial in trials) / len(trials),
        "user_told_slots": max(trial.told for trial in trials),
        "armed_again_share": sum(trial.armed_again for trial in trials) / len(trials),
        "quiet_hold_share": sum(trial.quiet_hold_share for trial in trials) / len(trials),
    }
    if options.plot:
        _plot(trials, options.plot)
    return Report("blocking", len(trials), options.seed, figures)


def _plot(trials: list[Trial], file: object) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.hist([trial.noticed for trial in trials], bins=20, range=(0, 6))
    axes.axvline(PARAMS.alarm_slots, color="grey", linestyle=":")
    axes.set_xlabel("slots until the blocked mix holds")
    axes.set_ylabel("attacks")
    figure.savefig(str(file))


LAB = Lab("blocking", "n-1 attack: slots until a blocked mix holds its packets", _options, _run)
