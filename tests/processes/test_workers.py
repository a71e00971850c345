"""Processes that open packets for a mix: killed, dying by themselves, and left by a daemon that is killed."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_twisted
from mix_stage import RNG, MixStage
from twisted.internet import reactor
from waiting import until

from mixmail.crypto.kem import PrivateKey
from mixmail.daemon import processes, workers
from mixmail.daemon.unwrapper import FORGET, LENGTH
from mixmail.daemon.workers import UnwrapWorkers, WorkersFailed
from mixmail.node.unwrapping import Opened, UnwrapJob
from mixmail.params import GEOMETRY, ID_BYTES
from mixmail.sphinx.command import CommandKind
from mixmail.sphinx.create import Hop, create_packet

PACKETS = 200
DIES_OVER_A_BATCH = (
    "-c",
    f"import os; os.read(0, {len(FORGET)}); os.write(0, bytes({LENGTH.size})); os.read(0, 1)",
)
EPOCH = 20_000


def batches(count: int, size: int) -> list[UnwrapJob]:
    """`count` batches of `size` packets that say their number."""
    key = PrivateKey.from_seed(RNG.bytes(32))
    return [
        UnwrapJob(
            ((EPOCH, key),),
            tuple(
                create_packet(
                    [Hop(bytes(32), key.public, number)],
                    bytes(GEOMETRY.payload),
                    RNG,
                    (CommandKind.DELIVER, number.to_bytes(ID_BYTES, "big")),
                )
                for _ in range(size)
            ),
        )
        for number in range(count)
    ]


@pytest_twisted.async_yield_fixture
async def crew() -> AsyncIterator[UnwrapWorkers]:
    made = UnwrapWorkers(reactor, 2)
    yield made
    pids = made.pids
    await made.stop()
    assert not [pid for pid in pids if processes.birth(pid)]


def workers_of(stage: MixStage) -> list[int]:
    """The children of the node that runs now."""
    pid = stage.process.pid
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def ignores_signals(pid: int) -> bool:
    """Whether process `pid` has got so far as to ignore SIGTERM, which comes last."""
    (mask,) = [
        line.split()[1]
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("SigIgn:")
    ]
    return bool(int(mask, 16) >> (signal.SIGTERM - 1) & 1)


@pytest_twisted.async_yield_fixture
async def stage(tmp_path: Path) -> AsyncIterator[MixStage]:
    made = MixStage(tmp_path, "--workers", "2")
    await made.start()
    yield made
    await made.close()


@pytest_twisted.ensureDeferred
async def test_no_batch_is_lost_with_a_process_that_is_killed(crew: UnwrapWorkers) -> None:
    crew.start()
    before = crew.pids
    back: list[tuple[UnwrapJob, list[Opened | None]]] = []
    jobs = batches(12, 20)

    def came(results: list[Opened | None], job: UnwrapJob) -> None:
        back.append((job, results))
        if len(back) == 1:  # at once, while both have others
            os.kill(before[0], signal.SIGKILL)

    for job in jobs:
        crew.run(job).addCallback(came, job)
    await until(lambda: len(back) == len(jobs), "all batches")
    await until(lambda: before[0] not in crew.pids, "the loss is noticed")
    for job, results in back:
        assert results == job()
    assert not crew.gave_up
    assert len(crew.pids) == 2 and before[0] not in crew.pids and before[1] in crew.pids
    assert not processes.birth(before[0])


@pytest_twisted.ensureDeferred
async def test_a_batch_that_kills_two_processes_fails_and_after_the_third_death_the_daemon_opens_packets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "COMMAND", DIES_OVER_A_BATCH)
    crew = UnwrapWorkers(reactor, 1)
    crew.start()
    first, second = batches(2, 1)
    with pytest.raises(WorkersFailed):
        await crew.run(first)
    assert len(crew.pids) == 1 and not crew.gave_up
    assert await crew.run(second) == second()
    assert crew.pids == [] and crew.gave_up
    crew.forget_keys()  # there is nobody to tell
    await crew.stop()


@pytest_twisted.ensureDeferred
async def test_processes_that_never_start_leave_the_work_to_the_daemon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "COMMAND", ("-m", "mixmail.daemon.no_such_module"))
    crew = UnwrapWorkers(reactor, 2)
    crew.start()
    jobs = batches(3, 1)
    assert [await crew.run(job) for job in jobs] == [job() for job in jobs]
    await until(lambda: crew.gave_up and not crew.pids, "the last one ends")
    await crew.stop()


@pytest_twisted.ensureDeferred
async def test_a_node_passes_every_packet_on_while_its_workers_are_killed(stage: MixStage) -> None:
    old = workers_of(stage)
    assert len(old) == 2
    for count, victim in enumerate(old, 1):
        for packet in [stage.packet(number) for number in range((count - 1) * PACKETS, count * PACKETS)]:
            stage.send(packet)
        await until(lambda: len(stage.receiver.packets) > (count - 1) * PACKETS, "the first one goes on")  # noqa: B023
        os.kill(victim, signal.SIGKILL)
        await until(lambda: len(stage.receiver.packets) >= count * PACKETS, "each packet goes on")  # noqa: B023
        await until(lambda: len(workers_of(stage)) == 2, "the dead one is replaced")
    assert sorted(stage.came()) == list(range(2 * PACKETS))
    assert not set(old) & set(workers_of(stage))
    assert "another takes its place" in stage.log.read_text()


@pytest_twisted.ensureDeferred
async def test_workers_end_with_their_daemon_however_it_ends(stage: MixStage) -> None:
    left = workers_of(stage)
    await until(lambda: all(map(ignores_signals, left)), "they are up")
    os.kill(left[0], signal.SIGINT)  # Ctrl-C goes to them as well, and is the daemon's to hear
    os.kill(left[1], signal.SIGTERM)
    await stage.passes(1)
    assert workers_of(stage) == left
    stage.kill()
    await until(lambda: not any(map(processes.birth, left)), "the workers of a killed daemon end")

    await stage.start()
    left = workers_of(stage)
    await stage.passes(2)
    stage.process.send_signal(signal.SIGTERM)
    await until(lambda: stage.process.poll() is not None, "the daemon stops")
    assert stage.process.returncode == 0, stage.log.read_text()
    assert not any(map(processes.birth, left))
