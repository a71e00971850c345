"""The storer's measure in its short form: it finds what can be found, and little under the real polling."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from mixmail.boxes.query import QueryOp
from mixmail.lab.storer import tell
from mixmail.lab.storer_changes import planted
from mixmail.lab.storer_network import Box, Notes, Seen, note
from mixmail.lab.storer_pairs import contacts_pairs, keys_seen, next_pairs, written_pairs
from mixmail.lab.storer_stats import Pairs, auc, scores, upper_bound
from mixmail.lab.wire import PARAMS

USERS, HOURS = 18, 1.5
SLOT, SPREAD_S = 30.0, 91.0  # how much the moment at a home varies: docs/anonymity.md, "Two ends only"


@pytest.fixture(scope="module")
def shipping() -> list[Notes]:
    return [note(seed, HOURS, PARAMS, USERS, mails_a_day=24.0) for seed in (71, 72)]


@pytest.fixture(scope="module")
def back_to_back() -> list[Notes]:
    return [note(seed, HOURS, PARAMS, USERS, change="back_to_back") for seed in (73, 74)]


def test_homes_write_down_every_read_and_the_truth_about_it(shipping: list[Notes]) -> None:
    for notes in shipping:
        long_ago = [read for read in notes.own_reads if read[0] < notes.seconds - 1_000]
        asked = {(moment, key) for moment, agent, key in long_ago if agent == notes.boxes[key].reader}
        names = {notes.boxes[key]: key for key in notes.boxes}
        seen = {names[key.box]: key.asked for key in keys_seen(notes, range(USERS), QueryOp.READ)}
        assert len(asked) > 300
        for moment, key in asked:
            assert any(moment < later < moment + 900 for later, _ in seen[key])
        checks = [(agent, notes.boxes[key]) for _, agent, key in long_ago if agent != notes.boxes[key].reader]
        assert all(agent == box.writer for agent, box in checks), "only a writer's read-backs are left"


def test_polls_back_to_back_are_found_and_the_real_ones_are_not(
    shipping: list[Notes], back_to_back: list[Notes]
) -> None:
    real = tell(shipping, contacts_pairs, "all", 1)
    badly = tell(back_to_back, contacts_pairs, "all", 1)
    assert badly.auc > 0.75 and badly.families["near"] > 0.75, badly
    assert real.auc < 0.6 and real.upper < 0.62, real
    everybody = 2 * USERS * 15  # a box that nobody has asked for yet is in no pair
    assert badly.of_one_user == everybody >= real.of_one_user > 0.9 * everybody


def test_the_other_questions_have_pairs_and_they_are_what_they_say(shipping: list[Notes]) -> None:
    for number, notes in enumerate(shipping):
        written = written_pairs(notes, range(USERS), number, 3, 1)
        assert written.same.sum() > 5
        assert np.array_equal(written.same, written.readers[:, 0] == written.readers[:, 1])
        following = next_pairs(notes, range(USERS), number, 3, 1)
        assert len(following.same) and np.isfinite(following.features).all()


def test_one_record_looks_like_another(shipping: list[Notes]) -> None:
    kinds = {seen.record for notes in shipping for home in notes.seen.values() for seen in home}
    kinds.remove((0, 0, 0))
    assert len(kinds) == 1, "type, class and bits are the same for everybody"


def test_an_unknown_change_is_refused() -> None:
    with pytest.raises(ValueError), planted(None, "better"):  # type: ignore[arg-type]
        pass


# -- what is there to be found ---------------------------------------------------------------------


def model(seed: int, slots: int, own_proxy: bool, one_a_slot: bool = True) -> Notes:
    """24 readers of six boxes each, by the law of the slots alone: no network, all homes are one."""
    users, contacts, chance = 24, 6, 1 / 32
    rng = np.random.default_rng(seed)
    notes = Notes(users, (slots + 60) * SLOT, SLOT, {})
    seen = []
    for reader in range(users):
        keys = [bytes([reader, contact]) * 16 for contact in range(contacts)]
        draw = rng.random(slots) if one_a_slot else np.zeros(slots)
        for contact, key in enumerate(keys):
            notes.boxes[key] = Box(reader, users, reader * contacts + contact, 0)
            if one_a_slot:
                when = np.flatnonzero((draw >= contact * chance) & (draw < (contact + 1) * chance))
            else:
                when = np.flatnonzero(rng.random(slots) < chance)
            moments = (when + rng.random(len(when))) * SLOT + 400 + SPREAD_S * rng.standard_normal(len(when))
            proxies = rng.integers(users - (not own_proxy), size=len(when))
            proxies = np.where(~np.array(own_proxy) & (proxies >= reader), proxies + 1, proxies)
            seen += [
                Seen(float(moment), 0, int(proxy), QueryOp.READ, key, (0, 0, 0))
                for moment, proxy in zip(np.clip(moments, 0, notes.seconds - 1), proxies, strict=True)
            ]
    notes.seen[0] = sorted(seen, key=lambda one: one.time)
    return notes


def test_a_proxy_that_never_comes_gives_the_reader_away() -> None:
    assert tell([model(seed, 2_000, own_proxy=False) for seed in (1, 2)], contacts_pairs, "all", 1).auc > 0.8
    fair = tell([model(seed, 2_000, own_proxy=True) for seed in (3, 4)], contacts_pairs, "all", 1)
    assert abs(fair.families["proxies"] - 0.5) < 0.03


def test_the_measure_finds_as_much_as_there_is_in_one_query_a_slot() -> None:
    """Two keys of one agent are never asked in one slot.  Of n slots, each key asked in p of them, n p^2
    such meetings are missing.  Seen through the waits they are spread over s = sqrt(2) 91 s, among chance
    meetings of density n p^2 / slot: two normal laws d apart, d^2 = n p^2 slot / (2 sqrt(pi) s)."""
    slots, chance = 6_000, 1 / 32
    distance = math.sqrt(slots * chance**2 * SLOT / (2 * math.sqrt(math.pi) * math.sqrt(2) * SPREAD_S))
    expected = NormalDist().cdf(distance / math.sqrt(2))
    found = tell([model(seed, slots, own_proxy=True) for seed in range(5, 9)], contacts_pairs, "all", 1)
    assert abs(found.families["near"] - expected) < 0.03 < expected - 0.5, (found, expected)
    assert found.auc < found.upper < found.auc + 0.03
    apart = [model(seed, slots, own_proxy=True, one_a_slot=False) for seed in range(9, 13)]
    assert abs(tell(apart, contacts_pairs, "all", 1).auc - 0.5) < 0.03


# -- the statistics --------------------------------------------------------------------------------


def test_auc_counts_ties_half_and_weights_pairs() -> None:
    same = np.array([True, True, False, False])
    assert auc(np.array([2.0, 1.0, 1.0, 0.0]), same) == pytest.approx(3.5 / 4)
    assert auc(np.array([2.0, 1.0, 1.0, 0.0]), same, np.array([0.0, 1.0, 1.0, 0.0])) == pytest.approx(0.5)


def test_the_classifier_is_tested_on_networks_that_it_did_not_learn_from() -> None:
    """A feature that says in each network something else: learning from the same network would find it."""
    rng = np.random.default_rng(1)
    same = rng.random(4_000) < 0.5
    network = np.repeat([0, 1], 2_000)
    feature = np.where(same == (network == 0), 1.0, -1.0)
    pairs = Pairs(same, np.zeros((4_000, 2), dtype=np.int64), network, feature[:, None])
    assert auc(scores(pairs)[network == 0], same[network == 0]) < 0.1
    with pytest.raises(ValueError):
        scores(Pairs(same, pairs.readers, np.zeros(4_000, dtype=np.int64), pairs.features))


def test_the_bound_holds_for_users_and_not_for_pairs() -> None:
    """Ten users of whom each gives a thousand equal pairs know no more than ten: the bound is far away."""
    rng = np.random.default_rng(2)
    user = np.tile(np.arange(10), 1_000)
    readers = np.column_stack([user, user])
    readers[5_000:, 1] = (user[5_000:] + 1) % 10
    same = readers[:, 0] == readers[:, 1]
    of_user = rng.standard_normal(10)
    network = np.arange(10_000) % 2
    pairs = Pairs(same, readers, network, of_user[user][:, None])
    alone = np.arange(10_000)
    free = Pairs(same, np.column_stack([alone, alone]), network, rng.standard_normal((10_000, 1)))
    wide = upper_bound(pairs, of_user[user], np.random.default_rng(3))
    narrow = upper_bound(free, free.features[:, 0], np.random.default_rng(3))
    assert narrow < 0.52 and wide > 0.6
