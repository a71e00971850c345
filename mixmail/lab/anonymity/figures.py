"""From posteriors to the figures of quality: entropies, the worst guess, Loopix' likelihood difference."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from . import filter as attacker
from .flow import OUT, QUERY, Flow, Setting, Trace
from .world import World

Floats = NDArray[np.float64]
_CHUNK = 100
LOOK_BACK = 900.0  # of 3 exponential delays of 60 s 4 in 100,000 take longer together
WINDOW = 300.0  # messages that leave in this time before the end are looked at


@dataclass
class Seen:
    """What the observer knows about n messages: one value each.

    `packet_bits` is over all that entered a first mix, queries and answers.  The rest is what he knows when
    he is told that the message is a query (its courier is his).
    """

    packet_bits: Floats
    query_bits: Floats
    sender_bits: Floats
    guess: Floats  # posterior of the likeliest user
    ratio: Floats  # |log(P(true sender) / P(another user))|, inf if one is excluded
    truth: Floats  # posterior of the true packet
    square: Floats  # sum of squares of the posterior: what `truth` is in the mean if the observer is right
    when: Floats
    surprises: int = 0

    @property
    def n(self) -> int:
        """How many messages."""
        return len(self.guess)

    def figures(self) -> dict[str, float]:
        """The keys of the lab's report."""
        finite = np.isfinite(self.ratio)
        figures = {}
        for name, bits in (
            ("packet", self.packet_bits),
            ("query", self.query_bits),
            ("sender", self.sender_bits),
        ):
            figures[f"{name}_entropy_min_bits"] = float(bits.min())
            figures[f"{name}_entropy_5pct_bits"] = float(np.quantile(bits, 0.05))
            figures[f"{name}_entropy_mean_bits"] = float(bits.mean())
        return {
            **figures,
            "worst_guess": float(self.guess.max()),
            "epsilon": float(self.ratio[finite].mean()) if finite.any() else float("inf"),
            "epsilon_median": float(np.median(self.ratio)),
            "epsilon_excluded_share": float(1 - finite.mean()),
            "calibration": float(self.truth.mean() / self.square.mean()),
        }


@dataclass
class Study:
    """A simulated network and the rows of its observer, from which figures for any hostile mixes follow."""

    setting: Setting
    seed: int
    world: World | None = None
    window: float = WINDOW
    trace: Trace = field(init=False)

    def __post_init__(self) -> None:
        self.trace = Flow(self.setting, self.seed, self.world).run()
        self.visits = attacker.visits(self.trace)
        end = self.setting.seconds
        self.rows = attacker.rows(self.trace, self.visits, end - self.window - LOOK_BACK)

    def look(self, messages: int, hostile_share: float = 0.0) -> Seen:
        """The observer's knowledge about `messages` random queries that left a third mix in the window."""
        rng = np.random.default_rng(self.seed)
        seen, users = self.visits, self.setting.users
        leaving = self.leaving()
        targets = np.sort(rng.choice(leaving, min(messages, len(leaving)), replace=False))
        rows = self.rows
        if hostile_share:
            hostile = np.zeros(users, dtype=np.bool_)
            hostile[rng.choice(users, round(users * hostile_share), replace=False)] = True
            rows = attacker.betrayed(rows, seen, hostile)
        packets = len(self.trace.kind)
        owners = sparse.csr_array(
            (np.ones(packets, dtype=np.float32), (np.arange(packets), self.trace.owner)),
            shape=(packets, users),
        )
        columns: list[list[Floats]] = [[] for _ in range(7)]
        for at in range(0, len(targets), _CHUNK):
            chosen = targets[at : at + _CHUNK]
            found = attacker.posterior(self.trace, seen, rows, chosen)
            values = _chunk(found, owners, seen.packet[chosen], self.trace.owner, rng)
            for column, value in zip(columns, values, strict=True):
                column.append(value)
        bits, query, sender, guess, ratio, truth, square = (np.concatenate(column) for column in columns)
        return Seen(bits, query, sender, guess, ratio, truth, square, seen.leave[targets], rows.surprises)

    def leaving(self) -> NDArray[np.int64]:
        """The visits of queries to their third mixes that ended in the window."""
        seen = self.visits
        is_query = self.trace.kind[seen.packet] == QUERY
        late = seen.leave >= self.setting.seconds - self.window
        return np.flatnonzero((seen.hop == OUT[-1]) & is_query & late)

    def path_hostile(self, share: float) -> float:
        """The share of queries whose three mixes out are all among `share` hostile nodes, over 50 draws."""
        rng = np.random.default_rng(self.seed + 1)
        trace, users, found = self.trace, self.setting.users, []
        first = (trace.hop < len(OUT)) & (trace.kind[trace.packet] == QUERY)
        order = np.lexsort((trace.hop[first], trace.packet[first]))
        packet, nodes = trace.packet[first][order], trace.dst[first][order]
        whole = np.flatnonzero(np.bincount(packet, minlength=len(trace.kind)) == len(OUT))
        ways = nodes[np.isin(packet, whole)].reshape(-1, len(OUT))
        for _ in range(50):
            hostile = np.zeros(users, dtype=np.bool_)
            hostile[rng.choice(users, round(users * share), replace=False)] = True
            found.append(hostile[ways].all(axis=1).mean())
        return float(np.mean(found))


def _chunk(
    found: sparse.csr_array,
    owners: sparse.csr_array,
    true_packets: NDArray[np.int64],
    owner: NDArray[np.int32],
    rng: np.random.Generator,
) -> tuple[Floats, ...]:
    count, (packets, users) = found.shape[0], owners.shape
    queries = attacker.normal(found[:, :packets])
    each = np.arange(count)
    line = np.repeat(each, np.diff(queries.indptr))
    square = np.bincount(line, queries.data.astype(np.float64) ** 2, count).astype(np.float64)
    truth = np.asarray(queries[each, true_packets], dtype=np.float64).ravel()
    senders = np.asarray((queries @ owners).todense(), dtype=np.float64)
    sender_bits = np.abs((senders * np.log2(np.maximum(senders, 1e-300))).sum(axis=1))
    true = owner[true_packets]
    other = (true + rng.integers(1, users, count)) % users
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.abs(np.log(senders[each, true]) - np.log(senders[each, other]))
    ratio[np.isnan(ratio)] = np.inf
    return _entropy(found), _entropy(queries), sender_bits, senders.max(axis=1), ratio, truth, square


def _entropy(found: sparse.csr_array) -> Floats:
    """Bits of each row."""
    count, data = found.shape[0], found.data.astype(np.float64)
    line = np.repeat(np.arange(count), np.diff(found.indptr))
    bits = np.bincount(line, -data * np.log2(np.maximum(data, 1e-300)), count)
    return np.abs(bits.astype(np.float64))  # no -0.0
