"""How long a query is under way: drawn by the shipping laws, and the densities that an attacker computes.

A query leaves its user at s, a home is asked at t and the answer comes in at a.  `out` = t - s and `whole`
= a - s, in seconds.  On the way stand three mixes and the courier, then proxy and home, then proxy, courier
and three mixes again; all but the home keep a packet to a tick of one grid (docs/protocol/mixing.md).

Left out: that a mix with fewer than `pool_min` packets holds.  tests/lab/test_lab_contact.py compares the
densities with the drawn ways and with nodes of the virtual network, in which mixes do hold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve
from scipy.stats import beta

from mixmail.lab.network import Links
from mixmail.mixing import delays
from mixmail.mixing.ticks import first_tick_from, tick_time
from mixmail.params import NetworkParameters
from mixmail.randomness import Randomness

Floats = NDArray[np.float64]

CELLS = 8
"""Cells of a tick in the tables of `out`."""


def draw_ways(params: NetworkParameters, count: int, rng: Randomness) -> Floats:
    """`count` rows (out, whole) in seconds, of queries sent at uniform moments."""
    ways = np.empty((count, 2))
    for row in ways:
        row[:] = _draw_way(params, Links(), rng)
    return ways


def _draw_way(params: NetworkParameters, links: Links, rng: Randomness) -> tuple[float, float]:
    def link() -> float:
        return links.low + (links.high - links.low) * rng.uniform()

    def on_tick(moment: float) -> float:
        return tick_time(params, first_tick_from(params, moment))

    sent = rng.uniform() * params.slot
    waits = [ms / delays.MS for ms in delays.draw_delays_ms(params, rng, 2 * params.mixes)]
    now = sent
    for wait in waits[: params.mixes]:
        now = on_tick(now + link() + wait)
    now = on_tick(now + link() + delays.draw_courier_delay(params, rng))
    now += link()  # the proxy asks at once
    asked = now + link()
    answered = max(now + link() + link() for _ in range(params.read_homes))
    now = on_tick(answered + delays.draw_courier_delay(params, rng))
    now = on_tick(now + link() + delays.draw_courier_delay(params, rng))
    for wait in waits[params.mixes :]:
        now = on_tick(now + link() + wait)
    return asked - sent, now + link() - sent


@dataclass(frozen=True, slots=True)
class Densities:
    """What an attacker knows of all ways; densities per second.

    `out[i]`: of `out` at cell i, a cell being `cell` seconds.  `given[j, i]`: of `out` at cell i for a query
    whose answer took between j and j + 1 ticks; longer ones are in the last row.
    """

    cell: float
    tick: float
    out: NDArray[np.float32]
    given: NDArray[np.float32]

    def of_out(self, out: NDArray[np.float32]) -> NDArray[np.float32]:
        """The density of `out` for each entry; 0 where there is none."""
        return self.out[self._cells(out)]

    def of_out_given(self, out: NDArray[np.float32], whole: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same for somebody who knows how long after its sending each query was answered."""
        width = self.out.size
        rows = np.minimum((whole * np.float32(1 / self.tick)).astype(np.int32), len(self.given) - 1)
        return self.given.ravel()[rows * width + self._cells(out)]

    def _cells(self, out: NDArray[np.float32]) -> NDArray[np.int32]:
        cells: NDArray[np.int32] = np.floor(out * np.float32(1 / self.cell)).astype(np.int32)
        last = self.out.size - 1
        np.clip(cells, -1, last, out=cells)
        cells[cells < 0] = last  # the last cell is empty
        return cells


def densities(params: NetworkParameters) -> Densities:
    """The densities for `params`, by convolution of the laws of every hop."""
    cell = params.tick / CELLS
    mean, courier = params.mean_delay, params.mean_delay * params.courier_delay_fraction
    length = 3 * params.mixes + 2  # ticks for rounding
    size = CELLS * (int((15 * mean + 12 * courier) / params.tick) + length)
    half = _mixes(params, cell, size)
    wait = _courier(params, courier, size)
    rounding = _rounding(params, size)
    out_rest = _convolve(rounding, wait)
    back_rest = _convolve(_convolve(rounding, wait), wait)
    out = _convolve(half, out_rest)
    if mean == 0:
        given = out[None, :].copy()  # the answer takes equally long for everybody
    elif params.delay_law == "spacings":
        given = _given_sum(params, out_rest, back_rest, half)
    else:
        given = _given_whole(out, _convolve(half, back_rest))
    out[-1] = given[:, -1] = 0.0
    return Densities(cell, params.tick, out.astype(np.float32) / cell, given.astype(np.float32) / cell)


def _mixes(params: NetworkParameters, cell: float, size: int) -> Floats:
    """Mass of the delays that three mixes were asked for."""
    edges = np.arange(size + 1) * cell
    mean = params.mean_delay
    if mean == 0:
        mass = np.zeros(size)
        mass[0] = 1.0
        return mass
    if params.delay_law == "spacings":
        # The sum of the first 3 of 6 uniform spacings is the third of five ordered uniform points.
        total = delays.sum_of_spacings_ms(params, 2 * params.mixes) / delays.MS
        return np.diff(beta(params.mixes, params.mixes).cdf(edges / total))
    one = np.diff(-np.exp(-np.minimum(edges / mean, params.delay_cut)))
    mass = one / one.sum()
    three = _convolve(_convolve(mass, mass), mass)
    return _shift(three, params.mixes * 0.5)


def _rounding(params: NetworkParameters, size: int) -> Floats:
    """Mass of what three mixes add by waiting for a tick: the first is uniform; so are the others, but with
    delay 0 they add a whole tick each."""
    uniform = np.zeros(size)
    uniform[:CELLS] = 1 / CELLS
    mass = uniform
    for _ in range(params.mixes - 1):
        mass = _convolve(mass, uniform) if params.mean_delay > 0 else _shift(mass, CELLS)
    return mass


def _courier(params: NetworkParameters, mean: float, size: int) -> Floats:
    """Mass of what a courier or proxy adds: whole ticks, at least one."""
    mass = np.zeros(size)
    if mean == 0:
        mass[CELLS] = 1.0
        return mass
    ticks = np.arange(size // CELLS) * params.tick
    mass[CELLS::CELLS] = np.diff(-np.exp(-np.minimum(ticks / mean, params.delay_cut)))
    mass /= mass.sum()
    return mass


def _given_whole(out: Floats, back: Floats) -> Floats:
    """`given` when the way out and the way back do not depend on each other."""
    size = out.size
    whole = _convolve(out, np.concatenate([back, np.zeros(size)]), keep=2 * size)
    rows = whole.size // CELLS
    given = np.zeros((rows, size))
    for row in range(rows):
        # the middle cell of the row stands for all of it
        middle = row * CELLS + CELLS // 2
        first, last = max(0, middle - size + 1), min(middle, size - 1)
        part = out[first : last + 1] * back[middle - last : middle - first + 1][::-1]
        if part.sum() > 0:
            given[row, first : last + 1] = part / part.sum()
    return given


def _given_sum(params: NetworkParameters, out_rest: Floats, back_rest: Floats, half: Floats) -> Floats:
    """`given` when all mix delays together are the same for everybody: what varies is the rest, and of that
    the part on the way out shifts the moment at the home."""
    size = out_rest.size
    rest = _given_whole(out_rest, back_rest)
    total = delays.sum_of_spacings_ms(params, 2 * params.mixes) / delays.MS
    start = int(total / params.tick)
    given = np.zeros((start + len(rest), size))
    given[start:] = fftconvolve(rest, half[None, :], axes=1)[:, :size]
    return np.maximum(given, 0.0)


def _convolve(left: Floats, right: Floats, keep: int | None = None) -> Floats:
    mass: Floats = fftconvolve(left, right)[: keep or left.size]
    return np.maximum(mass, 0.0)


def _shift(mass: Floats, cells: float) -> Floats:
    """`mass` moved up by so many cells, spread over two when they are not whole."""
    whole, part = int(cells), cells - int(cells)
    padded = np.concatenate([np.zeros(whole + 1), mass])
    return (1 - part) * padded[1 : 1 + mass.size] + part * padded[: mass.size]
