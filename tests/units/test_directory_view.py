"""The view: what it takes in, whom it offers, and that everybody computes the same layers."""

from __future__ import annotations

import dataclasses
import random

import pytest
from directory_builder import NETWORK, NOON, PARAMS, TODAY, keys, make, seed
from hypothesis import given, settings
from hypothesis import strategies as st
from low_order import LOW_ORDER

from mixmail.crypto import argon2, ed25519, hashing, kem
from mixmail.directory import puzzle
from mixmail.directory.descriptor import Descriptor, Role
from mixmail.directory.view import Checks, View
from mixmail.errors import RemoteProtocolError
from mixmail.params import DAY, GEOMETRY, NODE_LIMITS


def view_of(items, now=NOON, network=NETWORK, checks=None):
    view = View(network, checks)
    for item in items:
        assert view.add(item, now)
    return view


def resigned(number, raw):
    """`raw` with a right signature of node `number` over its changed bytes."""
    signed = bytes(raw[:-64])
    return Descriptor.parse(signed + ed25519.sign(seed(number), b"mm1-descriptor\0" + signed))


# -- taking in -------------------------------------------------------------------------------------


def test_a_descriptor_is_new_once():
    view = View(NETWORK)
    assert view.add(make(1), NOON) is True
    assert view.add(make(1), NOON) is False
    assert view.get(make(1).node_id) == make(1)
    assert view.changed == 1


ORIGINAL = make(1)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 343) | st.integers(0, len(ORIGINAL.raw) - 1), st.integers(1, 255))
def test_a_descriptor_with_any_byte_changed_is_refused(at, flip):
    raw = bytearray(ORIGINAL.raw)
    raw[at] ^= flip
    view = View(NETWORK)
    try:
        changed = Descriptor.parse(bytes(raw))
    except RemoteProtocolError:
        return
    assert view.refusal(changed, NOON) is not None
    assert view.add(changed, NOON) is False
    assert view.all() == () and view.digest() == [] and view.changed == 0


@pytest.mark.parametrize(
    ("days", "reason"), [(-3, "date"), (-2, "date"), (-1, None), (0, None), (1, None), (2, "date")]
)
def test_the_day_of_publication_must_be_near(days, reason):
    item = make(1, day=TODAY + days)
    assert View(NETWORK).refusal(item, NOON) == reason
    assert View(NETWORK).add(item, NOON) is (reason is None)


def test_reasons_of_refusal():
    view = View(NETWORK)
    other = dataclasses.replace(NETWORK, birth_day=1)
    assert view.refusal(make(1, network=other), NOON) == "network"
    other = dataclasses.replace(NETWORK, parameters=dataclasses.replace(PARAMS, slot=1.0))
    assert view.refusal(make(1, network=other), NOON) == "parameters"

    raw = bytearray(ORIGINAL.raw)
    raw[1:3] = b"\x02\x03"
    assert view.refusal(resigned(1, raw), NOON) == "version"

    raw = bytearray(ORIGINAL.raw)
    raw[11] ^= 1
    assert view.refusal(resigned(1, raw), NOON) == "puzzle period"

    raw = bytearray(ORIGINAL.raw)
    raw[400] ^= 1
    assert view.refusal(Descriptor.parse(bytes(raw)), NOON) == "signature"

    raw = bytearray(ORIGINAL.raw)
    raw[344 : 344 + 1184] = b"\xff" * 1184
    assert view.refusal(resigned(1, raw), NOON) == "keys"

    for key in range(6):  # three mix keys, three proxy keys; the X25519 part is the end of each
        end = 344 + (key + 1) * GEOMETRY.kem_public
        for point in LOW_ORDER:
            raw = bytearray(ORIGINAL.raw)
            raw[end - 32 : end] = point
            assert view.refusal(resigned(1, raw), NOON) == "keys"

    raw = bytearray(ORIGINAL.raw)
    raw[87] ^= 1
    assert view.refusal(resigned(1, raw), NOON) == "puzzle"
    assert view.refusal(ORIGINAL, NOON) is None


def test_a_storage_id_that_was_not_worked_for_is_refused_even_when_the_node_is_known():
    view = view_of([ORIGINAL])
    raw = bytearray(ORIGINAL.raw)
    raw[8:10] = b"\0\1"
    raw[56:88] = bytes(32)
    assert view.refusal(resigned(1, raw), NOON) == "puzzle"


def test_argon2_runs_once_for_a_puzzle_and_never_before_the_signature(monkeypatch):
    calls = []
    real = argon2.argon2id
    monkeypatch.setattr(argon2, "argon2id", lambda *args: calls.append(args) or real(*args))
    first, second = make(1), make(1, revision=1)
    calls.clear()
    view = View(NETWORK)
    raw = bytearray(first.raw)
    raw[500] ^= 1
    assert not view.add(Descriptor.parse(bytes(raw)), NOON)
    assert calls == []
    assert not view.puzzle_known(first)
    assert view.add(first, NOON) and len(calls) == 1
    assert view.puzzle_known(second)
    assert view.add(second, NOON) and len(calls) == 1


def test_a_puzzle_checked_elsewhere_is_taken_over(monkeypatch):
    item = make(1)
    view = View(NETWORK)
    assert view.cheap_refusal(item, NOON) is None
    assert puzzle.check(NETWORK, item.node_id, item.proof)
    view.checks.accept_puzzle(item)
    monkeypatch.setattr(argon2, "argon2id", None)
    assert view.add(item, NOON)


def test_views_that_share_checks_share_signatures_puzzles_and_parsed_keys(monkeypatch):
    checks = Checks()
    raw = make(1).raw
    first = view_of([Descriptor.parse(raw)], checks=checks)
    for module, name in ((argon2, "argon2id"), (ed25519, "verify"), (kem, "PublicKey")):
        monkeypatch.setattr(module, name, None)
    second = view_of([Descriptor.parse(raw)], checks=checks)
    node_id = first.all()[0].node_id
    assert second.get(node_id) is first.get(node_id)


# -- newest, equivocation, age ---------------------------------------------------------------------


@given(st.permutations([(-1, 5), (0, 0), (0, 7), (1, 0)]))
@settings(max_examples=24, deadline=None)
def test_the_highest_day_and_revision_counts_in_any_order(order):
    view = View(NETWORK)
    best = None
    for day, revision in order:
        new = best is None or (day, revision) > best
        assert view.add(make(1, day=TODAY + day, revision=revision), NOON) is new
        best = (day, revision) if new else best
    assert view.get(ORIGINAL.node_id).order == (TODAY + 1, 0)


def test_two_descriptors_for_one_day_and_revision_drop_the_node_until_a_later_day():
    first, second = make(1), make(1, endpoint="tcp:192.0.2.1:1")
    view = view_of([make(2), first])
    before = view.eligible(NOON)
    assert view.add(second, NOON) is True, "the others must hear of it"
    assert view.dropped(first.node_id) and view.get(first.node_id) is None
    assert [item.node_id for item in view.eligible(NOON)] == [make(2).node_id] and len(before) == 2
    assert not view.add(first, NOON) and not view.add(second, NOON)
    assert not view.add(make(1, revision=9), NOON)
    assert view.add(make(1, day=TODAY + 1), NOON)
    assert not view.dropped(first.node_id) and view.get(first.node_id) is not None


def test_both_descriptors_of_a_liar_reach_who_heard_of_one():
    first, second = make(1), make(1, endpoint="tcp:192.0.2.1:1")
    knows_both = view_of([first, second])
    knows_one = view_of([first])
    wanted = knows_one.wanted(knows_both.digest())
    assert wanted == [first.node_id]
    for item in knows_both.descriptors(wanted):
        knows_one.add(item, NOON)
    assert knows_one.dropped(first.node_id)
    assert knows_one.wanted(knows_both.digest()) == []


def test_gossip_asks_for_what_is_new_and_not_for_what_is_old():
    ahead = view_of([make(1, revision=1), make(2), make(3)])
    behind = view_of([make(1), make(2)])
    assert behind.wanted(ahead.digest()) == sorted([make(1).node_id, make(3).node_id])
    assert len(ahead.wanted(behind.digest())) == 1, "an unknown hash of a known node: could be newer"
    for item in behind.descriptors(ahead.wanted(behind.digest())):
        assert not ahead.add(item, NOON)
    assert ahead.wanted(behind.digest()) == [], "once heard and found old, never asked again"
    for item in ahead.descriptors(behind.wanted(ahead.digest())):
        assert behind.add(item, NOON)
    assert behind.digest() == ahead.digest()
    assert behind.descriptors([bytes(32)]) == []


def test_a_node_with_many_revisions_takes_bounded_memory():
    view = View(NETWORK)
    for revision in range(NODE_LIMITS.heard_revisions + 5):
        assert view.add(make(1, revision=revision), NOON)
    assert len(view._heard[ORIGINAL.node_id]) == NODE_LIMITS.heard_revisions
    assert len(view.checks.valid) == len(view.checks.puzzles) == 1


def test_old_descriptors_expire_with_all_that_was_kept_for_them():
    liar = [make(3), make(3, endpoint="tcp:192.0.2.1:1")]
    view = view_of([make(1), make(2, day=TODAY + 1), *liar])
    assert view.expire(NOON + DAY) == 0
    assert view.expire(NOON + 2 * DAY) == 1
    assert [item.node_id for item in view.all()] == [make(2).node_id]
    assert not view.dropped(liar[0].node_id)
    assert set(view._heard) == set(view.checks.valid) == {make(2).node_id}
    assert {key[0] for key in view.checks.puzzles} == {make(2).node_id}


# -- eligible --------------------------------------------------------------------------------------


def test_eligible_nodes_are_full_nodes_with_a_key_for_the_epoch():
    leafless = make(4, roles=Role.GUARD | Role.MIX)
    early = make(5, epoch=TODAY + 1, day=TODAY + 1)
    view = view_of([make(1), make(2), leafless, early])
    assert list(view.eligible(NOON)) == sorted([make(1), make(2)], key=lambda item: item.node_id)
    assert len(view.eligible(NOON + DAY)) == 3
    assert view.eligible(NOON + 2 * DAY) == (early,)
    assert len(view.eligible(NOON)) == 2, "the cache follows the clock"
    assert view.storage_ids(NOON) == tuple(
        (item.storage_id, item.node_id, b"") for item in view.eligible(NOON)
    )


def test_eligible_is_cached_until_something_changes():
    view = view_of([make(1), make(2)])
    first, layers = view.eligible(NOON), view.layers(NOON)
    assert view.eligible(NOON + 60) is first and view.layers(NOON + 60) is layers
    view.add(make(3), NOON)
    assert len(view.eligible(NOON)) == 3 and sum(map(len, view.layers(NOON))) == 3


# -- layers ----------------------------------------------------------------------------------------

MANY = [make(number) for number in range(60)]
SHARED = Checks()


def u_of(item):
    return int.from_bytes(hashing.blake2b(b"mm1.layer" + NETWORK.hash + item.storage_id)[:8], "big")


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60), st.randoms(use_true_random=False))
def test_everybody_computes_the_same_layers_from_the_same_descriptors(count, order: random.Random):
    items = MANY[:count]
    shuffled = list(items)
    order.shuffle(shuffled)
    one, two = view_of(items, checks=SHARED), view_of(shuffled, checks=SHARED)
    assert one.layers(NOON) == two.layers(NOON)
    assert sorted(item.node_id for layer in one.layers(NOON) for item in layer) == sorted(
        item.node_id for item in items
    )
    for layer, members in enumerate(one.layers(NOON)):
        assert all(two.layer_of(item.node_id, NOON) == layer for item in members)


@pytest.mark.parametrize("count", [12, 47])
def test_small_networks_take_the_rank_modulo_three(count):
    view = view_of(MANY[:count], checks=SHARED)
    ranked = sorted(MANY[:count], key=u_of)
    for layer in range(3):
        assert set(view.layers(NOON)[layer]) == set(ranked[layer::3])


@pytest.mark.parametrize("count", [48, 60])
def test_large_networks_take_thirds_of_the_hash(count):
    view = view_of(MANY[:count], checks=SHARED)
    for item in MANY[:count]:
        assert view.layer_of(item.node_id, NOON) == 3 * u_of(item) // 2**64
    assert view.layer_of(bytes(32), NOON) is None


def test_the_builder_shares_keys_only_to_save_time():
    assert len({key.raw for key in keys()}) == 6


def test_the_network_of_an_endpoint_goes_with_the_storage_id():
    view = view_of([make(1, endpoint="tcp:host=8.9.10.11:port=1")])
    assert [network for _, _, network in view.storage_ids(NOON)] == [b"\x08\x09"]
