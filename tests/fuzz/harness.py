"""What a fuzzing harness is, and how large valid objects are changed by few bytes.

An input of a harness whose parser takes bytes of a fixed layout is not those bytes themselves: it names a
valid object and says what to change in it.  So a fuzzer that knows nothing of signatures, MACs and 17 KB of
zeros gets behind all of them.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

Code = Callable[..., Any]


@dataclass(frozen=True)
class Harness:
    """`run` takes any bytes and returns whether they were accepted; refusals that are allowed return False,
    everything else comes out of it.  `seeds` are inputs to begin with, `code` the functions under test."""

    name: str
    run: Callable[[bytes], bool]
    seeds: Sequence[bytes]
    code: Sequence[Code]
    raw: bool = False  # the input is what the parser takes, not a list of changes


def patched(base: bytes, changes: bytes) -> bytes:
    """`base` after the list of changes: op u8 | place u16 | operand u8 …; what is cut off is left out.

    op mod 4: 0 sets a byte, 1 flips bits of a byte, 2 sets a byte counted from the end, 3 cuts (operand even)
    or appends the operand's number of bytes (odd).
    """
    out = bytearray(base)
    for at in range(0, len(changes) - 3, 4):
        op, place, operand = changes[at] % 4, changes[at + 1] << 8 | changes[at + 2], changes[at + 3]
        if op == 3:
            if operand % 2:
                out += bytes([place & 0xFF]) * operand
            else:
                del out[place:]
        elif out:
            place = place % len(out) if op < 2 else -1 - place % len(out)
            out[place] = out[place] ^ operand if op == 1 else operand
    return bytes(out)


def choose(bases: Sequence[bytes], data: bytes) -> tuple[int, bytes]:
    """The number of the base that an input names, and that base after its changes."""
    number = data[0] % len(bases) if data else 0
    return number, patched(bases[number], data[1:])


def change(place: int, value: int, op: int = 0) -> bytes:
    """One change, for seeds."""
    return bytes([op]) + place.to_bytes(2, "big") + bytes([value])


def seeds(bases: Sequence[bytes], *changes: bytes) -> list[bytes]:
    """Every base as it is, and with each of the changes."""
    cuts = (change(0, 0, 3), change(7, 1, 3))
    return [bytes([number]) + one for number in range(len(bases)) for one in (b"", *cuts, *changes)]


def mutated(inputs: Sequence[bytes], rng: random.Random) -> bytes:
    """An input made from one or two others: what the tests use in the place of a real fuzzer."""
    data = bytearray(rng.choice(inputs))
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        kind = rng.randrange(5)
        at = rng.randrange(len(data) + 1)
        if kind == 0:
            data[at:at] = rng.randbytes(rng.choice((1, 4, 4, 8)))
        elif kind == 1:
            del data[at : at + rng.choice((1, 4, 16))]
        elif kind == 2 and data:
            data[at % len(data)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif kind == 3:
            other = rng.choice(inputs)
            data[at:] = other[rng.randrange(len(other) + 1) :]
        else:
            data += change(rng.choice((rng.randrange(64), rng.randrange(2**16))), rng.randrange(256), at % 4)
    return bytes(data)


def unreached(harness: Harness, inputs: Sequence[bytes]) -> tuple[int, set[tuple[str, int]]]:
    """How many lines the functions under test have, and those (function, line) that no input reaches."""
    codes = {code: function.__qualname__ for function in harness.code for code in _codes(function)}
    missing = {(name, line) for code, name in codes.items() for line in _lines(code)}
    total = len(missing)

    def local(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            missing.discard((codes[frame.f_code], frame.f_lineno))
        return local

    before = sys.gettrace()
    sys.settrace(lambda frame, _event, _arg: local if frame.f_code in codes else None)
    try:
        for data in inputs:
            harness.run(data)
    finally:
        sys.settrace(before)
    return total, missing


def _codes(function: Code) -> list[CodeType]:
    function = getattr(function, "__func__", function)
    return [function.__code__]


def _lines(code: CodeType) -> set[int]:
    lines = {line for _, _, line in code.co_lines() if line is not None}
    return lines - {code.co_firstlineno}
