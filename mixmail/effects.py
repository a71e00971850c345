"""What a sans-IO core asks of the world around it.

Rules: a core returns a list of effects and never performs one.  The driver carries the lists of one
core out strictly in the order in which they were returned; an effect that stands behind a `Persist`
waits until that `Persist` is durable.  Blocking work leaves as `Offload` and comes back as the
command `Done`.

What is made for every frame (`Frame`, `Send`, `Offload`, `Done`) is not frozen, since that would double the
cost of making it; nobody changes one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(slots=True)
class Frame:
    """One message between two nodes, before it is cut to link frames.

    `kind` is one of `mixmail.node.wire`'s kinds (u8), `stream` (u32) pairs an answer with its
    question and is zero where nothing is answered.
    """

    kind: int
    stream: int
    payload: bytes


@dataclass(slots=True)
class Send:
    """Hand `frame` to the link to node `peer` (32-byte node id); open the link if there is none."""

    peer: bytes
    frame: Frame


@dataclass(frozen=True, slots=True)
class Put:
    """Insert or replace one row of `table` by its primary key."""

    table: str
    row: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Update:
    """Set the columns `values` in the rows of `table` whose columns equal `where`."""

    table: str
    where: dict[str, Any]
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the rows of `table` whose columns equal `where`."""

    table: str
    where: dict[str, Any]


Change = Put | Update | Delete


@dataclass(frozen=True, slots=True)
class Persist:
    """Write all `changes` in one durable transaction before anything that follows.

    `point` names the step for fault injection (see `mixmail.testing.FaultPoints`).
    """

    changes: tuple[Change, ...]
    point: str = ""


Where = Literal["store", "upkeep", "cpu", "unwrap"]
"""The database's thread; the same while nothing else waits for it; any thread; one of the processes that open
packets."""


@dataclass(slots=True)
class Offload:
    """Run `job` elsewhere (`lane`) and hand its result back as `Done(token, result)`.

    A job that raises comes back with the exception as its result.
    """

    token: int
    job: Callable[[], Any]
    lane: Where


@dataclass(frozen=True, slots=True)
class Emit:
    """Tell the surroundings (the control server, the other core, the log) that `event` happened."""

    event: Any


@dataclass(slots=True)
class Done:
    """The command by which the result of an `Offload` comes back."""

    token: int
    result: Any


Effect = Send | Persist | Offload | Emit
