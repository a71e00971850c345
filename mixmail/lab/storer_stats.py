"""Two classes told apart: logistic regression across networks, area under the curve, a bound by users."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
RIDGE = 1.0  # in units of one standardised observation: keeps separable classes finite
STEPS = 25
_USERS = 2**20  # more than a network has


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of keys: whether one reader has both, the readers, the network and the features of each pair."""

    same: NDArray[np.bool_]
    readers: Ints  # (n, 2)
    network: Ints
    features: Floats  # (n, number of features)

    def of(self, columns: list[int]) -> Pairs:
        """With these features only."""
        return Pairs(self.same, self.readers, self.network, self.features[:, columns])


def join(parts: list[Pairs]) -> Pairs:
    """All pairs of `parts`."""
    return Pairs(
        np.concatenate([part.same for part in parts]),
        np.concatenate([part.readers for part in parts]),
        np.concatenate([part.network for part in parts]),
        np.concatenate([part.features for part in parts]),
    )


def scores(pairs: Pairs) -> Floats:
    """How likely each pair is one reader's (log odds), by a classifier that learned on the other half of the
    networks: even ones are scored by what the odd ones taught, and the other way round."""
    even = pairs.network % 2 == 0
    if even.all() or not even.any():
        raise ValueError("one half of the networks teaches, the other is tested: at least two are needed")
    said = np.zeros(len(pairs.same))
    for tested in (even, ~even):
        taught = pairs.features[~tested]
        middle, spread = taught.mean(axis=0), taught.std(axis=0)
        spread[spread < 1e-12] = 1.0
        weights = _fit((taught - middle) / spread, pairs.same[~tested])
        said[tested] = (pairs.features[tested] - middle) / spread @ weights
    return said


def _fit(x: Floats, same: NDArray[np.bool_]) -> Floats:
    """Weights of the features by Newton's method; both classes count as much as each other."""
    y = same.astype(float)
    weight = np.where(same, 0.5 / max(1, same.sum()), 0.5 / max(1, (~same).sum())) * len(y)
    x = np.column_stack([x, np.ones(len(y))])
    ridge = np.diag([RIDGE] * (x.shape[1] - 1) + [1e-6])
    found = np.zeros(x.shape[1])
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-np.clip(x @ found, -30, 30)))
        slope = x.T @ (weight * (y - chance)) - ridge @ found
        bend = (x * (weight * chance * (1 - chance))[:, None]).T @ x + ridge
        step = np.linalg.solve(bend, slope)
        found += step
        if np.abs(step).max() < 1e-8:
            break
    kept: Floats = found[:-1]
    return kept


def auc(said: Floats, same: NDArray[np.bool_], weight: Floats | None = None) -> float:
    """The chance that a pair of one reader is ranked above one of two readers; ties count half."""
    weight = np.ones(len(said)) if weight is None else weight
    values, which = np.unique(said, return_inverse=True)
    one = np.bincount(which, weight * same, len(values))
    two = np.bincount(which, weight * ~same, len(values))
    below = np.cumsum(two) - two
    total = float(one.sum() * two.sum())
    return float(one @ (below + two / 2)) / total if total else float("nan")


def auc_of(pairs: Pairs, said: Floats, weight: Floats | None = None) -> float:
    """AUC of the two halves, each scored by its own classifier, and the mean of the two."""
    weight = np.ones(len(said)) if weight is None else weight
    halves = [pairs.network % 2 == half for half in (0, 1)]
    return float(np.mean([auc(said[half], pairs.same[half], weight[half]) for half in halves]))


def upper_bound(pairs: Pairs, said: Floats, rng: np.random.Generator, draws: int = 400) -> float:
    """Upper end of the one-sided 95 % interval: bootstrap of users (pairs of one user depend on each other).

    A pair of one reader counts as often as that reader was drawn, one of two readers as often as both
    together; who was drawn is drawn anew in each network (Efron and Tibshirani, "An Introduction to the
    Bootstrap", ch. 8: what is drawn is the independent unit).
    """
    ids, number = np.unique(pairs.network[:, None] * _USERS + pairs.readers, return_inverse=True)
    one, two = number.reshape(pairs.readers.shape).T
    network = ids // _USERS
    found = []
    for _ in range(draws):
        drawn = np.zeros(len(ids))
        for which in np.unique(network):
            users = np.flatnonzero(network == which)
            drawn[users] = rng.multinomial(len(users), np.full(len(users), 1 / len(users)))
        weight = np.where(pairs.same, drawn[one], drawn[one] * drawn[two])
        found.append(auc_of(pairs, said, weight))
    return float(np.nanquantile(found, 0.95))
