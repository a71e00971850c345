"""Many simulated networks: one after the other, or on the workers of a scheduler of dask.distributed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixmail.errors import UserError

from . import fast, large
from .compare import after
from .figures import WINDOW, Seen, Study
from .flow import Setting

Floats = NDArray[np.float64]
PATIENCE = 10.0  # seconds until a scheduler must have answered


@dataclass(frozen=True)
class Job:
    """One network: what an observer knows of `messages` messages, for each share of hostile mixes."""

    setting: Setting
    seed: int
    messages: int
    shares: tuple[float, ...] = (0.0,)
    quick: bool = False  # by the fast path


@dataclass(frozen=True)
class Found:
    """What a job gives; `seen` and `path_hostile` by share, `ways` (exact path): see `large.ways`."""

    seen: tuple[Seen, ...]
    path_hostile: tuple[float, ...]
    ways: tuple[Floats, Floats]


def measure(job: Job) -> Found:
    """Simulate and look."""
    setting = job.setting
    if job.quick:
        study = fast.FastStudy(setting, job.seed, job.messages)
        seen = study.look(job.shares)
        return Found(tuple(seen), tuple(map(study.path_hostile, job.shares)), (np.zeros(0), np.zeros(0)))
    exact = Study(setting, job.seed)
    seen = [exact.look(job.messages, share) for share in job.shares]
    if setting.restart_at is not None:
        seen = [after(one, setting.seconds - WINDOW / 2) for one in seen]
    return Found(tuple(seen), tuple(map(exact.path_hostile, job.shares)), large.ways(exact))


def merge(parts: Sequence[Found]) -> Found:
    """Several seeds of one setting together: all their messages."""
    if len(parts) == 1:
        return parts[0]
    hostile = np.mean([part.path_hostile for part in parts], axis=0)
    return Found(
        tuple(_together(seen) for seen in zip(*(part.seen for part in parts), strict=True)),
        tuple(hostile.tolist()),
        (np.concatenate([part.ways[0] for part in parts]), np.concatenate([part.ways[1] for part in parts])),
    )


def _together(seen: Sequence[Seen]) -> Seen:
    arrays = {
        item.name: np.concatenate([getattr(one, item.name) for one in seen])
        for item in dataclasses.fields(Seen)
        if item.name != "surprises"
    }
    return Seen(**arrays, surprises=sum(one.surprises for one in seen))


def run(jobs: Iterable[Job], address: str | None = None) -> Iterator[Found]:
    """What each job gives, in the order of the jobs: here, or where the scheduler at `address` sends them."""
    if address is None:
        yield from map(measure, jobs)
        return
    from distributed import Client

    try:
        client: Any = Client(address, timeout=PATIENCE, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise UserError(
            f"No scheduler of dask answers at {address}: start one, or name the address of another.",
            code="dask",
        ) from error
    with client:
        if not client.scheduler_info()["workers"]:
            raise UserError(f"The scheduler at {address} has no workers: start some.", code="dask")
        for future in client.map(measure, list(jobs), pure=False):
            yield future.result()
