"""The anonymity lab's fast path: its observer is the exact one, and its networks are as the exact ones."""

from __future__ import annotations

import argparse
import dataclasses

import numpy as np
import pytest

from mixmail.errors import UserError
from mixmail.lab.anonymity import compare
from mixmail.lab.anonymity.fast import FastStudy, observe
from mixmail.lab.anonymity.fast_flow import ANSWER_IN, NEVER, QUERY_IN, QUERY_OUT, Table
from mixmail.lab.anonymity.figures import Study
from mixmail.lab.anonymity.filter import Visits
from mixmail.lab.anonymity.flow import OUT, QUERY, Setting, Trace
from mixmail.lab.anonymity.lab import LAB

SEED = 1
BASE = Setting(users=80, seconds=1_400.0)
MESSAGES = 100


def tabled(trace: Trace, seen: Visits) -> tuple[Table, np.ndarray]:
    """The visits of an exact trace as the fast path has them, and the new place of each."""
    tick, first = trace.setting.params.tick, round(trace.start / trace.setting.params.tick)
    order = np.lexsort((seen.arrive, seen.node))
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    leave = np.where(np.isnan(seen.leave), NEVER, np.round(np.nan_to_num(seen.leave) / tick)).astype(np.int16)
    run = np.zeros(len(order), dtype=np.int8)
    for visit, (node, end) in enumerate(zip(seen.node.tolist(), leave.tolist(), strict=True)):
        while end != NEVER and (node, first + end - 1 - int(run[visit])) in trace.held:
            run[visit] += 1
    entry = np.zeros(len(order), dtype=np.int8)
    entry[(seen.hop == OUT[-1]) & (trace.kind[seen.packet] == QUERY)] = QUERY_OUT
    entry[seen.entry >= 0] = QUERY_IN
    entry[seen.entry >= len(trace.kind)] = ANSWER_IN
    before = np.where(seen.before >= 0, place[seen.before], -1).astype(np.int32)
    node = seen.node[order].astype(np.int32)
    return (
        Table(
            np.searchsorted(node, np.arange(trace.setting.users + 1)),
            node,
            seen.arrive[order].astype(np.float32),
            leave[order],
            run[order],
            before[order],
            entry[order],
            trace.owner[seen.packet[order]],
        ),
        place,
    )


@pytest.mark.parametrize("name", ["shipping", "cover_off"])
def test_of_one_trace_both_observers_know_the_same(name: str) -> None:
    setting = {"shipping": BASE, **compare.settings(BASE)}[name]
    study = Study(setting, SEED)
    table, place = tabled(study.trace, study.visits)
    assert name != "cover_off" or table.run.max() > 3  # pools did hold
    rng = np.random.default_rng(SEED)
    leaving = study.leaving()
    targets = np.sort(rng.choice(leaving, min(MESSAGES, len(leaving)), replace=False))
    nobody, hostile = np.zeros((2, setting.users), dtype=np.bool_)
    hostile[rng.choice(setting.users, round(setting.users * 0.2), replace=False)] = True
    found = observe(setting, (table, table, table), place[targets], [nobody, hostile], rng)
    for mine, exact in zip(found, (study.look(MESSAGES), study.look(MESSAGES, 0.2)), strict=True):
        assert mine.surprises == exact.surprises == 0
        for item in ("packet_bits", "query_bits", "sender_bits", "guess", "truth", "square", "when"):
            assert getattr(mine, item) == pytest.approx(getattr(exact, item), abs=1e-3), item


@pytest.mark.parametrize("name", ["shipping", "no_delay", "free_routes"])
def test_fast_and_exact_networks_have_the_same_figures(name: str) -> None:
    setting = {"shipping": BASE, **compare.settings(BASE)}[name]
    fast, exact = FastStudy(setting, SEED, 200).look()[0], Study(setting, SEED).look(200)
    mine, theirs = fast.figures(), exact.figures()
    for key in ("packet_entropy_mean_bits", "query_entropy_mean_bits", "sender_entropy_mean_bits"):
        assert mine[key] == pytest.approx(theirs[key], abs=0.15), key
    assert mine["worst_guess"] == pytest.approx(theirs["worst_guess"], rel=0.25)
    assert 0.9 < mine["calibration"] < 1.1
    assert (fast.surprises, exact.surprises) == (0, 0)
    if name == "shipping":
        assert mine["packet_entropy_min_bits"] == pytest.approx(theirs["packet_entropy_min_bits"], abs=0.2)
        assert mine["epsilon"] == pytest.approx(theirs["epsilon"], abs=0.02)


def test_with_cover_off_mixes_hold_and_the_figures_collapse() -> None:
    setting = compare.settings(dataclasses.replace(BASE, users=600))["cover_off"]
    study = FastStudy(setting, SEED, 200)
    assert max(int(table.run.max()) for table in study.tables) > 5
    found = study.look()[0].figures()
    assert found["packet_entropy_mean_bits"] < 6
    assert found["worst_guess"] > 0.1
    assert 0.7 < found["calibration"] < 1.3


def test_the_share_of_hostile_paths_is_that_of_three_hostile_mixes() -> None:
    study = FastStudy(dataclasses.replace(BASE, users=300, seconds=900.0), SEED, 10_000)
    assert study.path_hostile(0.5) == pytest.approx(0.125, abs=0.01)
    assert study.path_hostile(1.0) == 1.0


def report(*arguments: str) -> tuple[dict[str, float], list[str]]:
    parser = argparse.ArgumentParser()
    LAB.options(parser)
    options = parser.parse_args(arguments)
    options.seed, options.plot = SEED, None
    said: list[str] = []
    return dict(LAB.run(options, said.append).figures), said


def test_the_lab_takes_the_fast_path_when_it_is_asked() -> None:
    figures, said = report("--users", "60", "--messages", "30", "--fast", "--only", "no_delay")
    assert figures["no_delay.query_entropy_mean_bits"] < 3 < figures["query_entropy_mean_bits"]
    assert figures["epsilon_30"] > figures["epsilon"]
    assert [line.split(":")[0] for line in said][-1] == "no_delay"
    with pytest.raises(UserError, match="does not know restart"):
        report("--users", "20000", "--only", "restart")


def test_several_seeds_count_as_one_sample() -> None:
    arguments = ("--users", "24", "--messages", "40", "--fast", "--quick")
    one, two = report(*arguments)[0], report(*arguments, "--seeds", "2")[0]
    assert two["packet_entropy_min_bits"] <= one["packet_entropy_min_bits"]
    assert two["worst_guess"] >= one["worst_guess"]
    assert two["epsilon"] != one["epsilon"]
