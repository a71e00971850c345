"""The anonymity lab in its short form: the observer is right about what he knows, and the figures move."""

from __future__ import annotations

import argparse
import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from mixmail.lab.anonymity import filter as attacker
from mixmail.lab.anonymity.compare import COVER_OFF, EXPONENTIAL, NO_DELAY, SPACINGS
from mixmail.lab.anonymity.figures import Seen, Study
from mixmail.lab.anonymity.flow import BACK, OUT, Setting
from mixmail.lab.anonymity.lab import LAB
from mixmail.lab.anonymity.large import ways
from mixmail.lab.anonymity.laws import survival
from mixmail.mixing.delays import draw_delays_ms
from mixmail.params import NetworkParameters
from mixmail.testing import SeededRandomness

SEED = 1
USERS = 48
BASE = Setting(users=USERS, seconds=1_500.0)


@pytest.fixture(scope="module")
def study() -> Study:
    print(f"seed {SEED}")
    return Study(BASE, SEED)


def look(**changes: object) -> Seen:
    return Study(dataclasses.replace(BASE, **changes), SEED).look(150)  # type: ignore[arg-type]


def test_every_row_of_the_trace_follows_the_one_before(study: Study) -> None:
    trace = study.trace
    order = np.lexsort((trace.hop, trace.packet))
    same = trace.packet[order][1:] == trace.packet[order][:-1]
    assert (trace.hop[order][1:][same] == trace.hop[order][:-1][same] + 1).all()
    assert (trace.src[order][1:][same] == trace.dst[order][:-1][same]).all()
    assert (trace.sent[order][1:][same] >= trace.received[order][:-1][same]).all()
    assert {*OUT, *BACK} <= set(trace.hop[trace.mixed].tolist())


def test_the_observer_is_as_often_right_as_he_thinks(study: Study) -> None:
    seen = study.look(1_000)
    assert seen.surprises == 0
    assert 0.9 < seen.figures()["calibration"] < 1.1


def test_the_network_hides_among_nearly_all_of_its_users(study: Study) -> None:
    found = study.look(300).figures()
    assert found["sender_entropy_min_bits"] > math.log2(USERS) - 0.2
    assert found["worst_guess"] < 3 / USERS


def test_without_delays_the_figures_collapse() -> None:
    found = look(params=NO_DELAY).figures()
    assert found["query_entropy_mean_bits"] < 3
    assert found["worst_guess"] > 0.9


def test_without_cover_the_figures_collapse() -> None:
    found = look(active=COVER_OFF).figures()
    assert found["query_entropy_mean_bits"] < 6
    assert found["worst_guess"] > 4 / USERS


def test_hostile_mixes_tell_and_a_wholly_hostile_path_hides_nothing(study: Study) -> None:
    honest, some, all_ = (study.look(200, share).figures() for share in (0.0, 0.3, 1.0))
    assert some["query_entropy_mean_bits"] < honest["query_entropy_mean_bits"] - 1
    assert all_["query_entropy_min_bits"] == all_["query_entropy_mean_bits"] == 0
    assert all_["calibration"] == pytest.approx(1.0)
    assert study.path_hostile(0.5) == pytest.approx(0.12, abs=0.02)  # 24, of 16 in each layer or nearly


@pytest.mark.parametrize("params", [EXPONENTIAL, SPACINGS])
def test_the_observers_law_is_the_one_that_delays_are_drawn_from(params: NetworkParameters) -> None:
    rng = SeededRandomness(SEED)
    drawn = np.array([draw_delays_ms(params, rng) for _ in range(2_000)]).ravel() / 1000
    for age in (10.0, 60.0, 150.0):
        assert float(survival(params, np.array([age]))[0]) == pytest.approx((drawn > age).mean(), abs=0.015)


def test_leavings_beyond_what_can_be_are_told() -> None:
    assert attacker._inclusion(np.array([0.0, 1.0]), 2) is None
    both = attacker._inclusion(np.array([1.0, 1.0, 1.0]), 2)
    assert both is not None
    assert both == pytest.approx([2 / 3] * 3)


def test_the_entropy_over_ways_is_that_of_all_ways_counted_one_by_one(study: Study) -> None:
    bits, likeliest = ways(study)
    packets, relayed = len(study.trace.kind), study.rows.relayed
    entered = study.rows.entered[:, :packets].tocsr()
    third = int(study.leaving()[7])
    found: list[float] = []
    for second, one in zip(*_row(relayed, third), strict=True):
        for first, two in zip(*_row(relayed, second), strict=True):
            found += [one * two * three for three in _row(entered, first)[1]]
    share = np.array([weight for weight in found if weight > 0]) / sum(found)
    assert bits[7] == pytest.approx(-(share * np.log2(share)).sum(), abs=1e-3)
    assert likeliest[7] == pytest.approx(share.max(), rel=1e-3)
    assert (bits >= study.look(10**6).query_bits - 1e-3).all()  # ways that meet can only tell more


def test_the_lab_prints_its_figures_and_draws_them(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    LAB.options(parser)
    options = parser.parse_args(["--users", "20", "--messages", "20", "--only", "shipping"])
    options.seed, options.plot = SEED, tmp_path / "anonymity.svg"
    said: list[str] = []
    report = LAB.run(options, said.append)
    assert (report.lab, report.n, report.seed) == ("anonymity", 20, SEED)
    assert report.figures["sender_entropy_min_bits"] <= report.figures["sender_entropy_ceiling_bits"]
    assert {"worst_guess", "epsilon", "epsilon_20", "path_hostile_20"} <= set(report.figures)
    assert "<svg" in options.plot.read_text()
    assert [line.split(":")[0] for line in said] == ["shipping", "10% hostile", "20% hostile", "30% hostile"]


def _row(matrix: sparse.csr_array, number: int) -> tuple[list[int], list[float]]:
    span = slice(matrix.indptr[number], matrix.indptr[number + 1])
    return matrix.indices[span].tolist(), matrix.data[span].tolist()
