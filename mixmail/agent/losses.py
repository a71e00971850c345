"""Which nodes lose packets: the loss of each, estimated from the agent's own queries.

Rules (docs/decisions.md, "Loss per node"):

- A query passes up to eight nodes and is answered or not; who lost it is not known.  With loss d_n at node n
  and b elsewhere (links, the own machine), P(answered) = (1 - b) prod_n (1 - d_n).
- The d_n are the maximum of the likelihood, found by expectation-maximisation (Dempster, Laird, Rubin, 1977):
  a lost query is shared among its nodes in proportion to their losses.  This is loss tomography
  (Caceres et al., IEEE Trans. Information Theory 45(7), 1999) on paths that are drawn anew each time.
- A query counts half after `loss_half_life` further ones, and only the last `loss_queries` are kept, in
  memory only: on disk they would be a record of when the user was there.
- A node is named when the likelihood ratio against "it loses nothing" is above what any of the honest nodes
  reaches with a chance of `loss_error`, and its loss is at least `loss_least`; it keeps its name until the
  ratio has fallen to half of that, so that names do not flicker.

Paths stay uniform: who could make us avoid honest nodes by losing packets around them would choose our paths.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

from mixmail.params import NODE_LIMITS

ROUNDS = 40  # of expectation-maximisation: further ones move no estimate by 0.01
FEWEST = 30  # queries before anybody is named
FRESH = 20  # new queries before the estimate is made anew: it takes a tenth of a second
LINE_DOWN = 0.1  # fewer answered than this share: the own line is down, and nobody can be told apart
SUSPECTS = 8  # nodes to which most losses are put down: only they are looked at closer
STEPS = 100  # of the grid on which the range of a loss is looked for
RANGE_RATIO = 3.84  # likelihood ratio at the ends of a 95 % range (chi square, one degree of freedom)
ELSEWHERE = b""  # stands for what is lost by no node


@dataclass(frozen=True, slots=True)
class NodeLoss:
    """A node that loses packets: the share lost with its 95 % range, and the queries that passed it."""

    node_id: bytes
    loss: float
    low: float
    high: float
    queries: int


@dataclass(frozen=True, slots=True)
class _Query:
    answered: bool
    weight: float
    passed: tuple[bytes, ...]  # a node twice when it was passed twice


class NodeLosses:
    """The losses of one agent's network; `add` is cheap, `named` computes when there is something new."""

    def __init__(self) -> None:
        self._queries: deque[tuple[bool, tuple[bytes, ...]]] = deque(maxlen=NODE_LIMITS.loss_queries)
        self._named: dict[bytes, NodeLoss] = {}
        self._fresh = 0

    def add(self, answered: bool, nodes: tuple[bytes, ...]) -> None:
        """An own query that passed `nodes` has ended."""
        self._queries.append((answered, nodes))
        self._fresh += 1

    def named(self) -> tuple[NodeLoss, ...]:
        """The nodes that lose packets, the worst first."""
        if self._fresh >= FRESH:
            self._fresh = 0
            self._name()
        return tuple(sorted(self._named.values(), key=lambda one: (-one.loss, one.node_id)))

    def _name(self) -> None:
        queries = self._weighted()
        nodes = {node for query in queries for node in query.passed if node != ELSEWHERE}
        answered = sum(query.answered for query in queries)
        if len(queries) < FEWEST or not LINE_DOWN * len(queries) < answered < len(queries):
            self._named = {}
            return
        losses = fit(queries)
        best = log_likelihood(queries, losses)
        threshold = NormalDist().inv_cdf(1 - NODE_LIMITS.loss_error / len(nodes)) ** 2
        named: dict[bytes, NodeLoss] = {}
        passes = Counter(node for query in queries for node in query.passed)
        suspects = [node for node in nodes if losses[node] >= NODE_LIMITS.loss_least]
        for node in sorted(suspects, key=lambda node: (-losses[node] * passes[node], node))[:SUSPECTS]:
            ratio = 2 * (best - log_likelihood(queries, fit(queries, without=node)))
            if ratio >= (threshold / 2 if node in self._named else threshold):
                named[node] = _described(queries, losses, node, best)
        self._named = named

    def _weighted(self) -> list[_Query]:
        fade = 0.5 ** (1 / NODE_LIMITS.loss_half_life)
        weight, weighted = 1.0, []
        for answered, nodes in reversed(self._queries):
            weighted.append(_Query(answered, weight, (*nodes, ELSEWHERE)))
            weight *= fade
        return weighted


def fit(queries: list[_Query], without: bytes | None = None) -> dict[bytes, float]:
    """The losses with the highest likelihood; `without` one node, whose loss is held at 0."""
    passes: defaultdict[bytes, float] = defaultdict(float)
    for query in queries:
        for node in query.passed:
            passes[node] += query.weight
    losses = {node: 0.0 if node == without else 0.05 for node in passes}
    lost = [query for query in queries if not query.answered]
    for _ in range(ROUNDS):
        blamed: defaultdict[bytes, float] = defaultdict(float)
        for query in lost:
            chance = 1 - math.prod(1 - losses[node] for node in query.passed)
            if chance <= 0:
                continue  # only the node that may not be blamed is left for it
            for node in query.passed:
                blamed[node] += query.weight * losses[node] / chance
        losses = {node: min(blamed[node] / count, 1.0) for node, count in passes.items()}
    return losses


def log_likelihood(queries: list[_Query], losses: Mapping[bytes, float]) -> float:
    """Of what was seen, under these losses."""
    total = 0.0
    for query in queries:
        through = math.prod(1 - losses[node] for node in query.passed)
        total += query.weight * math.log(max(through if query.answered else 1 - through, 1e-12))
    return total


def _described(queries: list[_Query], losses: dict[bytes, float], node: bytes, best: float) -> NodeLoss:
    """The loss of `node` with the range in which, the others being as they are, it may well lie."""
    concerned = [query for query in queries if node in query.passed]
    here = log_likelihood(concerned, losses)
    likely = [losses[node]]
    for step in range(STEPS):
        loss = step / STEPS
        if 2 * (here - log_likelihood(concerned, {**losses, node: loss})) <= RANGE_RATIO:
            likely.append(loss)
    return NodeLoss(node, losses[node], min(likely), max(likely), len(concerned))
