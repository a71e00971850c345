"""A malicious contact: how many reads of his boxes tell him who his victim is.

The victim polls boxes that the contact knows, as every user polls those of his contacts.  The contact owns
storers: he sees the moment t at which a home is asked for such a box.  He also sees every link.  So each read
is evidence: somebody sent a query at a moment that fits t, and got its answer at a moment that fits.

What he is taken to know (more than he can): of every user the moment at which each query was sent *and* the
moment at which its answer came, though both hide among the packets that each node relays and nothing says
which answer belongs to which query.  What he is taken not to do: follow packets from mix to mix
(`follow` does that).

For a user u with queries sent at s_k and answered c_k later, the likelihood ratio of one read is

    L_u(t) = T * sum over k of g(t - s_k | c_k),

T being the slot and g the density of the time between a query's sending and its arrival at a home, given the
time to its answer (`ways.Densities`).  Its mean is 1 for everybody but the victim.  Reads are far enough
apart to count as independent.  The victim is *found* at the first read after which the posterior (all users
being equally likely before) gives him more than 1/2.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mixmail.params import NetworkParameters
from mixmail.testing import SeededRandomness

from .ways import Densities, Floats, densities, draw_ways

Singles = NDArray[np.float32]

BANK = 100_000  # ways drawn by the shipping laws, from which all users draw theirs
FLOOR = 1e-3  # of every likelihood: no single read excludes anybody
CHUNK = 2_000_000  # queries looked at in one step: 50 MB


@dataclass(frozen=True, slots=True)
class Setting:
    """One network that is attacked.

    `answers`: whether the attacker uses the answers as well.  `share` of the slots are used: below 1 the
    cover is off (with `schedule` "slots" only).
    """

    params: NetworkParameters
    schedule: str = "slots"  # or "poisson": queries at random, one a slot in the mean
    answers: bool = True
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Search:
    """How a search went: for each victim the read that gave him away (inf: none of `reads` did)."""

    found: Floats
    reads: int
    bits: float  # mean information of a read about the victim

    @property
    def median(self) -> float:
        """Half of the victims are found by then."""
        return float(np.median(self.found))


@dataclass
class Crowd:
    """Users whose queries before a read are drawn anew for each read, since reads are far apart."""

    setting: Setting
    seed: int
    bank: int = BANK
    known: Densities = field(init=False)
    rng: np.random.Generator = field(init=False)
    _ways: Singles = field(init=False)
    _slots: int = field(init=False)

    def __post_init__(self) -> None:
        params = self.setting.params
        self.known = densities(params)
        self.rng = np.random.default_rng(self.seed)
        self._ways = draw_ways(params, self.bank, SeededRandomness(f"ways {self.seed}")).astype(np.float32)
        slots = math.ceil(self.known.out.size * self.known.cell / params.slot) + 1
        # of a Poisson schedule so many queries as reach over the window but once in some million times
        self._slots = slots if self.setting.schedule == "slots" else math.ceil(slots + 5 * math.sqrt(slots))

    @property
    def queries(self) -> int:
        """Queries looked at for one user and read."""
        return self._slots

    def others(self, reads: int, users: int, phase: Singles) -> Singles:
        """log L of users who did not make the read, (reads, users); `phase`: the read's place in its slot."""
        sent = self._sent(reads, users, phase)
        return self._log_ratio(sent, self._whole(sent.shape))

    def victims(self, reads: int, users: int, phase: Singles) -> Singles:
        """log L of users who made the read."""
        sent = self._sent(reads, users, phase)
        whole = self._whole(sent.shape)
        own = self._ways[self.rng.integers(0, self.bank, (reads, users))]
        slot = np.float32(self.setting.params.slot)
        if self.setting.schedule == "slots":
            # this query takes its slot; the slots are numbered backwards from the one of the read
            number = np.floor((own[..., 0] + slot - phase[:, None]) / slot).astype(np.int64)
        else:
            sent = np.concatenate([sent, sent[..., :1]], axis=2)
            whole = np.concatenate([whole, whole[..., :1]], axis=2)
            number = np.full((reads, users), self._slots)
        np.clip(number, 0, sent.shape[2] - 1, out=number)
        np.put_along_axis(sent, number[..., None], own[..., :1], axis=2)
        np.put_along_axis(whole, number[..., None], own[..., 1:], axis=2)
        return self._log_ratio(sent, whole)

    def _sent(self, reads: int, users: int, phase: Singles) -> Singles:
        """How long before the read each query was sent; negative: after it."""
        shape = (reads, users, self._slots)
        slot = np.float32(self.setting.params.slot)
        uniform = self.rng.random(shape, dtype=np.float32)
        if self.setting.schedule == "slots":
            numbers = np.arange(self._slots, dtype=np.float32)
            sent: Singles = (numbers + uniform) * slot - (slot - phase[:, None, None])
            if self.setting.share < 1:
                sent[self.rng.random(shape, dtype=np.float32) >= self.setting.share] = -slot
            return sent
        gaps = self.rng.standard_exponential(shape, dtype=np.float32) * slot
        return np.cumsum(gaps, axis=2)

    def _whole(self, shape: tuple[int, ...]) -> Singles:
        if not self.setting.answers:
            return np.zeros(shape, np.float32)
        return self._ways[:, 1][self.rng.integers(0, self.bank, shape, dtype=np.int32)]

    def _log_ratio(self, sent: Singles, whole: Singles) -> Singles:
        params = self.setting.params
        density = self.known.of_out_given(sent, whole) if self.setting.answers else self.known.of_out(sent)
        ratio: Singles = np.float32(params.slot / self.setting.share) * density.sum(axis=2)
        logs: Singles = np.log(np.float32(1 - FLOOR) * ratio + np.float32(FLOOR))
        return logs


def search(setting: Setting, users: int, victims: int, reads: int, seed: int, bank: int = BANK) -> Search:
    """Let the contact look for each of `victims` victims among `users` users, for at most `reads` reads.

    The victims share the crowd in which they are looked for; that makes the figures of two victims of one
    run a little alike, and the run `victims` times as fast.  `bank`: ways that are drawn.
    """
    crowd = Crowd(setting, seed, bank)
    step = max(1, CHUNK // ((users + victims) * crowd.queries))

    def draw(count: int) -> tuple[Singles, Singles]:
        phase = crowd.rng.random(count, dtype=np.float32) * np.float32(setting.params.slot)
        return crowd.victims(count, victims, phase), crowd.others(count, users - 1, phase)

    return race(draw, users, victims, reads, step)


def race(
    draw: Callable[[int], tuple[Singles, Singles]], users: int, victims: int, reads: int, step: int
) -> Search:
    """Add up log likelihood ratios until each victim is found.

    `draw(count)` gives those of `count` reads: (count, victims) and (count, users - 1).
    """
    score = np.zeros(victims)
    rest = np.zeros(users - 1)
    found = np.full(victims, np.inf)
    done = 0
    while done < reads and not np.isfinite(found).all():
        count = min(step, reads - done)
        own, others = draw(count)
        scores = score + np.cumsum(own, axis=0, dtype=float)
        rests = rest + np.cumsum(others, axis=0, dtype=float)
        ahead = scores > np.logaddexp.reduce(rests, axis=1)[:, None]
        first = np.where(ahead.any(axis=0), done + 1 + ahead.argmax(axis=0), np.inf)
        found = np.minimum(found, first)
        score, rest = scores[-1], rests[-1]
        done += count
    return Search(found, done, float(score.mean()) / done / math.log(2))


def settings(params: NetworkParameters) -> dict[str, Setting]:
    """What is compared; the first is what ships."""

    def law(name: str, couriers: bool = True) -> NetworkParameters:
        fraction = params.courier_delay_fraction if couriers else 0.0
        return dataclasses.replace(params, delay_law=name, courier_delay_fraction=fraction)

    return {
        "contact_reads": Setting(params),
        "contact_reads_spacings": Setting(law("spacings")),
        "contact_reads_spacings_no_courier_pools": Setting(law("spacings", couriers=False)),
        "contact_reads_spacings_sending_only": Setting(law("spacings"), answers=False),
        "contact_reads_spacings_poisson_schedule": Setting(law("spacings"), schedule="poisson"),
        "contact_reads_exponential": Setting(law("exponential")),
        "contact_reads_exponential_no_courier_pools": Setting(law("exponential", couriers=False)),
        "contact_reads_exponential_sending_only": Setting(law("exponential"), answers=False),
        "contact_reads_exponential_poisson_schedule": Setting(law("exponential"), schedule="poisson"),
        "contact_reads_no_delays": Setting(dataclasses.replace(params, mean_delay=0.0)),
    }
