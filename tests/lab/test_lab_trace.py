"""The event trace of a lab network: one for each seed, whatever the crypto and Python's hash seed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mixmail.agent import fetcher, sealing
from mixmail.boxes.capability import STREAM_SEED_BYTES, WriteCap
from mixmail.lab.network import LabNetwork, Links, TraceEvent
from mixmail.lab.scenario import LAB, add_person, arrived, send
from mixmail.lab.standins import stand_in_crypto
from mixmail.testing import SeededRandomness

TOP = Path(__file__).resolve().parents[2]


def trace_of(seed: int, stand_ins: bool = True, crash: bool = False) -> list[TraceEvent]:
    """Twelve nodes, one mail and its answer, frames lost on the way; a relay may crash and come back."""
    with stand_in_crypto(seed) if stand_ins else contextlib.nullcontext():
        lab = LabNetwork(LAB, nodes=12, seed=seed, links=Links(loss=0.02), senders=4)
        lab.start()
        alice, bob = add_person(lab, 0, "Alice"), add_person(lab, 1, "Bob")
        send(lab, alice, bob, "Hello", "Is anybody there?\n")
        if crash:
            lab.run(3.0)
            lab.crash(lab.hosts[5])
            lab.run(2.0)
            lab.restart(lab.hosts[5])
        assert lab.run(60.0, until=lambda: bool(arrived(bob))), f"seed {seed}: not arrived"
        send(lab, bob, alice, "Re: Hello", "Yes.\n", in_reply_to=arrived(bob)[0].message_id)
        assert lab.run(60.0, until=lambda: bool(arrived(alice))), f"seed {seed}: no answer"
    return lab.trace


def digest_of(trace: list[TraceEvent]) -> str:
    """The same for equal traces, in every process."""
    return hashlib.sha256(
        repr([(e.time, e.node, e.what, int(e.number), e.mail) for e in trace]).encode()
    ).hexdigest()


def test_equal_seeds_give_equal_traces_and_other_seeds_others() -> None:
    one = trace_of(3, crash=True)
    assert len(one) > 3_000
    assert {event.what for event in one} >= {
        "frame",
        "crash",
        "queued",
        "sent",
        "stored",
        "arrived",
        "answered",
    }
    assert trace_of(3, crash=True) == one
    assert trace_of(4, crash=True) != one


def test_the_trace_does_not_depend_on_the_crypto(monkeypatch: pytest.MonkeyPatch) -> None:
    # Where the answer's box lies follows from the fresh secret of a KEM, which no seed reaches: fixed here.
    meeting = WriteCap.create(SeededRandomness("meeting").bytes(STREAM_SEED_BYTES))
    for module in (fetcher, sealing):
        monkeypatch.setattr(module, "rendezvous", lambda root: meeting)
    assert trace_of(5, stand_ins=False) == trace_of(5, stand_ins=True)


def test_a_seed_replays_in_another_process() -> None:
    """Python hashes strings and bytes otherwise in each process: no order may come from that."""
    code = "import test_lab_trace as t; print(t.digest_of(t.trace_of(6, crash=True)))"
    expected = digest_of(trace_of(6, crash=True))
    for hash_seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": f"{TOP}:{Path(__file__).parent}"}
        run = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
        )
        assert run.stdout.strip() == expected
