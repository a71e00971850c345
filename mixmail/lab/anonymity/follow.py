"""A malicious contact who also follows packets: how many reads he needs then.

`contact` looks at the two ends of a query's way only.  Here the observer of all links does what `filter`
does: he follows the query of each read back from its courier through three mixes, with all that he knows of
every crossing of every link, and gets a posterior over all users.  He is told which packet it was that came
to the courier.  He does not follow the answer; that would tell him about as much again.

The likelihood ratio of a read for a user is L = users * posterior, whose mean over users is 1.  If the
posterior is right, values of victims are distributed as those of all users weighted with L: so the few
thousand values of victims come from the many of all.  `calibration` says whether it is right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from . import filter as attacker
from .contact import FLOOR, Search, Singles, race
from .figures import Study
from .flow import OUT, QUERY

_PART = 100
_STEP = 50  # reads at a time


@dataclass(frozen=True, slots=True)
class Followed:
    """L of every user for each message, (messages, users), and who sent it."""

    ratio: Singles
    sender: np.ndarray[tuple[int], np.dtype[np.int64]]

    @property
    def information(self) -> float:
        """The variance of L over users."""
        return float(self.ratio.var())

    @property
    def calibration(self) -> float:
        """Mean L of true senders over its expectation; 1 if the observer's posterior is right."""
        own = self.ratio[np.arange(len(self.sender)), self.sender]
        return float(own.mean() / (1 + self.information))


def follow(study: Study, messages: int) -> Followed:
    """Follow `messages` random queries that left a third mix at the end of the simulated time."""
    rng = np.random.default_rng(study.seed)
    trace, seen, users = study.trace, study.visits, study.setting.users
    late = seen.leave >= study.setting.seconds - study.window
    leaving = np.flatnonzero((seen.hop == OUT[-1]) & (trace.kind[seen.packet] == QUERY) & late)
    targets = np.sort(rng.choice(leaving, min(messages, len(leaving)), replace=False))
    packets = len(trace.kind)
    owners = sparse.csr_array(
        (np.ones(packets, dtype=np.float32), (np.arange(packets), trace.owner)), shape=(packets, users)
    )
    parts = []
    for at in range(0, len(targets), _PART):
        found = attacker.posterior(trace, seen, study.rows, targets[at : at + _PART])
        queries = attacker.normal(found[:, :packets])
        parts.append(np.asarray((queries @ owners).todense(), dtype=np.float32) * np.float32(users))
    return Followed(np.concatenate(parts), trace.owner[seen.packet[targets]].astype(np.int64))


def search(known: Followed, victims: int, reads: int, seed: int) -> Search:
    """Let the contact look for `victims` victims among all users, each read being one of the messages."""
    rng = np.random.default_rng([seed, 2])
    values = known.ratio.ravel()
    logs = np.log(np.float32(1 - FLOOR) * values + np.float32(FLOOR))
    weights = np.cumsum(values, dtype=float)
    users = known.ratio.shape[1]

    def draw(count: int) -> tuple[Singles, Singles]:
        own = np.searchsorted(weights, rng.random((count, victims)) * weights[-1], side="right")
        others = rng.integers(0, values.size, (count, users - 1))
        return logs[np.minimum(own, values.size - 1)], logs[others]

    return race(draw, users, victims, reads, _STEP)
