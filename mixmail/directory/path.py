"""Drawing paths: three mixes in three layers, a courier, a proxy, and three mixes back.

Every node is equally likely in its place, and everything is drawn by `rng`: a weight from claimed speed
or age would be a weight that a liar can raise (docs/protocol/directory.md, "Paths").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mixmail.directory.descriptor import Descriptor
from mixmail.directory.view import Layers, View
from mixmail.errors import UserError
from mixmail.params import NetworkParameters
from mixmail.randomness import Randomness

Mixes = tuple[Descriptor, Descriptor, Descriptor]


class NetworkTooSmall(UserError):
    """There are not enough other nodes for a path."""

    def __init__(self, others: int, needed: int) -> None:
        super().__init__(
            f"Too few other nodes are known ({others}, and sending needs {needed}): "
            "wait until more are heard of, or start more.",
            code="network-small",
        )


@dataclass(frozen=True, slots=True)
class Route:
    """The way of one query: `out` to `courier`, the link to `proxy`, `back` from the courier."""

    out: Mixes
    courier: Descriptor
    proxy: Descriptor
    back: Mixes


def draw_route(
    view: View, own_id: bytes, now: float, rng: Randomness, avoid: frozenset[bytes] = frozenset()
) -> Route:
    """A fresh route for a query of the node (or leaf) `own_id`; NetworkTooSmall when there is none.

    Never oneself.  With layers: no node twice among out + courier, nor among courier + back.  In small
    networks only neighbours differ.  The proxy is any node but the courier.  Neither is one of `avoid`, which
    the mixes may be; if less than half of the others are left then, it is as if nobody were to be avoided.
    """
    others = _others(view, own_id, now)
    layers = _layers(view, own_id, now)
    left = sum(item.node_id not in avoid for item in others) if avoid else len(others)
    if 2 * left < len(others) or left < 2:
        avoid = frozenset()
    while True:  # one draw in four is taken at least: couriers and proxies are drawn from half or more
        route = _draw_route(view, others, layers, rng)
        if avoid.isdisjoint((route.courier.node_id, route.proxy.node_id)):
            return route


def _draw_route(view: View, others: tuple[Descriptor, ...], layers: Layers | None, rng: Randomness) -> Route:
    if layers is not None:
        out, back = _through(layers, rng), _through(layers, rng)
        courier = _draw(others, (*out, *back), rng)
    elif len(others) >= view.network.parameters.layered_from:
        first, second, third, courier = rng.sample(others, 4)
        out = (first, second, third)
        fourth, fifth, sixth = rng.sample([item for item in others if item is not courier], 3)
        back = (fourth, fifth, sixth)
    else:
        first, second, third, courier = _walk(others, None, 4, rng)
        out = (first, second, third)
        fourth, fifth, sixth = _walk(others, courier, 3, rng)
        back = (fourth, fifth, sixth)
    return Route(out, courier, _draw(others, (courier,), rng), back)


def draw_loop(view: View, own_id: bytes, now: float, rng: Randomness) -> tuple[Descriptor, ...]:
    """The way of a mix's own loop, three nodes: the layers after its own, any node as if it were a courier,
    the layers before its own.  The caller appends itself as the last hop.

    So a loop leaves to where forwarded packets go and comes in from where they come.  A node without a layer
    (not eligible) takes two mixes and any node.  No node twice; NetworkTooSmall as in `draw_route`.
    """
    others = _others(view, own_id, now)
    own_layer = view.layer_of(own_id, now)
    layers = _layers(view, own_id, now)
    count = view.network.parameters.mixes
    if layers is not None:
        place = 0 if own_layer is None else own_layer
        after = tuple(rng.choice(layer) for layer in layers[place + 1 :])
        before = tuple(rng.choice(layer) for layer in layers[:place])
        return (*after, _draw(others, (*after, *before), rng), *before)
    if len(others) >= view.network.parameters.layered_from:
        return tuple(rng.sample(others, count))
    return tuple(_walk(others, None, count, rng))


def _others(view: View, own_id: bytes, now: float) -> tuple[Descriptor, ...]:
    others = view.others(own_id, now)
    needed = view.network.parameters.route_min
    if len(others) < needed:
        raise NetworkTooSmall(len(others), needed)
    return others


def _layers(view: View, own_id: bytes, now: float) -> Layers | None:
    """The layers without oneself, or None when the network is too small for them."""
    params: NetworkParameters = view.network.parameters
    layers = view.other_layers(own_id, now)
    sizes = [len(layer) for layer in layers]
    if sum(sizes) < params.layered_from or min(sizes) < params.layer_min:
        return None
    return layers


def _through(layers: Layers, rng: Randomness) -> Mixes:
    first, second, third = (rng.choice(layer) for layer in layers)
    return first, second, third


def _draw(nodes: Sequence[Descriptor], without: Sequence[Descriptor], rng: Randomness) -> Descriptor:
    taken = {item.node_id for item in without}
    if len(nodes) > 2 * len(taken):  # then drawing again is quick, and as fair as a list of the free ones
        while (drawn := rng.choice(nodes)).node_id in taken:
            pass
        return drawn
    return rng.choice([item for item in nodes if item.node_id not in taken])


def _walk(
    nodes: Sequence[Descriptor], before: Descriptor | None, count: int, rng: Randomness
) -> list[Descriptor]:
    """`count` uniform draws of which no two neighbours are equal, nor the first equal to `before`."""
    walk: list[Descriptor] = []
    for _ in range(count):
        before = _draw(nodes, () if before is None else (before,), rng)
        walk.append(before)
    return walk
