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
    view: View,
    own_id: bytes,
    now: float,
    rng: Randomness,
    avoid: frozenset[bytes] = frozenset(),
    used: frozenset[bytes] = frozenset(),
) -> Route:
    """A fresh route for a query of the node (or leaf) `own_id`; NetworkTooSmall when there is none.

    Mixes and courier are never oneself.  With layers: no node twice among out + courier, nor among courier +
    back.  In small networks only neighbours differ.  The proxy is any node but the courier, and oneself as
    often as anybody else: homes see the proxies of a key, and one that never comes would be its user's.

    Courier and proxy are none of `avoid` nor of `used` (the ways that this query must differ from), which
    the mixes may be: these are drawn first, as if nobody were to be avoided.  If less than half of the others
    are left, `avoid` does not count; if less than two are, `used` does not either.  Where all that are left
    are mixes of this route, its courier is one of the others.
    """
    others = _others(view, own_id, now)
    layers = _layers(view, own_id, now)
    without = _without(others, avoid, used) if avoid or used else frozenset()
    if layers is not None:
        out, back = _through(layers, rng), _through(layers, rng)
        near: Sequence[Descriptor] = (*out, *back)
    elif len(others) >= view.network.parameters.layered_from:
        out, back = _three(rng.sample(others, 3)), _three(rng.sample(others, 3))
        near = (*out, *back)
    else:
        out, back = _three(_walk(others, 3, rng)), _three(_walk(others, 3, rng))
        while len(others) == 2 and out[2] is not back[0]:  # the courier would have to be one of them
            back = _three(_walk(others, 3, rng))
        near = (out[2], back[0])
    courier = _draw_end(others, near, without, rng)
    own = view.get(own_id) if len(view.eligible(now)) > len(others) else None
    left = len(others) - sum(item.node_id in without for item in others)
    if own is not None and own_id not in without and rng.below(left + 1) == 0:
        return Route(out, courier, own, back)
    return Route(out, courier, _draw_end(others, (courier,), without, rng), back)


def _without(
    others: tuple[Descriptor, ...], avoid: frozenset[bytes], used: frozenset[bytes]
) -> frozenset[bytes]:
    """The nodes that are neither courier nor proxy."""

    def left(without: frozenset[bytes]) -> int:
        return sum(item.node_id not in without for item in others)

    without = avoid | used
    if 2 * left(without) < len(others):
        without = used
    return without if left(without) >= 2 else frozenset()


def _draw_end(
    others: tuple[Descriptor, ...],
    near: Sequence[Descriptor],
    without: frozenset[bytes],
    rng: Randomness,
) -> Descriptor:
    """A courier or proxy: none of `near`, and none of `without` if there is another."""
    if without:
        taken = without.union(item.node_id for item in near)
        free = [item for item in others if item.node_id not in taken]
        if free:
            return rng.choice(free)
    return _draw(others, near, rng)


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
    return tuple(_walk(others, count, rng))


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


def _three(mixes: Sequence[Descriptor]) -> Mixes:
    first, second, third = mixes
    return first, second, third


def _walk(nodes: Sequence[Descriptor], count: int, rng: Randomness) -> list[Descriptor]:
    """`count` uniform draws of which no two neighbours are equal."""
    walk: list[Descriptor] = []
    for _ in range(count):
        walk.append(_draw(nodes, walk[-1:], rng))
    return walk
