"""Paths: the right layers, nobody twice, everybody equally likely."""

from __future__ import annotations

import collections
import dataclasses
import functools
import itertools

import pytest
from directory_builder import NETWORK, NOON, PARAMS, make

from mixmail.directory.path import NetworkTooSmall, draw_loop, draw_route
from mixmail.directory.view import Checks, View
from mixmail.errors import UserError
from mixmail.testing import SeededRandomness

CHECKS = Checks()
DRAWS = 200


@functools.cache
def network(count):
    """A view of nodes 0 .. count - 1; node 0 is oneself."""
    view = View(NETWORK, CHECKS)
    for number in range(count):
        assert view.add(make(number), NOON)
    return view, make(0).node_id


def ids(*items):
    return [item.node_id for item in items]


def routes(count, draws=DRAWS, seed=1):
    view, own = network(count)
    rng = SeededRandomness(seed)
    return [draw_route(view, own, NOON, rng) for _ in range(draws)]


@pytest.mark.parametrize("count", [9, 12, 47, 60])
def test_a_route_goes_through_three_layers_and_meets_nobody_twice(count):
    view, own = network(count)
    for route in routes(count):
        assert [view.layer_of(item.node_id, NOON) for item in route.out] == [0, 1, 2]
        assert [view.layer_of(item.node_id, NOON) for item in route.back] == [0, 1, 2]
        assert len(set(ids(*route.out, route.courier))) == 4
        assert len(set(ids(*route.back, route.courier))) == 4
        assert route.courier.node_id != route.proxy.node_id
        assert own not in ids(*route.out, *route.back, route.courier)


@pytest.mark.parametrize("count", range(3, 9))
def test_in_small_networks_neighbours_differ_and_oneself_is_never_on_the_way(count):
    _, own = network(count)
    seen = set()
    firsts = set()
    for route in routes(count):
        chain = ids(*route.out, route.courier, *route.back)
        assert all(a != b for a, b in itertools.pairwise(chain))
        assert route.proxy.node_id != route.courier.node_id
        assert own not in chain
        seen.update(chain)
        firsts.add(chain[0])
    assert len(seen) == count - 1
    assert firsts == seen, "no layers here"


@pytest.mark.parametrize("count", [1, 2])
def test_a_network_without_two_others_is_too_small(count):
    view, own = network(count)
    rng = SeededRandomness(1)
    for draw in (draw_route, draw_loop):
        with pytest.raises(NetworkTooSmall) as caught:
            draw(view, own, NOON, rng)
        assert isinstance(caught.value, UserError) and caught.value.code == "network-small"


def test_two_others_are_enough_and_a_leaf_counts_all_nodes_as_others():
    assert len(routes(3)) == DRAWS
    view, _ = network(2)
    route = draw_route(view, b"\x01" * 32, NOON, SeededRandomness(1))
    assert len(set(ids(*route.out))) == 2


def test_lopsided_layers_fall_back_to_paths_without_layers_where_nobody_is_met_twice():
    by_hash = dataclasses.replace(NETWORK, parameters=dataclasses.replace(PARAMS, layers_by_hash_from=0))
    full = View(by_hash)
    for number in range(40):
        assert full.add(make(number, network=by_hash), NOON)
    first, second, third = full.layers(NOON)
    view = View(by_hash, full.checks)
    for item in (*first[:7], *second[:7], *third[:1]):
        assert view.add(item, NOON)
    assert [len(layer) for layer in view.layers(NOON)] == [7, 7, 1]
    own = first[0].node_id
    rng = SeededRandomness(3)
    firsts = set()
    for _ in range(DRAWS):
        route = draw_route(view, own, NOON, rng)
        assert len(set(ids(*route.out, route.courier))) == 4
        assert len(set(ids(*route.back, route.courier))) == 4
        assert own not in ids(*route.out, *route.back, route.courier)
        firsts.add(route.out[0].node_id)
        loop = ids(*draw_loop(view, own, NOON, rng))
        assert len(set(loop)) == 3 and own not in loop
    assert len(firsts) == 14


# -- loops -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [12, 60])
def test_a_loop_goes_round_the_layers_and_comes_in_from_the_one_before(count):
    view, _ = network(count)
    rng = SeededRandomness(4)
    for layer, members in enumerate(view.layers(NOON)):
        own = members[0].node_id
        for _ in range(100):
            loop = draw_loop(view, own, NOON, rng)
            places = [view.layer_of(item.node_id, NOON) for item in loop]
            after, before = list(range(layer + 1, 3)), list(range(layer))
            assert places[: len(after)] == after and places[len(after) + 1 :] == before
            assert len(set(ids(*loop))) == 3 and own not in ids(*loop)


def test_own_loops_and_forwarded_packets_come_in_over_the_same_links_in_the_same_measure():
    """Whoever holds back the packets of some links holds back own loops in the same measure: he cannot let
    them through and keep the rest.  A mix of layer 1 is the first of a way out as often as of a way back."""
    view, _ = network(24)
    rng = SeededRandomness(7)
    nodes = view.eligible(NOON)
    for layer, members in enumerate(view.layers(NOON)):
        target = members[0].node_id
        loops = collections.Counter(draw_loop(view, target, NOON, rng)[-1].node_id for _ in range(6_000))
        forwarded = collections.Counter()
        while sum(forwarded.values()) < 6_000:
            sender = rng.choice(nodes).node_id
            if sender == target:
                continue
            route = draw_route(view, sender, NOON, rng)
            out, back = (sender, *ids(*route.out)), (route.courier.node_id, *ids(*route.back))
            for way in (out, back):
                if way[layer + 1] == target:
                    forwarded[way[layer]] += 1
        assert loops.keys() == forwarded.keys()
        # 6,000 of each over at most 23 links: five standard deviations of a share are 0.45 of it.
        scale = sum(loops.values()) / sum(forwarded.values())
        assert all(0.65 < loops[peer] / (scale * forwarded[peer]) < 1.5 for peer in loops)


def test_a_node_without_a_layer_loops_through_two_mixes_and_one_more_node():
    view, _ = network(12)
    loop = draw_loop(view, b"\x01" * 32, NOON, SeededRandomness(5))
    assert [view.layer_of(item.node_id, NOON) for item in loop[:2]] == [1, 2] and len(loop) == 3


def test_loops_in_small_networks_have_different_neighbours():
    view, _ = network(5)
    rng = SeededRandomness(6)
    for members in view.layers(NOON):
        own = members[0].node_id
        for _ in range(40):
            loop = ids(*draw_loop(view, own, NOON, rng))
            assert len(loop) == 3 and own not in loop
            assert all(a != b for a, b in itertools.pairwise(loop))


# -- uniformity ------------------------------------------------------------------------------------


def chi_square_per_degree(counts, candidates, draws):
    expected = draws / len(candidates)
    total = sum((counts[node_id] - expected) ** 2 / expected for node_id in candidates)
    return total / (len(candidates) - 1)


def positions(drawn):
    """node id counts for each place of a route."""
    counts = collections.defaultdict(collections.Counter)
    for route in drawn:
        for place, item in enumerate(route.out):
            counts[f"m{place + 1}"][item.node_id] += 1
        for place, item in enumerate(route.back):
            counts[f"m{place + 4}"][item.node_id] += 1
        counts["courier"][route.courier.node_id] += 1
        counts["proxy"][route.proxy.node_id] += 1
    return counts


class Biased(SeededRandomness):
    """Takes the better of two draws: the first places of a list twice as often as is fair."""

    def below(self, bound):
        return min(super().below(bound), super().below(bound))


# The statistic of a fair draw has mean 1 and, with at least 3 degrees of freedom (layers of 4), exceeds
# 6 with p = 4e-4; the draws are seeded, so this either always or never happens.
BOUND = 6.0


def _worst(rng_class):
    """The highest chi-square per degree of freedom over the places, 4000 routes among 13 nodes."""
    view, own = network(13)
    rng = rng_class(11)
    draws = 4000
    counts = positions([draw_route(view, own, NOON, rng) for _ in range(draws)])
    assert len(counts) == 8
    layers = [[item.node_id for item in layer if item.node_id != own] for layer in view.layers(NOON)]
    others = [node_id for layer in layers for node_id in layer]
    worst = {}
    for place, seen in counts.items():
        candidates = layers[(int(place[1]) - 1) % 3] if place[0] == "m" else others
        if place == "proxy":
            candidates = [*others, own]
        assert set(seen) == set(candidates)
        if place == "courier":  # not one of six mixes: fair only among the nodes of one layer
            worst[place] = max(_within_layer(seen, layer) for layer in layers)
        elif place != "proxy":
            worst[place] = chi_square_per_degree(seen, candidates, draws)
        else:
            worst[place] = max(_within_layer(seen, layer) for layer in layers)
    return worst


def _within_layer(seen, layer):
    return chi_square_per_degree(seen, layer, sum(seen[node_id] for node_id in layer))


def test_every_node_of_a_layer_is_equally_likely_in_every_place():
    assert max(_worst(SeededRandomness).values()) < BOUND


def test_the_bound_catches_a_biased_draw_in_every_place():
    assert min(_worst(Biased).values()) > BOUND


@pytest.mark.parametrize("count", [3, 5, 9, 13, 48])
def test_oneself_is_proxy_as_often_as_anybody_else(count):
    """Homes see the proxies of a key: the one that never came would be its user's node."""
    _, own = network(count)
    draws = 8_000
    counts = positions(routes(count, draws, seed=13))["proxy"]
    expected = draws / count
    assert abs(counts[own] - expected) < 4 * expected**0.5


def test_out_and_back_are_independent():
    """Pairs (m1, m4) are as likely as each other."""
    view, own = network(13)
    layer = [item.node_id for item in view.layers(NOON)[0] if item.node_id != own]
    pairs = collections.Counter(
        (route.out[0].node_id, route.back[0].node_id) for route in routes(13, draws=4000, seed=12)
    )
    candidates = [(a, b) for a in layer for b in layer]
    assert chi_square_per_degree(pairs, candidates, 4000) < BOUND


# -- whom to avoid ---------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [5, 8, 13])
def test_avoided_nodes_are_neither_courier_nor_proxy_and_stay_mixes(count):
    view, own = network(count)
    rng = SeededRandomness(21)
    others = ids(*view.others(own, NOON))
    avoid = frozenset(others[: len(others) // 4 or 1])
    counts = positions([draw_route(view, own, NOON, rng, avoid) for _ in range(400)])
    for role in ("courier", "proxy"):
        assert set(counts[role]) - {own} == set(others) - avoid
    assert own in counts["proxy"] and own not in counts["courier"]
    mixes = sum((counts[f"m{number}"] for number in range(1, 7)), collections.Counter())
    assert set(mixes) == set(others)


def test_mixes_are_drawn_evenly_whoever_is_avoided():
    view, own = network(49)
    others = ids(*view.others(own, NOON))
    draws, avoid = 4_000, frozenset(others[:12])
    rng = SeededRandomness(22)
    counts = positions([draw_route(view, own, NOON, rng, avoid) for _ in range(draws)])
    for number, layer in enumerate(view.other_layers(own, NOON)):
        for place in (f"m{number + 1}", f"m{number + 4}"):
            assert chi_square_per_degree(counts[place], ids(*layer), draws) < 2.5
    for role, oneself in (("courier", set()), ("proxy", {own})):
        candidates = sorted(set(others) - avoid | oneself)
        assert chi_square_per_degree(counts[role], candidates, draws) < 2.5


@pytest.mark.parametrize("count", [5, 7, 9, 13])
def test_in_a_small_network_mixes_are_drawn_evenly_too(count):
    """Drawn with the whole route again until courier and proxy will do, avoided nodes were mixes a third more
    often than others in a network of nine: whoever was caught lying saw more, and the first hops told
    whom this user avoids."""
    view, own = network(count)
    others = ids(*view.others(own, NOON))
    draws, avoid = 4_000, frozenset(others[: len(others) // 4])
    rng = SeededRandomness(23)
    counts = positions([draw_route(view, own, NOON, rng, avoid) for _ in range(draws)])
    layers = [ids(*layer) for layer in view.other_layers(own, NOON)]
    for number in range(6):
        nodes = layers[number % 3] if count >= 9 else others
        assert chi_square_per_degree(counts[f"m{number + 1}"], nodes, draws) < BOUND


def test_a_way_that_must_differ_does_so_where_many_are_avoided():
    """A proxy must not check its own word because a few others are avoided as well."""
    view, own = network(12)
    others = ids(*view.others(own, NOON))
    avoid, used = frozenset(others[:2]), frozenset(others[2:6])
    rng = SeededRandomness(24)
    counts = positions([draw_route(view, own, NOON, rng, avoid, used) for _ in range(400)])
    for role, oneself in (("courier", set()), ("proxy", {own})):
        assert set(counts[role]) == set(others) - used | oneself
    used = frozenset([*others[:-2], own])
    for _ in range(20):
        route = draw_route(view, own, NOON, rng, frozenset(), used)
        assert route.proxy.node_id in others[-2:]


def test_more_than_half_of_the_network_is_not_avoided():
    view, own = network(13)
    others = ids(*view.others(own, NOON))
    for avoid in (frozenset(others[:7]), frozenset(others)):
        counts = positions(
            [draw_route(view, own, NOON, SeededRandomness(seed), avoid) for seed in range(200)]
        )
        assert set(counts["courier"]) == set(counts["proxy"]) - {own} == set(others)
    with pytest.raises(NetworkTooSmall):
        draw_route(network(2)[0], own, NOON, SeededRandomness(1), frozenset(others[:1]))
