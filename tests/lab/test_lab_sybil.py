"""`scripts/lab sybil` in its short form: who works for places near a key, and what bounds him."""

from __future__ import annotations

import argparse

import pytest

from mixmail.boxes.placement import score
from mixmail.lab import sybil
from mixmail.lab.sybil import Attack, known_key, nearest, solved, unknown_key
from mixmail.params import DAY, MAIL
from mixmail.testing import SeededRandomness

NODES = 200


def test_the_work_of_an_id_is_that_of_the_puzzle() -> None:
    assert solved(MAIL, 1.0, 0.1) == int(DAY / (0.1 * 2**MAIL.puzzle_bits)) == 3_375


def test_the_nearest_of_a_row_are_the_nearest() -> None:
    key = b"k" * 32
    found = nearest(key, [5, 9_000, 700], 20, SeededRandomness(1))
    rng = SeededRandomness(1)
    row: list[bytes] = []
    while len(row) < 9_000:  # drawn in the same pieces
        size = {0: 5, 5: 695}.get(len(row), min(sybil.CHUNK, 9_000 - len(row)))
        drawn = rng.bytes(32 * size)
        row += [drawn[at : at + 32] for at in range(0, len(drawn), 32)]
    for count in (5, 700, 9_000):
        expected = sorted(row[:count], key=lambda one: score(one, key))[:20]
        assert sorted(found[count]) == sorted(expected)


def test_who_knows_the_key_beforehand_is_bounded_by_his_networks_only() -> None:
    rng = SeededRandomness(2)
    for networks in (1, 4, 12):
        rows = [known_key(MAIL, Attack(40_000, networks), NODES, 10, rng) for _ in range(3)]
        assert all(row[0] == networks for row in rows)
    many = [known_key(MAIL, Attack(40_000, 20), NODES, 14, rng) for _ in range(5)]
    assert all(row[0] >= 15 for row in many)
    assert all(row[-1] <= 1 for row in many)  # two ids
    middle = [row[8] for row in many]  # 156 ids among 200 honest ones
    assert 3 <= sum(middle) / len(middle) <= 11


def test_who_does_not_know_the_key_holds_his_share_of_the_nodes() -> None:
    rng = SeededRandomness(3)
    draws = [unknown_key(MAIL, 20, 1, NODES, rng) for _ in range(400)]
    assert sum(draws) / len(draws) == pytest.approx(MAIL.replicas * 20 / (NODES + 20), abs=0.2)
    more = [unknown_key(MAIL, 20, 10, NODES, rng) for _ in range(100)]
    assert max(more) <= MAIL.replicas
    assert sum(more) / len(more) > 4  # nothing bounds the nodes of one network, only its homes of a key


def test_the_figures_of_a_run() -> None:
    options = argparse.Namespace(
        nodes=NODES, core_days=1.0, networks=20, attempt_s=0.08, keys=2, draws=20, seed=4, plot=None
    )
    report = sybil.LAB.run(options, lambda text: None)
    figures = report.figures
    assert figures["ids"] == 4_218 and figures["known_held_mean"] > sybil.BAR
    # so many bits that about 60 ids are paid: some 4 of 16 among 200
    assert 12 <= figures["puzzle_bits_for_bar"] <= 15
    again = sybil.LAB.run(options, lambda text: None)
    assert again == report
