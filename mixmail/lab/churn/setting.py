"""What a run of the churn lab is about, and the lives of its nodes.  Times in days, day 0 at midnight UTC.

Nodes are born at the rate at which they leave, live for an exponential time and never come back.  A node says
that it leaves (it hands over what it holds) or is gone without a word.  Either way the others learn of it as
the shipping views do: by a descriptor that says so, or when the last descriptor expires.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mixmail.params import DAY, MAIL, NODE_LIMITS, NetworkParameters, NodeLimits

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

SETTLING = 4.0  # days before day 0: by then there are as many nodes gone, but not forgotten, as there will be


class Kind(enum.IntEnum):
    """How a storer treats the boxes that it is given."""

    HONEST = 0
    DROP = 1  # says STORED and OK, keeps nothing, has nothing
    LIE = 2  # the same, and answers with forged records, and offers what it does not have
    FORGET = 3  # as an honest one, but at midnight all is gone
    OLD = 4  # says STORED, keeps nothing, answers with another record of that key, older and unsigned


HOSTILE = (Kind.DROP, Kind.LIE, Kind.FORGET, Kind.OLD)


@dataclass(frozen=True, slots=True)
class Setting:
    """One point of the table.  Rates per day; `repair_h` in hours, 0 means that no node repairs anything."""

    nodes: int = 1_000
    days: int = 30
    leave: float = 0.3
    graceful: float = 0.0  # of those who leave: `mixmail stop --drain`, which most will not do
    hostile: float = 0.2
    kinds: tuple[Kind, ...] = (Kind.DROP,)  # of hostile storers, each as likely
    replication: int = MAIL.replicas
    repair_h: float = NODE_LIMITS.repair_sweep_slots * MAIL.slot / 3_600
    share: float = NODE_LIMITS.repair_share
    peers: int = NODE_LIMITS.repair_peers
    forwards: bool = True
    spread: bool = True  # a writer who is still there writes once more, to random ones of the homes
    acks: int = MAIL.write_acks
    descriptor_days: int = MAIL.descriptor_days
    announced: bool = True  # a graceful leaver publishes a last descriptor without roles

    @property
    def tries(self) -> int:
        """Homes that a write may go down to: half as many again as there are homes, at most 32."""
        return min(MAIL.write_tries, self.replication * 3 // 2)

    @property
    def write_acks(self) -> int:
        """Acknowledgements that a write wants: never more than there are homes."""
        return min(self.acks, self.replication)

    @property
    def quorum(self) -> int:
        """As `NetworkParameters.quorum_of`."""
        return self.parameters(MAIL).quorum_of(self.replication)

    @property
    def repairs(self) -> bool:
        """Whether nodes repair at all."""
        return self.repair_h > 0

    def parameters(self, base: NetworkParameters) -> NetworkParameters:
        """`base` with the numbers of this setting."""
        return replace(
            base,
            replicas=self.replication,
            write_acks=self.write_acks,
            write_tries=self.tries,
            descriptor_days=self.descriptor_days,
        )

    def limits(self, base: NodeLimits) -> NodeLimits:
        """`base` with the numbers of this setting."""
        slots = self.repair_h * 3_600 / MAIL.slot if self.repairs else 1e12
        return replace(base, repair_sweep_slots=slots, repair_share=self.share, repair_peers=self.peers)


@dataclass(frozen=True, slots=True)
class Population:
    """Every node that ever lives, in the order of birth; arrays of equal length.

    `gone` is when the last view forgets a node.  `phase` is where in the interval it sweeps, in [0, 1).
    """

    birth: Floats
    death: Floats
    gone: Floats
    graceful: Flags
    kind: Ints
    phase: Floats

    def __len__(self) -> int:
        return len(self.birth)

    @property
    def viewed(self) -> float:
        """Nodes in a view, in the mean over the days from 0 on."""
        end = float(self.birth[-1])
        return float((np.minimum(self.gone, end) - np.clip(self.birth, 0, end)).clip(0).sum() / end)


def forgotten(death: Floats, announced: Flags, descriptor_days: int) -> Floats:
    """When views forget nodes: at once if told, else when the last descriptor has expired.

    A descriptor is published `clock_skew` after midnight and valid until the end of the day that is
    `descriptor_days` later (`View.eligible`).
    """
    last = np.floor(death - MAIL.clock_skew / DAY)
    return np.where(announced, death, last + 1 + descriptor_days)


def make_population(setting: Setting, rng: np.random.Generator) -> Population:
    """Draw the lives of all nodes from `SETTLING` days before day 0 to the end."""
    length = SETTLING + setting.days
    born = rng.poisson(setting.leave * setting.nodes * length)
    birth = np.concatenate([np.full(setting.nodes, -SETTLING), np.sort(rng.random(born)) * length - SETTLING])
    count = len(birth)
    death = birth + (rng.exponential(1 / setting.leave, count) if setting.leave else np.full(count, np.inf))
    graceful = rng.random(count) < setting.graceful
    kinds = np.array([int(kind) for kind in setting.kinds])
    kind = np.where(rng.random(count) < setting.hostile, kinds[rng.integers(len(kinds), size=count)], 0)
    gone = forgotten(death, graceful & setting.announced, setting.descriptor_days)
    return Population(birth, death, gone, graceful, kind, rng.random(count))
