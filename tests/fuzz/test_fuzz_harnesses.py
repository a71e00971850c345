"""The harnesses of scripts/fuzz: seeds and some thousand simple changes of them, without a fuzzer."""

from __future__ import annotations

import random

import catalogue
import pytest
from harness import Harness, change, mutated, patched, unreached

SLOW = {"box", "profile", "mail", "first", "descriptor", "authentic"}
SEED = 20_261
LINES = 0.9  # reached by the seeds and their changes together


@pytest.mark.parametrize("name", catalogue.ALL)
def test_a_parser_takes_or_refuses_whatever_comes(name: str) -> None:
    harness = catalogue.ALL[name]
    rng = random.Random(f"{SEED} {name}")
    inputs = list(harness.seeds) + [mutated(harness.seeds, rng) for _ in range(150 if name in SLOW else 800)]
    outcomes = set()
    for number, data in enumerate(inputs):
        try:
            outcomes.add(harness.run(data))
        except Exception as error:
            pytest.fail(f"input {number} of {name}, {data[:200].hex()}: {error!r}")
    assert outcomes == {True, False}, "some inputs are good and some are not"
    total, missing = unreached(harness, inputs[: 2 * len(harness.seeds)])
    assert len(missing) <= (1 - LINES) * total, sorted(missing)


def test_changes_reach_every_byte_of_an_object() -> None:
    assert patched(b"abcd", change(1, 0x7A)) == b"azcd"
    assert patched(b"abcd", change(1, 3, 1)) == b"aacd"
    assert patched(b"abcd", change(0, 0x7A, 2)) == b"abcz"
    assert patched(b"abcd", change(2, 0, 3)) == b"ab"
    assert patched(b"abcd", change(0x78, 3, 3)) == b"abcdxxx"
    assert patched(b"", change(0, 1) + b"\0\0\0") == b""


def test_lines_that_nothing_reaches_are_told() -> None:
    def parser(data: bytes) -> bool:
        if data != b"never":  # noqa: SIM103 (two lines, so that one can be missed)
            return False
        return True

    _, missing = unreached(Harness("probe", parser, [b""], [parser]), [b"", b"x"])
    assert [name for name, _ in missing] == [parser.__qualname__]
    assert not unreached(Harness("probe", parser, [b""], [parser]), [b"", b"never"])[1]
