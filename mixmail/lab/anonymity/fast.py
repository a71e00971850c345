"""`figures` for very many users: a study of `fast_flow`'s network with `fast_filter`'s observer.

What is known about the messages looked at is carried back from layer to layer as weights of visits, summed
over ways as soon as they meet; no matrix of the whole network is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from .fast_filter import leavings
from .fast_flow import ANSWER_IN, NEVER, QUERY_IN, QUERY_OUT, FastFlow, Table
from .figures import LOOK_BACK, WINDOW, Seen
from .flow import OUT, Setting
from .laws import correction

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Tables = tuple[Table, Table, Table]
_MANY = 200_000  # users from which on only the last seconds are looked at, to save memory
_SHORT_WINDOW = 30.0
_CELLS = 4_000_000  # weights that are made at a time
_SHORT_SECONDS = 1_500.0
_LARGEST = 600_000_000  # posteriors of users that are kept at a time, 4 bytes each


def can(setting: Setting) -> bool:
    """Whether the fast path knows the setting."""
    return setting.strategy != "binomial_pool" and setting.turn_at is None and setting.restart_at is None


def shortened(setting: Setting) -> Setting:
    """The same for a time that is short enough for so many users."""
    return setting if setting.users < _MANY else replace(setting, seconds=_SHORT_SECONDS)


def most_messages(users: int, shares: int) -> int:
    """How many messages can be looked at together, for so many shares of hostile mixes."""
    return max(1, _LARGEST // (users * shares))


@dataclass
class FastStudy:
    """A simulated network, of which `messages` messages can be looked at; like `figures.Study`."""

    setting: Setting
    seed: int
    messages: int
    window: float = field(init=False)
    tables: Tables = field(init=False)
    surprises: int = 0

    def __post_init__(self) -> None:
        users, seconds = self.setting.users, self.setting.seconds
        self.window = WINDOW if users < _MANY else _SHORT_WINDOW
        since = seconds - self.window - LOOK_BACK
        self.tables = FastFlow(self.setting, self.seed, since, third=self.messages).run()

    def look(self, shares: Sequence[float] = (0.0,)) -> list[Seen]:
        """What the observer knows with each share of hostile mixes, all of the same messages."""
        rng = np.random.default_rng(self.seed)
        leaving = self.leaving()
        targets = np.sort(rng.choice(leaving, min(self.messages, len(leaving)), replace=False))
        return observe(
            self.setting, self.tables, targets, [self._hostile(share, rng) for share in shares], rng
        )

    def leaving(self) -> Ints:
        """The visits of queries to their third mixes that ended in the window."""
        table = self.tables[-1]
        since = (self.setting.seconds - self.window) / self.setting.params.tick
        found = (table.entry == QUERY_OUT) & (table.leave != NEVER) & (table.leave >= since - 1e-6)
        return np.flatnonzero(found)

    def path_hostile(self, share: float) -> float:
        """The share of queries whose three mixes out are all among `share` hostile nodes, over 50 draws."""
        rng = np.random.default_rng(self.seed + 1)
        first, second, third = self.tables
        visits = np.flatnonzero((third.entry == QUERY_OUT) & (third.before >= 0))
        before = third.before[visits]
        whole = second.before[before] >= 0
        visits, before = visits[whole], before[whole]
        ways = np.stack([third.node[visits], second.node[before], first.node[second.before[before]]], axis=1)
        return float(np.mean([self._hostile(share, rng)[ways].all(axis=1).mean() for _ in range(50)]))

    def _hostile(self, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
        users = self.setting.users
        hostile = np.zeros(users, dtype=np.bool_)
        hostile[rng.choice(users, round(users * share), replace=False)] = True
        return hostile


def observe(
    setting: Setting,
    tables: Tables,
    targets: Ints,
    hostile: Sequence[NDArray[np.bool_]],
    rng: np.random.Generator,
) -> list[Seen]:
    """What the observer knows of the `targets` (visits to third mixes), for each set of hostile nodes."""
    cases, count, params = len(hostile), len(targets), setting.params
    line = np.arange(cases * count)
    visit, weight = np.tile(targets, cases), np.ones(cases * count)
    sums = _Sums(setting, tables, targets, cases)
    surprises = 0
    for number, table in reversed(list(enumerate(tables))):
        tells = np.stack(hostile)[line // count, table.node[visit]]
        parts = [(line[tells], visit[tells], weight[tells])]
        if number == 0:
            sums.add(*parts.pop())
        asked, column = np.unique(visit[~tells], return_inverse=True)
        weights = sparse.coo_array(
            (weight[~tells], (line[~tells], column)), shape=(cases * count, len(asked))
        )
        weights = weights.tocsr()
        for found in leavings(params, table, asked):
            surprises += found.surprises
            size = (len(found.of), found.rows.shape[0])
            joined = sparse.csr_array((np.ones(size[0]), found.leaving, np.arange(size[0] + 1)), shape=size)
            here = weights[:, found.of[0] : found.of[-1] + 1] @ joined
            step = max(1, _CELLS // len(found.candidates))
            for at in range(0, cases * count, step):
                carried = (here[at : at + step] @ found.rows).tocoo()
                part = carried.row + at, found.candidates[carried.col], carried.data
                if number == 0:
                    sums.add(*part)
                else:
                    known = table.before[part[1]] >= 0
                    parts.append((part[0][known], part[1][known], part[2][known]))
        if number > 0:
            line, visit, weight = (np.concatenate([part[item] for part in parts]) for item in range(3))
            visit = table.before[visit].astype(np.int64)
            line, visit, weight = line[visit >= 0], visit[visit >= 0], weight[visit >= 0]
    return sums.seen(rng, surprises)


class _Sums:
    """What the figures need of the weights of entries, added up as they come: each entry comes once."""

    def __init__(self, setting: Setting, tables: Tables, targets: Ints, cases: int) -> None:
        self.params, self.table, self.targets, self.cases = setting.params, tables[0], targets, cases
        self.left = tables[-1].leave[targets].astype(np.float64) * self.params.tick
        before = tables[-1].before[targets]
        self.truth_at = np.where(before >= 0, tables[1].before[before], -1)
        self.owner = tables[-1].owner[targets]
        size = cases * len(targets)
        self.sums = np.zeros((2, 3, size))  # packets, queries; of w, w log w, w * w
        self.truth = np.zeros(size)
        self.senders = np.zeros((size, setting.users), dtype=np.float32)

    def add(self, line: Ints, visit: Ints, weight: Floats) -> None:
        """Entries `visit` are the message `line` with these weights."""
        entry = self.table.entry[visit]
        keep = (entry == QUERY_IN) | (entry == ANSWER_IN)
        line, visit, weight, query = line[keep], visit[keep], weight[keep], entry[keep] == QUERY_IN
        message = line % len(self.targets)
        came = self.table.arrive[visit].astype(np.float64)
        waited = self.left[message] - came - len(OUT) / 2 * self.params.tick
        weight = weight * correction(self.params, waited)
        logs = weight * np.log2(np.maximum(weight, 1e-300))
        for number, mask in enumerate((np.ones(len(line), dtype=np.bool_), query)):
            for item, values in enumerate((weight, logs, weight * weight)):
                self.sums[number, item] += np.bincount(line[mask], values[mask], self.truth.size)
        own = visit == self.truth_at[message]
        self.truth[line[own]] += weight[own]
        cells = line[query].astype(np.int64) * self.senders.shape[1] + self.table.owner[visit[query]]
        np.add.at(self.senders.ravel(), cells, weight[query].astype(np.float32))

    def seen(self, rng: np.random.Generator, surprises: int) -> list[Seen]:
        """The figures of each case."""
        total, logs, squares = self.sums[:, 0], self.sums[:, 1], self.sums[:, 2]
        bits = np.abs(np.log2(np.maximum(total, 1e-300)) - logs / np.maximum(total, 1e-300))
        users = self.senders.shape[1]
        count = len(self.targets)
        other = (self.owner + rng.integers(1, users, count)) % users
        found = []
        for case in range(self.cases):
            rows = slice(case * count, (case + 1) * count)
            asked = np.maximum(total[1, rows], 1e-300)
            sender_bits, guess, ratio = np.zeros(count), np.zeros(count), np.zeros(count)
            for message in range(count):
                share = self.senders[rows][message].astype(np.float64) / asked[message]
                some = share[share > 0]
                sender_bits[message] = abs(float((some * np.log2(some)).sum()))
                guess[message] = min(1.0, share.max())
                with np.errstate(divide="ignore", invalid="ignore"):
                    ratio[message] = np.abs(
                        np.log(share[self.owner[message]]) - np.log(share[other[message]])
                    )
            ratio[np.isnan(ratio)] = np.inf
            found.append(
                Seen(
                    bits[0, rows],
                    bits[1, rows],
                    sender_bits,
                    guess,
                    ratio,
                    self.truth[rows] / asked,
                    squares[1, rows] / asked**2,
                    self.left,
                    surprises,
                )
            )
        return found
