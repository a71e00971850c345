"""What a second worker process adds: a part of `scripts/bench node`.

Each process is pinned to a core of its own, makes its packets itself, and then does what a worker of
`mixmail node --workers N` does with a batch: parse it, open each packet, pack the answer.  Sockets and the
daemon that feeds them are left out; `packets_per_s` is about those.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any

from mixmail.crypto.kem import PrivateKey
from mixmail.daemon.unwrapper import LENGTH, Unwrapper, pack_batch
from mixmail.errors import UserError
from mixmail.node.unwrapping import UnwrapJob
from mixmail.params import GEOMETRY, NODE_LIMITS
from mixmail.randomness import SystemRandomness
from mixmail.sphinx.create import Hop, create_packet

BATCHES = 10  # different ones
SECONDS = 1.0  # of one measurement

Say = Callable[[str], None]


def work(core: int, begin: Barrier, answer: Connection) -> None:
    """One process: sends how many packets a second it opened."""
    os.sched_setaffinity(0, {core})
    rng = SystemRandomness()
    keys = [PrivateKey.from_seed(rng.bytes(32)) for _ in range(2)]
    path = [Hop(bytes(32), key.public, 0) for key in keys]
    batches = []
    for _ in range(BATCHES):
        packets = tuple(
            create_packet(path, bytes(GEOMETRY.payload), rng) for _ in range(NODE_LIMITS.unwrap_batch)
        )
        batches.append(b"".join(pack_batch(UnwrapJob(((0, keys[0]),), packets)))[LENGTH.size :])
    unwrapper = Unwrapper()
    unwrapper.answer(batches[0])
    begin.wait()
    started = time.perf_counter()
    done = 0
    while (passed := time.perf_counter() - started) < SECONDS:
        unwrapper.answer(batches[done % BATCHES])
        done += 1
    answer.send(done * NODE_LIMITS.unwrap_batch / passed)


def together(cores: list[int]) -> float:
    """Packets a second of one process on each of `cores`, all at once."""
    context: Any = multiprocessing.get_context("spawn")
    begin = context.Barrier(len(cores))
    ends, processes = [], []
    for core in cores:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=work, args=(core, begin, theirs), daemon=True)
        process.start()
        theirs.close()
        ends.append(ours)
        processes.append(process)
    try:
        return sum(end.recv() for end in ends)
    except EOFError as error:
        raise UserError("A process of the bench ended early.", "bench") from error
    finally:
        for process in processes:
            process.kill()
            process.join()


def measure(rounds: int, say: Say) -> dict[str, float]:
    """The best of `rounds` rounds of one process and of two; {} where there is only one core."""
    cores = sorted(os.sched_getaffinity(0))[-2:]
    if len(cores) < 2:
        say("one core: a second worker cannot be measured")
        return {}
    alone, both = 0.0, 0.0
    for number in range(rounds):
        alone, both = max(alone, together(cores[:1]), together(cores[1:])), max(both, together(cores))
        say(f"workers, round {number + 1} of {rounds}: one opens {alone:.0f} packets/s, two {both:.0f}")
    return {"unwrap_workers_over_one": both / alone}
