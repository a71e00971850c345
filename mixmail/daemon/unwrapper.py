"""A process that opens packets: `python -m mixmail.daemon.unwrapper`, started by `mixmail.daemon.workers`.

It reads batches from the socket that is its standard input, answers each in turn, and ends when the other
side closes the socket or dies.  It keeps the keys of the last batch and no others; an empty batch makes it
forget them all.  It knows of no replay tags, links or delays.

    batch   u32 length of the rest | u8 keys | u16 packets | (u64 epoch | seed 32) … | packet 32768 …
    answer  u32 length of the rest | result …
    result  u8 kind | u64 epoch | replay tag 32 | command 64 | u32 length | content
    kind    0 no live key opens it (zero after it) · 1 opened · 2 opened, but its body was changed

Both ends are parts of one version of the program on one machine; nothing else can reach the socket.
"""

from __future__ import annotations

import signal
import socket
import struct

from mixmail.crypto.kem import PrivateKey
from mixmail.node.unwrapping import Opened, UnwrapJob, open_packet
from mixmail.params import GEOMETRY
from mixmail.sphinx.command import Command

LENGTH = struct.Struct(">I")
_HEAD = struct.Struct(">BH")
_KEY = struct.Struct(">Q32s")
_RESULT = struct.Struct(f">BQ32s{GEOMETRY.command}sI")
_NOT_OURS, _OPENED, _CHANGED = range(3)
_NOTHING = _RESULT.pack(_NOT_OURS, 0, bytes(32), bytes(GEOMETRY.command), 0)

FORGET = LENGTH.pack(_HEAD.size) + _HEAD.pack(0, 0)
"""The batch without keys and packets; its answer is empty."""


def pack_batch(job: UnwrapJob) -> list[bytes]:
    """The parts of a batch, in order."""
    keys = b"".join(_KEY.pack(epoch, key.seed) for epoch, key in job.keys)
    length = _HEAD.size + len(keys) + sum(map(len, job.packets))
    return [LENGTH.pack(length), _HEAD.pack(len(job.keys), len(job.packets)), keys, *job.packets]


def parse_answer(raw: bytes) -> list[Opened | None]:
    """What became of each packet of the batch; `raw` without its length.  ValueError: not an answer."""
    results: list[Opened | None] = []
    at = 0
    try:
        while at < len(raw):
            kind, epoch, tag, command, length = _RESULT.unpack_from(raw, at)
            at += _RESULT.size
            content = raw[at : at + length] if kind == _OPENED else None
            results.append(None if kind == _NOT_OURS else Opened(epoch, tag, Command.parse(command), content))
            at += length
    except struct.error as error:
        raise ValueError(f"an answer of {len(raw)} bytes ends within a result") from error
    return results


class Unwrapper:
    """Answers batches; keeps the parsed keys of the last one, since parsing costs as much as opening."""

    def __init__(self) -> None:
        self._keys: dict[bytes, PrivateKey] = {}

    def answer(self, batch: bytes) -> bytes:
        """The answer to `batch`, both without their lengths."""
        keys, packets = _HEAD.unpack_from(batch)
        at = _HEAD.size
        live = []
        for _ in range(keys):
            epoch, seed = _KEY.unpack_from(batch, at)
            live.append((epoch, self._keys.get(seed) or PrivateKey.from_seed(seed)))
            at += _KEY.size
        self._keys = {key.seed: key for _, key in live}
        parts = []
        for _ in range(packets):
            opened = open_packet(live, batch[at : at + GEOMETRY.packet])
            at += GEOMETRY.packet
            if opened is None:
                parts.append(_NOTHING)
                continue
            content = opened.content
            kind = _OPENED if content is not None else _CHANGED
            content = content or b""
            head = _RESULT.pack(kind, opened.epoch, opened.replay_tag, opened.command.pack(), len(content))
            parts += (head, content)
        return b"".join(parts)


def _read(connection: socket.socket, size: int) -> bytes | None:
    """Exactly `size` bytes, None when the other side is gone."""
    buffer = bytearray(size)
    view, got = memoryview(buffer), 0
    while got < size:
        count = connection.recv_into(view[got:])
        if not count:
            return None
        got += count
    return bytes(buffer)


def serve(connection: socket.socket) -> None:
    """Answer until the other side closes or dies."""
    unwrapper = Unwrapper()
    while (length := _read(connection, LENGTH.size)) is not None:
        batch = _read(connection, LENGTH.unpack(length)[0])
        if batch is None:
            return
        answer = unwrapper.answer(batch)
        connection.sendall(LENGTH.pack(len(answer)) + answer)


def main() -> None:
    """The process.  A signal to the whole group (Ctrl-C) is for the daemon, which ends this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        serve(socket.socket(fileno=0))
    except ConnectionError:
        return  # the daemon died while an answer was on its way


if __name__ == "__main__":
    main()
