"""Other ways of polling and writing, planted from outside in the agents of a running lab.

Faults, which storers must notice:
- `back_to_back`: all contacts' boxes in consecutive POLL slots, as often as before on the average.
- `never_own_proxy`: the own node is never one's proxy.

Trials, which do not ship:
- `rare_rewrites`: a WRITE slot without work re-publishes each held record with a fixed chance, and else the
  cover box; what ships draws among the held ones, however few they are.
- `independent_polls`: each slot, of whatever kind, wishes for each stream by itself, as often as it is asked
  on the average; a POLL slot asks one of those that wait, at random.  What ships draws one stream or none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from mixmail.agent import queries
from mixmail.agent.core import Agent
from mixmail.agent.model import Session
from mixmail.agent.queries import Task
from mixmail.boxes.query import QueryOp
from mixmail.directory.path import Route, draw_route

from .network import LabNetwork

FAULTS = ("back_to_back", "never_own_proxy")
TRIALS = ("rare_rewrites", "independent_polls")
RARE = 1 / 256  # of the WRITE slots without work, for each held record


@contextmanager
def planted(lab: LabNetwork, change: str) -> Iterator[None]:
    """Plant `change` in every agent until the block ends; "none" changes nothing."""
    if change not in ("none", *FAULTS, *TRIALS):
        raise ValueError(f"no such change: {change}")
    if change == "never_own_proxy":
        with patch.object(queries, "draw_route", _others_only):
            yield
        return
    for host in lab.hosts:
        if host.agent is None:
            raise ValueError(f"host {host.number} has no agent")
        if change == "back_to_back":
            _poll_back_to_back(host.agent)
        elif change == "rare_rewrites":
            _rewrite_rarely(host.agent)
        elif change == "independent_polls":
            _poll_independently(host.agent)
    yield


def _others_only(view: Any, own_id: bytes, *rest: Any) -> Route:
    while (route := draw_route(view, own_id, *rest)).proxy.node_id == own_id:
        pass
    return route


# Attributes of one instance each, in front of the methods of its class.


def _poll_back_to_back(agent: Agent) -> None:
    fetcher, params, rng = agent._fetcher, agent._context.params, agent._context.rng
    left: list[Session] = []

    def poll(now: float) -> Task | None:
        contacts = list(agent.state.sessions.values())
        if not left and rng.uniform() * (1 / params.hot_weight - len(contacts)) < 1:
            left.extend(contacts)
        return fetcher._read_session(left.pop(), polled=True) if left else None

    fetcher.poll = poll  # type: ignore[method-assign]


def _poll_independently(agent: Agent) -> None:
    fetcher, params, rng = agent._fetcher, agent._context.params, agent._context.rng
    polls = 1 - (params.write_share + params.follow_share) / params.slot_shares
    waiting: list[Session] = []
    done = -1

    def poll(now: float) -> Task | None:
        nonlocal done
        slot = int(now / params.slot)
        for _ in range(slot - done if done >= 0 else 1):
            sessions = agent.state.sessions.values()
            waiting.extend(one for one in sessions if rng.uniform() < polls * params.hot_weight)
        done = slot
        if not waiting:
            return None
        return fetcher._read_session(waiting.pop(rng.below(len(waiting))), polled=True)

    fetcher.poll = poll  # type: ignore[method-assign]


def _rewrite_rarely(agent: Agent) -> None:
    cover, rng, ships = agent._cover, agent._context.rng, agent._cover.write

    def write(now: float) -> Task:
        held = sum(part.state == "stored" for part in agent.state.parts.values())
        if cover._box is None or rng.uniform() < RARE * held:
            return ships(now)
        raw = cover._box.pack()
        return Task(QueryOp.WRITE, 0, lambda _: raw, lambda answer, later: [], real=False)

    cover.write = write  # type: ignore[method-assign]
