"""What a node of the `mail` preset costs its line: KB/s each way, by kind.

Every host is a full node with an agent; each writes one mail at the beginning to the next one, and the
profiles, queues, boxes and read-backs of that are in the figures.  Frames are counted where they are handed
to the link, 32,800 bytes each; what TLS and TCP add (about 3 %) is not.  Sent and received are the same in
the mean.

`mixing`: packets of queries and answers; `store`: what couriers, proxies and homes say to each other;
`loops`: a mix's own loops (four frames each, counted where they are made, since nobody can tell them on a
link); `gossip`: the directory; `repair`: homes hand records to each other.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections import Counter

from mixmail.effects import Frame
from mixmail.lab.network import LabNetwork
from mixmail.lab.report import Lab, Report, Say
from mixmail.lab.scenario import add_person, arrived, send
from mixmail.lab.standins import stand_in_crypto
from mixmail.node.wire import Kind
from mixmail.params import GEOMETRY, MAIL

PARAMS = dataclasses.replace(MAIL, puzzle_memory=8_192, puzzle_bits=1, stamp_memory=8_192, stranger_bits=1)
LOOP_HOPS = 4
KIND_OF = {
    Kind.PACKET: "mixing",
    Kind.PROXY_QUERY: "store",
    Kind.PROXY_REPLY: "store",
    Kind.HOME_QUERY: "store",
    Kind.HOME_REPLY: "store",
    Kind.DIGEST: "gossip",
    Kind.WANT: "gossip",
    Kind.PUSH: "gossip",
    Kind.OFFER: "repair",
    Kind.NEED: "repair",
    Kind.RECORD: "repair",
}
SETTLING_S = 1_800.0  # the pools fill, loops come back, profiles are published


@dataclasses.dataclass(frozen=True, slots=True)
class Traffic:
    """KB/s (1,000 bytes) that a node sends, by kind, and how many mails arrived meanwhile."""

    kb_per_s: dict[str, float]
    frames: int
    arrived: int

    @property
    def sum(self) -> float:
        """All kinds together."""
        return sum(self.kb_per_s.values())


def measure(nodes: int, hours: float, seed: int, say: Say = lambda text: None) -> Traffic:
    """Run a network for so many hours after it has settled."""
    with stand_in_crypto(seed):
        lab = LabNetwork(PARAMS, nodes, seed, trace=False)
        lab.start()
        hosts = [add_person(lab, number, f"Person {number}") for number in range(nodes)]
        lab.run(SETTLING_S)
        for number, host in enumerate(hosts):
            send(lab, host, hosts[(number + 1) % nodes], "Traffic", "What does this cost?\n")
        frames: Counter[str] = Counter()

        def count(sender: int, receiver: bytes, frame: Frame) -> None:
            frames[KIND_OF[Kind(frame.kind)]] += max(1, -(-len(frame.payload) // GEOMETRY.packet))

        loops_before = _loops(lab)
        lab.observers.append(count)
        for hour in range(1, 11):
            lab.run(hours * 360)
            say(f"{hour * 10} % of {hours:g} hours")
        loops = (_loops(lab) - loops_before) * LOOP_HOPS
        counted = {"mixing": frames["mixing"] - loops, "store": frames["store"], "loops": loops}
        counted |= {"gossip": frames["gossip"], "repair": frames["repair"]}
        scale = GEOMETRY.frame / 1_000 / (hours * 3_600 * nodes)
        return Traffic(
            {kind: number * scale for kind, number in counted.items()},
            sum(counted.values()),
            sum(len(arrived(host)) for host in hosts),
        )


def _loops(lab: LabNetwork) -> int:
    return sum(host.node.stats["mix.loops_out"] for host in lab.hosts if host.node)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--nodes", type=int, default=50, help="full nodes with an agent each (50)")
    parser.add_argument("--hours", type=float, default=4.0, help="virtual hours that are counted (4)")


def _run(options: argparse.Namespace, say: Say) -> Report:
    traffic = measure(options.nodes, options.hours, options.seed, say)
    figures = {f"{kind}_kb_per_s": value for kind, value in traffic.kb_per_s.items()}
    figures |= {"sum_kb_per_s": traffic.sum, "mails_arrived": traffic.arrived}
    if options.plot:
        _plot(traffic, str(options.plot))
    return Report("traffic", traffic.frames, options.seed, figures)


def _plot(traffic: Traffic, file: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 2.8), layout="constrained")
    axes = figure.subplots()
    axes.barh(list(traffic.kb_per_s), list(traffic.kb_per_s.values()))
    axes.set_xlabel(f"KB/s each way ({traffic.sum:.1f} in all)")
    figure.savefig(file)


LAB = Lab("traffic", "KB/s each way of a full node in the mail preset, by kind", _options, _run)
