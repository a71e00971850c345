"""Boxes and the nodes that keep them: the fast path of `scripts/lab churn` does as the shipping code."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mixmail.boxes.query import QueryOp
from mixmail.boxes.record import EMPTY_FIELD, key_field
from mixmail.boxes.status import Status
from mixmail.effects import Frame, Send
from mixmail.lab.churn.bits import count, first, lowest, one_of, pack, unpack
from mixmail.lab.churn.exact import World
from mixmail.lab.churn.fast import simulate
from mixmail.lab.churn.lab import AGREEMENT, BASE, compare, measure, traffic
from mixmail.lab.churn.setting import Kind, Setting, forgotten, make_population
from mixmail.lab.churn.storers import Storer
from mixmail.node.wire import HomeQuery, HomeReply
from mixmail.node.wire import Kind as Message
from mixmail.testing import SeededRandomness

BOXES, DRAWS, SEED = 60, 6, 1


@pytest.mark.parametrize("name", AGREEMENT)
def test_the_fast_path_loses_as_many_boxes_as_the_shipping_code(name: str) -> None:
    """On one history of 40 nodes, within four standard errors, and 5 % in the copies that are left."""
    found = compare(AGREEMENT[name], BOXES, SEED, DRAWS)
    assert found.sigmas < 4, found
    assert found.copies == pytest.approx(found.fast_copies, rel=0.05, abs=0.05), found
    if name == "what ships":
        assert found.exact == found.mean == 0
    else:
        assert found.exact >= 3, "it has to lose some to show anything"


@pytest.mark.parametrize("kind", [Kind.DROP, Kind.LIE, Kind.OLD])
def test_a_hostile_storer_acknowledges_and_has_nothing_that_counts(kind: Kind) -> None:
    setting = replace(BASE, days=2)
    world = World(setting, make_population(setting, np.random.default_rng(1)), np.zeros(1), 1)
    box = world.boxes[0]
    storer = Storer(kind, SeededRandomness("hostile"))

    def ask(op: QueryOp, field: bytes) -> HomeReply:
        frame = Frame(Message.HOME_QUERY, 7, HomeQuery(op, field).pack())
        (answer,) = storer.handle_frame(bytes(32), frame)
        assert isinstance(answer, Send) and answer.frame.stream == 7
        return HomeReply.parse(answer.frame.payload)

    assert ask(QueryOp.WRITE, box.pack()).status.acknowledges
    reply = ask(QueryOp.READ, key_field(box.key))
    assert reply.field == EMPTY_FIELD if kind is Kind.DROP else reply.field[:32] == box.key
    assert (reply.status is Status.NOT_FOUND) == (kind is Kind.DROP)
    assert reply.field != box.pack()


def test_liars_and_forgetters_do_no_more_harm_than_those_who_drop() -> None:
    lost = {}
    for kinds in ((Kind.DROP,), (Kind.LIE, Kind.OLD), (Kind.FORGET,)):
        setting = replace(AGREEMENT["half hostile"], kinds=kinds)
        people = make_population(setting, np.random.default_rng(3))
        world = World(setting, people, np.linspace(0, 1, 50), 3)
        lost[kinds[0]] = int(world.run().sum())
    binomial = 4 * (2 * lost[Kind.DROP]) ** 0.5
    assert lost[Kind.DROP] >= 3
    assert lost[Kind.LIE] <= lost[Kind.DROP] + binomial
    assert lost[Kind.FORGET] < lost[Kind.DROP]


def test_what_ships_loses_none_and_twenty_in_a_hundred_hostile_without_repair_many() -> None:
    outcome, people = measure(Setting(), 600, SEED, lambda text: None)
    assert (outcome.written.all(), int(outcome.lost.sum())) == (True, 0)
    assert outcome.least.min() >= 2 and outcome.unreadable_days == 0
    records, offers = traffic(Setting(), outcome, people.viewed)
    assert 0 < records < 0.01 and 0.05 < offers < 0.3, "KB/s each way"
    outcome, _ = measure(Setting(repair_h=0.0, days=15), 600, SEED, lambda text: None)
    assert outcome.lost.sum() > 400


def test_views_forget_at_the_end_of_a_day() -> None:
    """A descriptor of day 3, published at ten past midnight, is valid to the end of day 4."""
    death = np.array([3.0, 3.006, 3.008, 3.9])
    silent = np.zeros(4, bool)
    assert forgotten(death, silent, 1).tolist() == [4.0, 4.0, 5.0, 5.0]
    assert forgotten(death, ~silent, 1).tolist() == death.tolist()


def test_the_population_is_in_balance_and_leaves_at_its_rate() -> None:
    setting = Setting(nodes=4_000, days=10, graceful=0.5)
    people = make_population(setting, np.random.default_rng(SEED))
    for day in range(0, 10, 3):
        up = ((people.birth <= day) & (people.death > day)).sum()
        assert up == pytest.approx(4_000, abs=4 * 4_000**0.5)
    gone = ((people.death >= 0) & (people.death < 10)).sum()
    assert gone == pytest.approx(12_000, abs=4 * 12_000**0.5)
    assert (people.kind != 0).mean() == pytest.approx(0.2, abs=0.02)
    assert people.graceful.mean() == pytest.approx(0.5, abs=0.02)


def test_sets_of_bits() -> None:
    rng = np.random.default_rng(SEED)
    members = rng.random((500, 64)) < rng.random((500, 1))
    members[0], members[1] = False, True
    sets = pack(members)
    assert (unpack(sets) == members).all()
    assert (count(sets) == members.sum(axis=1)).all()
    number = rng.integers(0, 66, 500)
    wanted = members & (np.cumsum(members, axis=1) <= number[:, None])
    assert (unpack(lowest(sets, number)) == wanted).all()
    assert (first(sets) == lowest(sets, 1)).all()
    drawn = np.array([one_of(sets, rng) for _ in range(200)])
    assert (count(drawn) == (sets != 0)).all() and ((drawn & ~sets) == 0).all()
    seen = np.bitwise_or.reduce(drawn)
    few = members.sum(axis=1) <= 10
    assert (seen[few] == sets[few]).mean() > 0.99, "each member comes up"


def test_equal_seeds_give_equal_runs() -> None:
    setting = replace(BASE, days=2)
    runs = []
    for _ in range(2):
        rng = np.random.default_rng(SEED)
        people = make_population(setting, rng)
        runs.append(simulate(setting, people, rng.random(50), rng))
    assert (runs[0].copies == runs[1].copies).all() and runs[0].records_sent == runs[1].records_sent
