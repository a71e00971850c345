"""10,000 replays to a real mix over real TLS, half of them after a kill -9 and a restart: none goes on.

Replay tags and epoch keys live in memory only.  So before the kill a replay is known by its tag, and after
it no key opens the packet any more.  Whether the node opens packets itself or in processes of their own makes
no difference: the tags are kept in one place.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from mix_stage import MixStage
from waiting import until

from mixmail.node.wire import Kind

PACKETS = 200
ROUNDS = 25  # each packet is replayed so often before the kill and after it


async def replay(stage: MixStage, packets: list[bytes], marker: int) -> int:
    """Send all of `packets` again, `ROUNDS` times; a new packet after each round.  Returns how many."""
    sent = 0
    for turn in range(ROUNDS):
        for packet in packets:
            stage.send(packet)
            sent += 1
        await stage.passes(marker + turn)
    await stage.passes(marker + ROUNDS)  # what left at a tick with the last one has come too
    return sent


@pytest_twisted.async_yield_fixture(params=[(), ("--workers", "2")], ids=["alone", "with workers"])
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MixStage]:
    made = MixStage(tmp_path, *request.param)
    await made.start()
    yield made
    await made.close()


@pytest_twisted.ensureDeferred
async def test_of_ten_thousand_replays_none_goes_on_also_after_kill_9(stage: MixStage) -> None:
    packets = [stage.packet(number) for number in range(PACKETS)]
    for packet in packets:
        stage.send(packet)
    await until(lambda: len(stage.receiver.packets) == PACKETS, "each packet goes on once")
    assert sorted(stage.came()) == list(range(PACKETS))

    sent = await replay(stage, packets, 1_000)
    old = stage.sender.other
    stage.kill()
    await stage.start()
    new = stage.sender.other
    assert old is not None and new is not None and old.node_id == new.node_id
    sent += await replay(stage, packets, 2_000)

    assert sent == 10_000
    markers = [base + turn for base in (1_000, 2_000) for turn in range(ROUNDS + 1)]
    assert stage.came()[PACKETS:] == markers  # and nothing else
    counters: Any = stage.sender.links.counters
    assert counters.full == counters.late == counters.unknown == 0  # all replays were sent
    assert counters.frames_out[Kind.PACKET] == PACKETS + sent + len(markers)
